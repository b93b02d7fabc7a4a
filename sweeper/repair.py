"""Repairs on the application's database: compare-and-set in batches of one statement, each verified by reading back.

The intent (before and after) is recorded before a batch is tried, the outcome after it. A batch that a constraint refuses is
tried row by row, so that one row's trouble is its own; a batch whose answer was lost is settled by looking at the rows: the
after image says repaired, the before image says not done, anything else is unknown.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from sweeper import app_access, app_rights, obstacles
from sweeper.app_schema import AppTable
from sweeper.context import Context
from sweeper.model import Finding, Outcome, Row, Value
from sweeper.runs import Journal

BATCH_ROWS = 500


async def repair(context: Context, findings: Sequence[Finding], *, journal: Journal) -> list[Finding]:
    """Write the findings' updates and inserts; each comes back with its outcome, and the `reason` where it failed."""
    app_rights.ensure_within(context.subjects, findings)
    done: list[Finding] = []
    for (table, _), group in sorted(_by_shape(findings).items()):
        for batch in _batches(sorted(group, key=lambda finding: finding.row_id or finding.entity or "")):
            done += await _repair_batch(context, context.tables[table], batch, journal)
    return done


def _by_shape(findings: Iterable[Finding]) -> dict[tuple[str, tuple[str, ...]], list[Finding]]:
    """By table and columns set: what one statement can do."""
    shapes: dict[tuple[str, tuple[str, ...]], list[Finding]] = defaultdict(list)
    for finding in findings:
        written = finding.update or finding.insert or {}
        kind = "update" if finding.update else "insert"
        shapes[finding.table, (kind, *sorted(written))].append(finding)
    return shapes


def _batches(findings: Sequence[Finding]) -> Iterable[Sequence[Finding]]:
    for start in range(0, len(findings), BATCH_ROWS):
        yield findings[start : start + BATCH_ROWS]


async def _repair_batch(context: Context, table: AppTable, batch: Sequence[Finding], journal: Journal) -> list[Finding]:
    forbidden = await obstacles.find(context, table, batch)
    blocked = [_failed(one, forbidden[one.identity]) for one in batch if one.identity in forbidden]
    free = [one for one in batch if one.identity not in forbidden]
    if not free:
        return blocked
    numbers = await journal.intend(free)
    try:
        tried = await _write(context, table, free)
    except IntegrityError as error:
        tried = [_failed(free[0], _words(error))] if len(free) == 1 else await _one_by_one(context, table, free)
    except (OperationalError, DBAPIError, OSError) as error:
        tried = await _settle(context, table, free, reason=_words(error))
    await journal.settle(dict(zip(numbers, tried, strict=True)))
    return blocked + tried


async def _one_by_one(context: Context, table: AppTable, batch: Sequence[Finding]) -> list[Finding]:
    tried: list[Finding] = []
    for finding in batch:
        try:
            tried += await _write(context, table, [finding])
        except IntegrityError as error:
            tried.append(_failed(finding, _words(error)))
    return tried


async def _write(context: Context, table: AppTable, batch: Sequence[Finding]) -> list[Finding]:
    """One statement for the batch; what it did not touch had changed since it was read."""
    if not batch[0].update:
        return await _insert(context, table, batch)
    statement, parameters = _update_statement(table, batch)
    async with app_access.writing(context.app) as connection:
        touched = {str(row.id) for row in await connection.execute(text(statement), parameters)}
    written = [one for one in batch if one.row_id in touched]
    verified = {one.identity: one for one in await _settle(context, table, written, reason="changed again at once")}
    return [
        verified[one.identity] if one.row_id in touched else replace(one, outcome=Outcome.SKIPPED_CHANGED)
        for one in batch
    ]


