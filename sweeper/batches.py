"""One batch on the application's table: written and read back in one transaction; or only looked at.

A write counts by what the row holds after the application's own triggers, deferred ones included, had their say. So rows are
read back after each write, whether the table is known to have triggers or not: partitions and children have their own.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import errors, transient
from sweeper import app_access, batch_sql, insert_locks, long_values
from sweeper.batch import Batch
from sweeper.row_images import Image

__all__ = ["Altered", "Batch", "Seen", "look", "write"]

_BY = "a trigger or rule"
DROPPED = f"the application's database dropped the write without an error: {_BY}"
REMOVED = f"the application's database removed the row after the write: {_BY}"
SEVERAL = "several rows of the table have this id, so it cannot be told which of them is meant"
SINCE = "at the end of the run, though it held the repair when that was committed: a later write's trigger, or another writer"
_SHOWN = 100
"""Bytes of a value that a reason quotes whole."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A row as it was found. `is_after`, `is_before`: whether it holds all of that image."""

    row_id: str
    row_hash: str
    is_after: bool = False
    is_before: bool = False


class Altered(errors.ChaintrueError):
    """The application's database makes something else of the write, or drops it, so the transaction is not to be committed.

    What a trigger did beside a write that it dropped would be committed with it, and the report would not tell.

    `reasons`: by place. Empty where it cannot be said which of the rows it is.
    """

    def __init__(self, reasons: Mapping[int, str], words: str = "") -> None:
        super().__init__(words or next(iter(reasons.values()), ""))
        self.reasons = reasons


@dataclass(frozen=True, slots=True)
class _Row:
    """A row with some of its columns as text."""

    row_id: str
    row_hash: str
    values: Image


async def write(connection: AsyncConnection, batch: Batch, *, past_locked: bool = False) -> dict[int, Seen]:
    """Write what still stands as it was, and read it back; returns the written rows by their places (from 1).

    `past_locked`: rows that another transaction holds are passed over, not waited for. Raises Altered.
    """
    return await (_insert(connection, batch) if batch.is_insert else _update(connection, batch, past_locked))


async def look(connection: AsyncConnection, batch: Batch, *, locking: bool = False) -> dict[int, Seen]:
    """The rows of the batch as they are now, by place. `locking`: waits for who is about to change or to insert them."""
    if locking and batch.is_insert:
        await insert_locks.take(connection, batch)
    columns = sorted({*batch.written, *batch.relied_on})
    found: dict[int, Seen] = {}
    for place, rows in (await _read(connection, batch, columns, locking=locking)).items():
        seen = [_seen(batch, place, row) for row in rows]
        found[place] = next((one for one in seen if one.is_after), seen[0])  # of several rows for one key
    return found


async def undone(connection: AsyncConnection, batch: Batch) -> dict[int, str]:
    """Return why rows no longer hold what was written to them and committed, by place; those that hold it are left out."""
    rows = await _read(connection, batch, batch.written)
    found: dict[int, str] = {}
    for place in range(1, len(batch) + 1):
        unlike = [batch.unlike(place - 1, row.values) for row in rows.get(place, ())]
        if not unlike:
            found[place] = f"the row is gone {SINCE}"
        elif all(unlike):
            name = min(unlike[0])
            found[place] = f"column {name} is {_quoted(rows[place][0].values[name])} {SINCE}"
    return found


def _seen(batch: Batch, place: int, row: _Row) -> Seen:
    is_before = bool(batch.before) and batch.holds(batch.before[place - 1], row.values)
    return Seen(row.row_id, row.row_hash, batch.holds(batch.after[place - 1], row.values), is_before)


