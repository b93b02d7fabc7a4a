"""Where the tables of `chain` stand: in the schema of that name, or for a replay in a shadow of it.

Whoever writes them asks the connection, so that the same code fills both. SQLAlchemy's statements follow by themselves; what is
written as SQL takes the name from `schema_of`.
"""

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared.chain_tables import SCHEMA


def placed(engine: AsyncEngine, schema: str) -> AsyncEngine:
    """The engine, for tables of `chain` that stand in this schema instead. It shares the pool of the one given."""
    return engine.execution_options(schema_translate_map={SCHEMA: schema})


def schema_of(connection: AsyncConnection) -> str:
    """The schema that the tables of `chain` stand in, on this connection."""
    options = connection.sync_connection.get_execution_options()  # type: ignore[union-attr]  # an entered connection has one
    name: str = options.get("schema_translate_map", {}).get(SCHEMA, SCHEMA)
    return name
