"""Logs, metrics and redaction. Cheap to import, because node processes load it."""
