"""Runs Alembic on the connection of `persistence.sql.migration`, inside its transaction and lock."""

from __future__ import annotations

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    version_table=context.config.attributes["version_table"],
    transactional_ddl=False,  # the caller begins and commits
)
context.run_migrations()
