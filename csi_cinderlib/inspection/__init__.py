"""What operators see of records, back ends, nodes and this host. Reads only."""
