"""One module per revision of the schema. A published one is never changed."""
