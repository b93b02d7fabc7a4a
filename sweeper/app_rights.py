"""What the role of `APP_DATABASE__URL` may do, held against what the subjects say that they do.

A missing right, or row-level security that would hide rows, is found out before it looks like an empty table.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import errors
from sweeper.context import Subject
from sweeper.model import Finding

_TABLE = text("""
SELECT has_table_privilege(one.oid, 'DELETE') AS deletes, has_table_privilege(one.oid, 'TRUNCATE') AS truncates,
  row_security_active(one.oid) AS secured,
  (SELECT format_type(attribute.atttypid, attribute.atttypmod)
   FROM pg_index AS key JOIN pg_attribute AS attribute ON attribute.attrelid = one.oid AND attribute.attnum = key.indkey[0]
   WHERE key.indrelid = one.oid AND key.indisprimary AND key.indnkeyatts = 1 AND attribute.attname = 'id') AS id_type
FROM pg_class AS one WHERE one.oid = to_regclass(:table)
""")
_COLUMNS = text("""
SELECT attname AS name, has_column_privilege(attrelid, attnum, 'SELECT') AS reads,
  has_column_privilege(attrelid, attnum, 'UPDATE') AS updates, has_column_privilege(attrelid, attnum, 'INSERT') AS inserts
FROM pg_attribute WHERE attrelid = to_regclass(:table) AND attnum > 0 AND NOT attisdropped
""")
_POLICIES = text("""
SELECT polcmd::text AS command, polpermissive AS permissive, pg_get_expr(polqual, polrelid) AS condition
FROM pg_policy WHERE polrelid = to_regclass(:table) AND EXISTS (
  SELECT FROM unnest(polroles) AS member WHERE CASE WHEN member = 0 THEN true ELSE pg_has_role(member, 'USAGE') END)
""")
_COMMANDS = {"SELECT": "r", "UPDATE": "w"}


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy of row-level security that applies to the role; `command` as in pg_policy, `*` for all."""

    command: str
    permissive: bool
    condition: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What the subjects do to one table; `reads` are the columns without which nothing can be compared."""

    table: str
    reads: frozenset[str]
    updates: frozenset[str] = frozenset()
    inserts: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """What the role may do to one table, and what of it row-level security shows. `id_type`: of the primary key `id`."""

    table: str
    columns: frozenset[str]
    reads: frozenset[str]
    updates: frozenset[str]
    inserts: frozenset[str]
    deletes: bool
    truncates: bool
    secured: bool
    id_type: str | None
    policies: tuple[Policy, ...]


def needs(subjects: Iterable[Subject]) -> dict[str, Needs]:
    """By table, those included that are only looked up."""
    found: dict[str, Needs] = {}
    for subject in subjects:
        own = Needs(
            table=subject.table, reads=frozenset(subject.required), updates=subject.writes, inserts=subject.inserts
        )
        others = [Needs(table=table, reads=frozenset(columns)) for table, columns in subject.looks_up.items()]
        for each in (own, *others):
            before = found.get(each.table, Needs(table=each.table, reads=frozenset()))
            found[each.table] = Needs(
                table=each.table,
                reads=before.reads | each.reads,
                updates=before.updates | each.updates,
                inserts=before.inserts | each.inserts,
            )
    return found


async def read(connection: AsyncConnection, table: str) -> Rights | None:
    """The rights of the connection's role on the table; None where there is no such table in its search path."""
    one = (await connection.execute(_TABLE, {"table": table})).one_or_none()
    if one is None:
        return None
    columns = (await connection.execute(_COLUMNS, {"table": table})).all()
    policies = (await connection.execute(_POLICIES, {"table": table})).all()
    return Rights(
        table=table,
        columns=frozenset(row.name for row in columns),
        reads=frozenset(row.name for row in columns if row.reads),
        updates=frozenset(row.name for row in columns if row.updates),
        inserts=frozenset(row.name for row in columns if row.inserts),
        deletes=one.deletes,
        truncates=one.truncates,
        secured=one.secured,
        id_type=one.id_type,
        policies=tuple(Policy(row.command, row.permissive, row.condition) for row in policies),
    )


def shows(rights: Rights, right: str) -> bool | None:
    """Whether row-level security lets the role reach rows by `right` (SELECT or UPDATE): True is all of them, for certain.

    False is none at all, in silence. None cannot be told from here: a policy has a condition, or several narrow each other.
    """
    if not rights.secured:
        return True
    applying = [one for one in rights.policies if one.command in ("*", _COMMANDS[right])]
    if not any(one.permissive for one in applying):
        return False
    everything = any(one.permissive and one.condition == "true" for one in applying)
    return True if everything and all(one.permissive or one.condition == "true" for one in applying) else None


async def require_policies(connection: AsyncConnection, wanted: Mapping[str, Needs], *, to_write: bool) -> None:
    """Raise SettingError where row-level security would show none of a table's rows: it would look empty, or never change."""
    for table, need in wanted.items():
        rights = await read(connection, table)
        needed = ("SELECT", "UPDATE") if to_write and need.updates else ("SELECT",)
        for right in needed:
            if rights is not None and shows(rights, right) is False:
                raise errors.SettingError(
                    f"row-level security hides all rows of {table} from the role of CHAINTRUE_APP_DATABASE__URL: "
                    f"no policy lets it {right}",
                    cure="run the application's script in deploy/roles as the owner of the tables: it makes the policies",
                )


def ensure_within(subjects: Mapping[str, Subject], findings: Iterable[Finding]) -> None:
    """Raise OutOfBounds for a write that its subject never declared: before it is tried, and whatever the role may do."""
    for finding in findings:
        subject = subjects[finding.table]
        beyond: set[str] = {*finding.update} - subject.writes
        beyond |= {*(finding.insert or {})} - subject.inserts
        if beyond:
            raise OutOfBounds(finding.table, beyond)


class OutOfBounds(Exception):
    """A rule would write what its subject does not declare."""

    def __init__(self, table: str, columns: set[str]) -> None:
        super().__init__(
            f"a repair would write {table}.{', '.join(sorted(columns))}, which its subject does not declare"
        )


def beyond_needs(rights: Rights, wanted: Needs | None) -> dict[str, Any]:
    """The rights on the table that nothing here uses, by their names."""
    wanted = wanted or Needs(table=rights.table, reads=frozenset())
    found: dict[str, Any] = {}
    if rights.deletes:
        found["DELETE"] = ()
    if rights.truncates:
        found["TRUNCATE"] = ()
    if more := rights.updates - wanted.updates:
        found["UPDATE"] = tuple(sorted(more))
    if more := rights.inserts - wanted.inserts:
        found["INSERT"] = tuple(sorted(more))
    return found
