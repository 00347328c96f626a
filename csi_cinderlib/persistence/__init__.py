"""Storage of records: the store protocol and its plugins."""
