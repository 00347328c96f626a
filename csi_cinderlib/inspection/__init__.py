"""Views of records, back ends, nodes and this host for operators. Reads only."""
