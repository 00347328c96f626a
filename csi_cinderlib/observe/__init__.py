"""Logs, metrics and what must never be in them. Cheap to import: a node process carries it."""
