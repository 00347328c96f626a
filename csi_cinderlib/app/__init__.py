"""The composition root: the only place where objects are created from settings."""