async def _update(connection: AsyncConnection, batch: Batch, past_locked: bool) -> dict[int, Seen]:
    by_rule = batch.table.has_rules
    statement = text((batch_sql.lock if by_rule else batch_sql.update)(batch, past_locked=past_locked))
    parameters = batch_sql.before_parameters(batch) if by_rule else batch_sql.parameters(batch)
    places: list[int] = (await connection.execute(statement, parameters)).scalar_one() or []
    standing = sorted({*places})  # an id that several rows have is there several times
    if not standing:
        return {}
    part = batch if len(standing) == len(batch) else batch.part([place - 1 for place in standing])
    if by_rule:
        await connection.execute(text(batch_sql.update_by_rule(part)), batch_sql.parameters(part))
    await connection.execute(text(batch_sql.IMMEDIATE))
    rows = await _read(connection, part, part.written)
    seen, reasons = dict[int, Seen](), dict[int, str]()
    for number, place in enumerate(standing):
        found = rows.get(number + 1, [])
        if len(found) == 1 and not (unlike := part.unlike(number, found[0].values)):
            seen[place] = Seen(found[0].row_id, found[0].row_hash)
        elif len(found) > 1:
            reasons[place] = SEVERAL
        elif not found:
            reasons[place] = REMOVED
        elif part.holds({name: part.before[number][name] for name in part.written}, found[0].values):
            reasons[place] = DROPPED
        else:
            reasons[place] = _changed(unlike, found[0].values)
    if reasons:
        raise Altered(reasons)
    return seen


async def _insert(connection: AsyncConnection, batch: Batch) -> dict[int, Seen]:
    """Under the locks of the keys: what is there already is left as it is, what a trigger makes of the others is read back."""
    await insert_locks.take(connection, batch)
    there = await _read(connection, batch, [])
    missing = [place for place in range(1, len(batch) + 1) if place not in there]
    if not missing:
        return {}
    part = batch.part([place - 1 for place in missing])
    made = (await connection.execute(text(batch_sql.insert(part)), batch_sql.parameters(part))).all()
    await connection.execute(text(batch_sql.IMMEDIATE))
    came = {row.place for row in made if row.place is not None and not row.is_missing}
    ids = {row.place: row.row_id for row in made if row.place is not None and row.row_id is not None}
    if renamed := [row.key for row in made if row.place is None]:
        unplaced = [place for number, place in enumerate(missing, start=1) if number not in ids and number not in came]
        reason = _changed([batch.key], {batch.key: renamed[0]})
        raise Altered({unplaced[0]: reason} if len(unplaced) == 1 else {}, reason)
    rows = await _read(connection, part, part.written)
    seen, reasons = dict[int, Seen](), dict[int, str]()
    for number, place in enumerate(missing):
        if number + 1 in came:
            continue
        row = _own(rows.get(number + 1, ()), ids.get(number + 1))
        if row is not None and not (unlike := part.unlike(number, row.values)):
            seen[place] = Seen(row.row_id, row.row_hash)
        elif row is not None:
            reasons[place] = _changed(unlike, row.values)
        else:
            reasons[place] = REMOVED if number + 1 in ids else DROPPED
    if reasons:
        raise Altered(reasons)
    return seen


def _own(rows: Sequence[_Row], row_id: str | None) -> _Row | None:
    """The row that was inserted; where no id came back, a trigger may have put it elsewhere in the table."""
    return next((row for row in rows if row_id is None or row.row_id == row_id), None)


def _changed(columns: Iterable[str], stored: Image) -> str:
    name = min(columns)
    return f"the application's database changed column {name} to {_quoted(stored[name])}: {_BY}"


def _quoted(value: str | None) -> str:
    return "NULL" if value is None else long_values.shortened(value, longest=_SHOWN)


async def _read(
    connection: AsyncConnection, batch: Batch, columns: Sequence[str], *, locking: bool = False
) -> dict[int, list[_Row]]:
    """The rows by place, with these columns as text; several only of one key.

    A key that the type of its column refuses is in no row, and says nothing of the others.
    """
    statement, parameters = text(batch_sql.read(batch, columns, locking=locking)), batch_sql.read_parameters(batch)
    if not batch.is_insert:
        return _by_place(await connection.execute(statement, parameters), columns)
    try:
        async with connection.begin_nested():
            return _by_place(await connection.execute(statement, parameters), columns)
    except DBAPIError as error:
        if transient.is_transient(error) or app_access.is_missing_right(error):
            raise
        if len(batch) == 1:
            return {}
    middle = len(batch) // 2
    first, second = range(middle), range(middle, len(batch))
    found = await _read(connection, batch.part(first), columns, locking=locking)
    rest = await _read(connection, batch.part(second), columns, locking=locking)
    return found | {place + middle: rows for place, rows in rest.items()}


def _by_place(rows: Iterable[Any], columns: Sequence[str]) -> dict[int, list[_Row]]:
    found: dict[int, list[_Row]] = {}
    for place, row_id, row_hash, *values in rows:
        found.setdefault(place, []).append(_Row(row_id, row_hash, dict(zip(columns, values, strict=True))))
    return found
