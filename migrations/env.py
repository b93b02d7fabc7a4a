"""Alembic's entry: runs on the connection that `migrations.runner` hands over, inside its transaction."""

from alembic import context
from sqlalchemy import Connection

import shared.stepfi.tables  # noqa: F401 - declares the application's state tables in the schema `chain`
from migrations.runner import VERSION_SCHEMA
from shared import chain_tables, recon_tables

connection: Connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=[chain_tables.metadata, recon_tables.metadata],
    version_table_schema=VERSION_SCHEMA,
    include_schemas=True,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
