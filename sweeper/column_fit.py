"""Ask the application database whether its columns can hold what is to be written, before it is planned.

Each value is cast to the type of its column and back, as PostgreSQL does it: that covers scale, length, ranges, enums and
domains. A cast that raises says so for its own value alone: the values are cast many at a time, and in halves where one raises.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Context as DecimalContext
from decimal import Decimal, InvalidOperation
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import transient
from sweeper import app_access, row_images
from sweeper.app_schema import AppTable
from sweeper.context import Context
from sweeper.model import Answer, Finding, Value
from sweeper.storage import EVIDENCE, MARKS, Refusal, Refusals, Storage, fitted, fixed

PAGE_VALUES = 1_000
"""Values of one statement."""
_SHOWN = 60
_EXACT = DecimalContext(prec=1_000)
_TYPES = {Decimal: "numeric", int: "numeric", datetime: "timestamptz", UUID: "uuid"}
"""What a column could be altered to, by the kind of the value."""


async def keep(context: Context, findings: Sequence[Finding], notes: list[str]) -> list[Finding]:
    """Return the findings, in their order, with only those columns to write that the application's columns can hold.

    `notes` gets a line for each column that cannot hold something. Nothing is asked about a finding that will not be written.
    """
    done = list(findings)
    by_table: dict[str, list[int]] = defaultdict(list)
    for number, finding in enumerate(findings):
        if finding.can_be_written and finding.answer is not Answer.UNKNOWN:
            by_table[finding.table].append(number)
    for name, numbers in sorted(by_table.items()):
        table, storage = context.tables[name], context.subjects[name].storage
        values = _values(findings[number] for number in numbers)
        async with app_access.transaction(context.app) as connection:
            refusals = await refused(connection, table, storage, values)
        for number in numbers:
            done[number] = fitted(findings[number], table, storage, refusals)
        notes += _notes(name, [done[number] for number in numbers])
    return done


async def refused(
    connection: AsyncConnection, table: AppTable, storage: Storage, values: Mapping[str, Iterable[Value]]
) -> Refusals:
    """Return which of the values their columns cannot hold. Columns that the table lacks are left out."""
    found: dict[str, dict[Value, Refusal]] = {}
    for column, of_column in sorted(values.items()):
        if not table.has(column):
            continue
        wanted = list(of_column)
        if column in table.fixed:
            found[column] = dict.fromkeys(wanted, fixed(table, column))
            continue
        refusals = found.setdefault(column, {})
        for start in range(0, len(wanted), PAGE_VALUES):
            page = wanted[start : start + PAGE_VALUES]
            for value, stored in zip(page, await _cast(connection, table.types[column], page), strict=True):
                refusal = _refusal(table, column, value, stored, storage)
                if refusal is not None:
                    refusals[value] = refusal
    return found


def holds(value: Value, stored: str | None, *, tolerance: Decimal = Decimal(0), is_time: bool = False) -> bool:
    """Return whether what the column would store is the value.

    An amount may be rounded by no more than the tolerance. A time may be rounded to the precision of its column (seconds, or a
    date), where that is a column of times; a text is not cut to a date.
    """
    if value is None or stored is None:
        return value is None and stored is None
    if isinstance(value, bool):
        return stored == str(value).lower()
    if isinstance(value, Decimal | int):
        try:
            amount = Decimal(stored)
        except InvalidOperation:
            return False
        return amount.is_finite() and abs(_EXACT.subtract(amount, Decimal(value))) <= tolerance
    if isinstance(value, datetime) and is_time:
        return _holds_time(value, stored)
    return stored == row_images.value_text(value)


def _holds_time(value: datetime, stored: str) -> bool:
    try:
        time = datetime.fromisoformat(stored)
    except ValueError:  # a time of day, or one that only PostgreSQL knows
        return stored == row_images.value_text(value)
    if len(stored) == len("2026-08-01"):
        return time.date() == value.astimezone(UTC).date()
    time = time if time.tzinfo is not None else time.replace(tzinfo=UTC)
    return abs(time - value) < timedelta(seconds=1)


class _Raised(str):
    """What the database said to a value, in place of what it would store."""

    __slots__ = ()


async def _cast(connection: AsyncConnection, column_type: str, values: Sequence[Value]) -> list[str | None]:
    """What the column would store of each value, as text."""
    statement = text(
        f"SELECT CAST(CAST(want.value AS {column_type}) AS text) FROM unnest(CAST(:values AS text[])) "
        "WITH ORDINALITY AS want (value, place) ORDER BY want.place"
    )
    texts = [row_images.value_text(value) for value in values]
    try:
        async with connection.begin_nested():
            return list((await connection.execute(statement, {"values": texts})).scalars())
    except DBAPIError as error:
        if transient.is_transient(error):
            raise
        if len(values) == 1:
            return [_Raised(transient.server_words(error))]
        middle = len(values) // 2
        first = await _cast(connection, column_type, values[:middle])
        return first + await _cast(connection, column_type, values[middle:])


def _refusal(table: AppTable, column: str, value: Value, stored: str | None, storage: Storage) -> Refusal | None:
    if not isinstance(stored, _Raised):
        tolerance, is_time = storage.tolerance_of(column), column in table.times
        if holds(value, stored, tolerance=tolerance, is_time=is_time):
            return None
    shown = _short(row_images.value_text(value))
    became = _short(stored) if isinstance(stored, _Raised) else f"it would store {_short(stored)}"
    kind = table.types[column]
    target = _TYPES.get(type(value), "text")
    hint = f"ALTER TABLE {table.name} ALTER COLUMN {column} TYPE {target}"
    if table.kinds.get(column) == "enum" and isinstance(value, str):
        hint = f"ALTER TYPE {kind} ADD VALUE '{shown}'"
    elif table.kinds.get(column) == "domain":
        hint = f"{hint}, or change the domain {kind}"
    if column in storage.amounts and storage.tolerance_setting and not isinstance(stored, _Raised):
        hint = f"{hint}, or set {storage.tolerance_setting} to the rounding that you accept"
    return Refusal(why=f"{table.name}.{column} ({kind}) cannot hold {shown} ({became})", hint=hint)


def _short(told: str | None) -> str:
    if told is None:
        return "NULL"
    return told if len(told) <= _SHOWN else f"{told[:_SHOWN]}… ({len(told)} characters)"


def _values(findings: Iterable[Finding]) -> dict[str, dict[Value, None]]:
    """By column, the different values that would be written."""
    found: dict[str, dict[Value, None]] = defaultdict(dict)
    for finding in findings:
        for name, value in (finding.update or finding.insert or {}).items():
            found[name][value] = None
    return found


def _notes(table: str, findings: Iterable[Finding]) -> list[str]:
    """One line a column, with the first reason."""
    counts: dict[str, list[str]] = defaultdict(list)
    for finding in findings:
        for column, reason in finding.evidence.get(EVIDENCE, {}).items():
            counts[column].append(reason)
    return [
        f"{table}.{column} {'is left out of' if column in MARKS else 'cannot store the value of'} "
        f"{len(reasons)} {'finding' if len(reasons) == 1 else 'findings'}: {reasons[0]}"
        for column, reasons in sorted(counts.items())
    ]
