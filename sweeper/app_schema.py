"""The application's live schema, read at start: histories of migrations are not to be trusted, and columns may be missing."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import errors

# A default may also come from the column's domain. A view has columns that it computes: those cannot be set either.
_COLUMNS = text("""
SELECT attribute.attname AS name, format_type(attribute.atttypid, attribute.atttypmod) AS type,
  attribute.attnotnull AS not_null,
  attribute.atthasdef OR attribute.attidentity <> '' OR kind.typdefault IS NOT NULL AS has_default,
  CASE WHEN attribute.attgenerated <> '' THEN 'generated' WHEN attribute.attidentity = 'a' THEN 'identity'
    WHEN NOT pg_column_is_updatable(to_regclass(:table), attribute.attnum, true) THEN 'computed' END AS fixed,
  kind.typcategory = 'D' AS is_time,
  CASE kind.typtype WHEN 'e' THEN 'enum' WHEN 'd' THEN 'domain' END AS kind,
  (WITH RECURSIVE base (type, modifier) AS (
     SELECT attribute.atttypid, attribute.atttypmod
     UNION ALL SELECT of.typbasetype, of.typtypmod FROM base JOIN pg_type AS of ON of.oid = base.type AND of.typtype = 'd')
   SELECT format_type(base.type, base.modifier) FROM base JOIN pg_type AS of ON of.oid = base.type AND of.typtype <> 'd'
  ) AS base_type
FROM pg_attribute AS attribute JOIN pg_type AS kind ON kind.oid = attribute.atttypid
WHERE attribute.attrelid = to_regclass(:table) AND attribute.attnum > 0 AND NOT attribute.attisdropped
""")

# Of a key that follows an update (ON UPDATE CASCADE) the application itself has said what becomes of it.
_REFERENCES = text("""
SELECT CAST(CAST(one.conrelid AS regclass) AS text) AS table,
  (SELECT array_agg(CAST(attribute.attname AS text) ORDER BY place.number)
   FROM unnest(one.conkey) WITH ORDINALITY AS place (attnum, number)
   JOIN pg_attribute AS attribute ON attribute.attrelid = one.conrelid AND attribute.attnum = place.attnum) AS columns,
  (SELECT array_agg(CAST(attribute.attname AS text) ORDER BY place.number)
   FROM unnest(one.confkey) WITH ORDINALITY AS place (attnum, number)
   JOIN pg_attribute AS attribute ON attribute.attrelid = one.confrelid AND attribute.attnum = place.attnum) AS targets
FROM pg_constraint AS one
WHERE one.contype = 'f' AND one.confrelid = to_regclass(:table) AND one.confupdtype <> 'c' AND one.conparentid = 0
ORDER BY one.conname, one.oid
""")

# Only whole indexes on plain columns: what a part of the rows or an expression forbids is left to PostgreSQL to say.
# An index of a table does not reach into tables that inherit from it; one of a partitioned table does.
_UNIQUE = text("""
SELECT (SELECT array_agg(CAST(attribute.attname AS text) ORDER BY place.number)
  FROM unnest(CAST(one.indkey AS int2[])) WITH ORDINALITY AS place (attnum, number)
  JOIN pg_attribute AS attribute ON attribute.attrelid = one.indrelid AND attribute.attnum = place.attnum
  WHERE place.number <= one.indnkeyatts) AS columns
FROM pg_index AS one
WHERE one.indrelid = to_regclass(:table) AND one.indisunique AND one.indisvalid AND one.indpred IS NULL AND one.indexprs IS NULL
  AND NOT EXISTS (SELECT FROM pg_inherits AS child JOIN pg_class AS parent ON parent.oid = child.inhparent
    WHERE child.inhparent = one.indrelid AND parent.relkind = 'r')
ORDER BY one.indexrelid
""")

_HAS_RULES = text("SELECT relhasrules FROM pg_class WHERE oid = to_regclass(:table)")

# Such a trigger may fill what an insert leaves out.
_FILLS_ROWS = text("""
SELECT EXISTS (SELECT FROM pg_trigger AS one WHERE one.tgrelid = to_regclass(:table) AND NOT one.tgisinternal
  AND one.tgenabled <> 'D' AND one.tgtype & 4 = 4 AND one.tgtype & 66 <> 0)
