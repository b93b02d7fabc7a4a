"""The application's live schema, read at start: histories of migrations are not to be trusted, and columns may be missing."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import errors

_COLUMNS = text("""
SELECT attribute.attname AS name, format_type(attribute.atttypid, attribute.atttypmod) AS type
FROM pg_attribute AS attribute
WHERE attribute.attrelid = to_regclass(:table) AND attribute.attnum > 0 AND NOT attribute.attisdropped
""")

_REFERENCES = text("""
SELECT referencing.relname AS table, column_of.attname AS column, target.attname AS target
FROM pg_constraint AS one
JOIN pg_class AS referencing ON referencing.oid = one.conrelid
JOIN pg_attribute AS column_of ON column_of.attrelid = one.conrelid AND column_of.attnum = one.conkey[1]
JOIN pg_attribute AS target ON target.attrelid = one.confrelid AND target.attnum = one.confkey[1]
WHERE one.contype = 'f' AND one.confrelid = to_regclass(:table) AND cardinality(one.conkey) = 1 AND one.confupdtype IN ('a', 'r')
""")


@dataclass(frozen=True, slots=True)
class Reference:
    """A foreign key onto a column of the table that forbids to change what it refers to."""

    table: str
    column: str
    target: str


@dataclass(frozen=True, slots=True)
class AppTable:
    """A table as it is: columns with their PostgreSQL types, and what refers to it."""

    name: str
    types: Mapping[str, str]
    references: tuple[Reference, ...] = field(default=())

    def has(self, column: str) -> bool:
        return column in self.types


async def read_table(connection: AsyncConnection, name: str) -> AppTable | None:
    """The table `name` of the schema in the search path; None if there is none."""
    columns = await connection.execute(_COLUMNS, {"table": name})
    types = {row.name: row.type for row in columns}
    if not types:
        return None
    references = await connection.execute(_REFERENCES, {"table": name})
    return AppTable(name, types, tuple(Reference(row.table, row.column, row.target) for row in references))


def require(table: AppTable | None, name: str, columns: tuple[str, ...]) -> AppTable:
    """The table when it has the columns; raises SettingError otherwise."""
    cure = "point CHAINTRUE_APP_DATABASE__URL at the application's database, with a role that may read it"
    if table is None:
        raise errors.SettingError(f"the application's database has no table {name!r}", cure=cure)
    missing = [column for column in columns if not table.has(column)]
    if missing:
        raise errors.SettingError(f"the application's table {name!r} has no column {', '.join(missing)}", cure=cure)
    return table
