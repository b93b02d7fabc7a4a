"""What would forbid a repair, found out before it is tried: references to a value that is to change, values that are taken.

What cannot be found out (a table that the role may not read, an index on a part of the rows) is left to PostgreSQL to refuse.
So is a value that the type of its column refuses; the other rows are asked about without it.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import transient
from sweeper import app_access, row_images
from sweeper.app_schema import AppTable, Reference
from sweeper.context import Context
from sweeper.model import Finding

Reasons = dict[tuple[str, str, str], str]


async def find(context: Context, table: AppTable, findings: Sequence[Finding]) -> Reasons:
    """The reason, by the finding's identity, of those that must not be tried. The findings write the same columns."""
    if not findings:
        return {}
    written = set(findings[0].update or findings[0].insert or {})
    key = context.subjects[table.name].row_key
    references = [one for one in table.references if findings[0].update and written & set(one.targets)]
    # A key names one row, also where the table has no constraint that says so: no update gives it to a second one.
    unique = [
        columns
        for columns in dict.fromkeys([*table.unique, (key,)])
        if _is_at_stake(columns, findings[0], written, key)
    ]
    if not references and not unique:
        return {}
    reasons: Reasons = {}
    async with app_access.transaction(context.app) as connection:
        for reference in references:
            reasons |= await _each(connection, partial(_referred, connection, table, reference), findings)
        for columns in unique:
            reasons |= await _each(connection, partial(_taken, connection, table, columns), findings)
    return reasons


async def _each(
    connection: AsyncConnection, ask: Callable[[Sequence[Finding]], Awaitable[Reasons]], findings: Sequence[Finding]
) -> Reasons:
    """Ask about all findings; where a value cannot be asked about at all, about each half of them."""
    try:
        async with connection.begin_nested():
            return await ask(findings)
    except DBAPIError as error:
        if transient.is_transient(error):
            raise
        if len(findings) == 1 or app_access.is_missing_right(error):
            return {}
    middle = len(findings) // 2
    return await _each(connection, ask, findings[:middle]) | await _each(connection, ask, findings[middle:])


def _is_at_stake(columns: Sequence[str], finding: Finding, written: set[str], key: str) -> bool:
    """Whether the write can meet the index. An insert whose key is there already is no obstacle: the row came meanwhile."""
    if finding.update:
        return bool(written & set(columns))
    return set(columns) <= written and tuple(columns) != (key,)


async def _referred(
    connection: AsyncConnection, table: AppTable, reference: Reference, findings: Sequence[Finding]
) -> Reasons:
    """Rows elsewhere that refer to what an update would change."""
    wants, names, parameters = _wants(table, findings)
    written = sorted(findings[0].update)
    differs = " OR ".join(
        f"live.{row_images.quoted(column)} IS DISTINCT FROM want.new_{written.index(column)}"
        for column in reference.targets
        if column in written
    )
    refers = " AND ".join(
        f"other.{row_images.quoted(column)} = live.{row_images.quoted(target)}"
        for column, target in zip(reference.columns, reference.targets, strict=True)
    )
    statement = text(f"""
SELECT want.place, {_tuple_sql("live", reference.targets)} AS value
FROM unnest({wants}) WITH ORDINALITY AS want ({names}, place) JOIN {table.name} AS live ON live.id = want.id
WHERE ({differs}) AND EXISTS (SELECT FROM {reference.table} AS other WHERE {refers})""")
    where = f"{reference.table}.{', '.join(reference.columns)}"
    rows = await connection.execute(statement, parameters)
    return {
        findings[row.place - 1].identity: f"{where} refers to {row.value}, which therefore cannot be changed"
        for row in rows
    }


async def _taken(
    connection: AsyncConnection, table: AppTable, columns: Sequence[str], findings: Sequence[Finding]
) -> Reasons:
    """Other rows that hold what is to be unique."""
    wants, names, parameters = _wants(table, findings)
    written = sorted(findings[0].update or findings[0].insert or {})
    wanted = [
        f"want.new_{written.index(column)}" if column in written else f"live.{row_images.quoted(column)}"
        for column in columns
    ]
    same = " AND ".join(
        f"other.{row_images.quoted(column)} = {value}" for column, value in zip(columns, wanted, strict=True)
    )
    join = f"JOIN {table.name} AS live ON live.id = want.id" if findings[0].update else ""
    another = "AND other.id <> live.id" if findings[0].update else ""
    statement = text(f"""
SELECT want.place, CAST(other.id AS text) AS row_id, {_tuple_sql("other", columns)} AS value
FROM unnest({wants}) WITH ORDINALITY AS want ({names}, place) {join}
JOIN {table.name} AS other ON {same} {another}""")
    rows = await connection.execute(statement, parameters)
    return {
        findings[row.place - 1].identity: f"row {row.row_id} has the {', '.join(columns)} {row.value} already"
        for row in rows
    }


def _tuple_sql(alias: str, columns: Sequence[str]) -> str:
    """The values of the columns as a person reads them."""
    return " || ', ' || ".join(f"CAST({alias}.{row_images.quoted(column)} AS text)" for column in columns)


def _wants(table: AppTable, findings: Sequence[Finding]) -> tuple[str, str, dict[str, Any]]:
    """What is to be written, as arrays for `unnest`, their names, and their values."""
    images = [row_images.of(one.update or one.insert or {}) for one in findings]
    written = sorted(images[0])
    arrays, names = row_images.unnest_sql(table, written, prefix="new")
    parameters: dict[str, Any] = row_images.parameters(images, written, prefix="new")
    if findings[0].update:
        arrays, names = [row_images.array_sql("id", table.types["id"]), *arrays], ["id", *names]
        parameters["id"] = [one.row_id for one in findings]
    return ", ".join(arrays), ", ".join(names), parameters