""")

_RULES = text("""
SELECT 'constraint ' || pg_get_constraintdef(one.oid) AS rule FROM pg_constraint AS one
WHERE to_regclass(:table) IN (one.conrelid, one.confrelid)
UNION ALL
SELECT 'trigger ' || pg_get_triggerdef(one.oid) FROM pg_trigger AS one
WHERE one.tgrelid = to_regclass(:table) AND NOT one.tgisinternal
""")


@dataclass(frozen=True, slots=True)
class Reference:
    """A foreign key onto columns of the table that forbids to change what it refers to."""

    table: str
    columns: tuple[str, ...]
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AppTable:
    """A table as it is: columns with their PostgreSQL types, what refers to it, and columns that no two rows share.

    kinds         columns of a type that the application made: enum or domain
    times         columns of a date or time type, or of a domain of one
    base_types    of each column the type beneath its domains
    fixed         columns that no statement can set, with the kind: generated, identity or computed (by a view)
    not_null      columns that take no NULL
    must_be_set   those of them without a default, which an insert has to set
    fills_rows    whether a trigger may fill columns of a row before it is inserted
    has_rules     whether rules (CREATE RULE) may rewrite what is written to it
    """

    name: str
    types: Mapping[str, str]
    references: tuple[Reference, ...] = field(default=())
    unique: tuple[tuple[str, ...], ...] = field(default=())
    kinds: Mapping[str, str] = field(default_factory=dict)
    times: frozenset[str] = frozenset()
    base_types: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, str] = field(default_factory=dict)
    not_null: frozenset[str] = frozenset()
    must_be_set: frozenset[str] = frozenset()
    fills_rows: bool = False
    has_rules: bool = False

    def has(self, column: str) -> bool:
        return column in self.types

    def base_type(self, column: str) -> str:
        """Return the type of the column, or that beneath its domain."""
        return self.base_types.get(column, self.types[column])


async def read_table(connection: AsyncConnection, name: str) -> AppTable | None:
    """The table `name` of the schema in the search path; None if there is none."""
    columns = (await connection.execute(_COLUMNS, {"table": name})).all()
    types = {row.name: row.type for row in columns}
    if not types:
        return None
    references = await connection.execute(_REFERENCES, {"table": name})
    unique = await connection.execute(_UNIQUE, {"table": name})
    return AppTable(
        name,
        types,
        references=tuple(Reference(row.table, tuple(row.columns), tuple(row.targets)) for row in references),
        unique=tuple(tuple(row.columns) for row in unique),
        base_types={row.name: row.base_type for row in columns},
        kinds={row.name: row.kind for row in columns if row.kind is not None},
        times=frozenset(row.name for row in columns if row.is_time),
        fixed={row.name: row.fixed for row in columns if row.fixed is not None},
        not_null=frozenset(row.name for row in columns if row.not_null),
        must_be_set=frozenset(row.name for row in columns if row.not_null and not row.has_default),
        fills_rows=(await connection.execute(_FILLS_ROWS, {"table": name})).scalar_one(),
        has_rules=(await connection.execute(_HAS_RULES, {"table": name})).scalar_one(),
    )


async def fingerprint(connection: AsyncConnection, table: AppTable) -> str:
    """What a change was planned for: the table's columns and types, its constraints, references and triggers, in one hash."""
    rules = sorted(str(row.rule) for row in await connection.execute(_RULES, {"table": table.name}))
    columns = [f"{name} {kind} {table.fixed.get(name, '')}".rstrip() for name, kind in sorted(table.types.items())]
    lines = columns + rules
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def require(table: AppTable | None, name: str, columns: tuple[str, ...]) -> AppTable:
    """The table when it has the columns; raises SettingError otherwise."""
    cure = "point CHAINTRUE_APP_DATABASE__URL at the application's database, with a role that may read it"
    if table is None:
        raise errors.SettingError(f"the application's database has no table {name!r}", cure=cure)
    missing = [column for column in columns if not table.has(column)]
    if missing:
        raise errors.SettingError(f"the application's table {name!r} has no column {', '.join(missing)}", cure=cure)
    return table