def _update_statement(table: AppTable, batch: Sequence[Finding]) -> tuple[str, dict[str, Any]]:
    columns = [name for name in sorted(batch[0].update) if table.has(name)]
    guards = [name for name in sorted(batch[0].guard) if table.has(name)]
    parameters: dict[str, Any] = {"id": [one.row_id for one in batch]}
    arrays, names = ["CAST(CAST(:id AS text[]) AS uuid[])"], ["id"]
    for prefix, wanted, source in (("new", columns, "update"), ("old", guards, "guard")):
        for name in wanted:
            parameters[f"{prefix}_{name}"] = [_bindable(getattr(one, source)[name]) for one in batch]
            arrays.append(_array(f"{prefix}_{name}", table.types[name]))
            names.append(f"{prefix}_{name}")
    sets = ", ".join(f"{name} = want.new_{name}" for name in columns)
    stands = " AND ".join(f"row.{name} IS NOT DISTINCT FROM want.old_{name}" for name in guards)
    statement = (
        f"UPDATE {table.name} AS row SET {sets} FROM unnest({', '.join(arrays)}) AS want ({', '.join(names)}) "
        f"WHERE row.id = want.id AND {stands} RETURNING row.id"
    )
    return statement, parameters


async def _insert(context: Context, table: AppTable, batch: Sequence[Finding]) -> list[Finding]:
    """Rows that are still missing; one that came meanwhile is left as it is."""
    columns = [name for name in sorted(batch[0].insert or {}) if table.has(name)]
    parameters = {f"new_{name}": [_bindable((one.insert or {})[name]) for one in batch] for name in columns}
    arrays = ", ".join(_array(f"new_{name}", table.types[name]) for name in columns)
    key = context.subjects[table.name].row_key
    statement = (
        f"INSERT INTO {table.name} ({', '.join(columns)}) SELECT {', '.join(f'want.{name}' for name in columns)} "
        f"FROM unnest({arrays}) AS want ({', '.join(columns)}) "
        f"WHERE NOT EXISTS (SELECT FROM {table.name} AS row WHERE row.{key} = want.{key}) "
        f"ON CONFLICT DO NOTHING RETURNING {key} AS key"
    )
    async with app_access.writing(context.app) as connection:
        made = {str(row.key) for row in await connection.execute(text(statement), parameters)}
    return [
        replace(
            one,
            outcome=Outcome.REPAIRED if str((one.insert or {})[key]) in made else Outcome.SKIPPED_CHANGED,
        )
        for one in batch
    ]


async def _settle(context: Context, table: AppTable, batch: Sequence[Finding], *, reason: str) -> list[Finding]:
    """What became of the rows, by looking at them."""
    if not batch or not batch[0].update:
        return [replace(one, outcome=Outcome.UNKNOWN).with_evidence(reason=reason) for one in batch]
    names = sorted({*batch[0].update, *batch[0].guard} & set(table.types))
    statement = text(
        f"SELECT row.id, {', '.join(f'row.{name}' for name in names)} FROM {table.name} AS row "
        "WHERE row.id = ANY(CAST(CAST(:ids AS text[]) AS uuid[]))"
    )
    try:
        async with app_access.transaction(context.app) as connection:
            found = await connection.execute(statement, {"ids": [one.row_id for one in batch]})
            rows: dict[str, Row] = {str(row.id): dict(row._mapping) for row in found}
    except (DBAPIError, OSError) as error:
        return [replace(one, outcome=Outcome.UNKNOWN).with_evidence(reason=_words(error)) for one in batch]
    return [_settled(one, rows.get(one.row_id or ""), reason) for one in batch]


def _settled(finding: Finding, row: Row | None, reason: str) -> Finding:
    if row is not None and _is(row, finding.update):
        return replace(finding, outcome=Outcome.REPAIRED)
    if row is not None and _is(row, finding.guard):
        return _failed(finding, reason)
    return replace(finding, outcome=Outcome.UNKNOWN).with_evidence(reason=reason)


def _is(row: Row, image: Any) -> bool:
    return all(row[name] == value or str(row[name]) == str(value) for name, value in image.items() if name in row)


def _failed(finding: Finding, reason: str) -> Finding:
    return replace(finding, outcome=Outcome.FAILED).with_evidence(reason=reason)


def _array(parameter: str, column_type: str) -> str:
    """The parameter as an array of the column's type: cast in the database, so that every type of the app is at home."""
    return f"CAST(CAST(:{parameter} AS text[]) AS {column_type}[])"


def _bindable(value: Value) -> str | None:
    """The value as the text that PostgreSQL reads for its column's type, exactly."""
    if value is None:
        return None
    isoformat = getattr(value, "isoformat", None)
    return str(isoformat()) if isoformat is not None else str(value)


def _words(error: Exception) -> str:
    cause = getattr(error, "orig", None) or error
    return str(cause).partition("\n")[0].rpartition(">: ")[2] or type(cause).__name__
