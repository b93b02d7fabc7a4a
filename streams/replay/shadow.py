"""The shadow: a second set of chain's tables, which a replay fills while the first one lives on.

A table that is filled in bulk has no key and no index until it is full: sorted once is quicker than kept sorted.
"""

from collections.abc import Iterable

from sqlalchemy import Table, text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.schema import CreateIndex

from shared.chain_schema import schema_of
from shared.chain_tables import SCHEMA, metadata

SHADOW = "chain_replay"
REPLACED = "chain_replaced"
"""What was live before an exchange, until it is dropped."""
RESERVED = (SCHEMA, SHADOW, REPLACED)

# Rights on the schema, its tables and their columns, and those that new tables get: they belong to a schema and would go with it.
_GRANTS = """
WITH given AS (
  SELECT 'SCHEMA ' || quote_ident(:shadow) AS place, '' AS columns, acl.*
  FROM pg_namespace, aclexplode(nspacl) AS acl WHERE nspname = :live
  UNION ALL
  SELECT format('%I.%I', :shadow, relname), '', acl.*
  FROM pg_class, aclexplode(relacl) AS acl
  WHERE relnamespace = to_regnamespace(:live) AND relname = ANY(:tables)
  UNION ALL
  SELECT format('%I.%I', :shadow, relname), format('(%I)', attname), acl.*
  FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid, aclexplode(attacl) AS acl
  WHERE relnamespace = to_regnamespace(:live) AND relname = ANY(:tables)
), by_default AS (
  SELECT format('ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA %I', pg_get_userbyid(defaclrole), :shadow) AS start,
    CASE defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS' ELSE 'TYPES' END AS place,
    acl.*
  FROM pg_default_acl, aclexplode(defaclacl) AS acl WHERE defaclnamespace = to_regnamespace(:live)
), everything AS (
  SELECT '' AS start, place, columns, grantee, privilege_type, is_grantable FROM given
  UNION ALL
  SELECT start, place, '', grantee, privilege_type, is_grantable FROM by_default
)
SELECT format('%s GRANT %s %s ON %s TO %s%s', start, privilege_type, columns, place,
  CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END,
  CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END) AS statement
FROM everything
"""

_COLUMNS = """
SELECT relname AS "table", attname AS name, format_type(atttypid, atttypmod) AS type, attnotnull AS required
FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
WHERE relnamespace = to_regnamespace(:schema) AND relname = ANY(:tables) AND attnum > 0 AND NOT attisdropped
"""


def tables() -> list[Table]:
    """All tables of chain, the application's included."""
    return list(metadata.sorted_tables)


async def create(connection: AsyncConnection, *, bulk: Iterable[Table]) -> None:
    """Make the shadow, with the rights of the live schema; those of `bulk` wait for `complete`. One that was left is dropped."""
    await drop(connection)
    await connection.execute(text(f"CREATE SCHEMA {SHADOW}"))
    await connection.run_sync(lambda sync: metadata.create_all(sync, checkfirst=False))
    names = [table.name for table in tables()]
    grants = await connection.execute(text(_GRANTS), {"shadow": SHADOW, "live": SCHEMA, "tables": names})
    for row in grants.all():
        await connection.exec_driver_sql(row.statement)
    for table in bulk:
        await connection.execute(text(f"ALTER TABLE {SHADOW}.{table.name} DROP CONSTRAINT {table.name}_pkey"))
        for index in table.indexes:
            await connection.execute(text(f"DROP INDEX {SHADOW}.{index.name}"))


async def drop(connection: AsyncConnection) -> None:
    """Drop the shadow, and tables that a replay has replaced."""
    for name in (SHADOW, REPLACED):
        await connection.execute(text(f"DROP SCHEMA IF EXISTS {name} CASCADE"))


async def add_key(connection: AsyncConnection, table: Table) -> None:
    """The primary key that `create` left out."""
    columns = ", ".join(column.name for column in table.primary_key.columns)
    await connection.execute(text(f"ALTER TABLE {schema_of(connection)}.{table.name} ADD PRIMARY KEY ({columns})"))


async def complete(connection: AsyncConnection, table: Table) -> None:
    """The indexes that `create` left out, and what the planner wants to know of the table."""
    for index in sorted(table.indexes, key=lambda one: str(one.name)):
        await connection.execute(CreateIndex(index))
    await connection.execute(text(f"ANALYZE {schema_of(connection)}.{table.name}"))


async def deviation(connection: AsyncConnection, schema: str, other: str) -> str | None:
    """The first column that one schema's tables have and the other's have not, or not so; None when they are alike."""
    one, two = [await _columns(connection, name) for name in (schema, other)]
    for place in sorted({*one, *two}):
        if one.get(place) != two.get(place):
            table, column = place
            return f"{schema}.{table}.{column} is {_words(one.get(place))}, {other}'s is {_words(two.get(place))}"
    return None


async def _columns(connection: AsyncConnection, schema: str) -> dict[tuple[str, str], tuple[str, bool]]:
    names = [table.name for table in tables()]
    rows = await connection.execute(text(_COLUMNS), {"schema": schema, "tables": names})
    return {(row.table, row.name): (row.type, row.required) for row in rows}


def _words(column: tuple[str, bool] | None) -> str:
    return "missing" if column is None else f"{column[0]}{' NOT NULL' if column[1] else ''}"
