"""Alembic's migrations, run by `persistence.sql.migration`."""
