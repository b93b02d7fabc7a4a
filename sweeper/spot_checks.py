"""Spot checks: each run asks the chain about some entities whose rows look right, those first that were not asked for longest.

The order is that of the keys, with a cursor in `recon.spot_rounds`; a round ends with the last key, and the next begins at
the first. A key that no node answered is not passed by: the cursor waits before it.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple, Protocol, runtime_checkable

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from sweeper.comparison import KeyRange
from sweeper.context import Context
from sweeper.contradiction import Verdict
from sweeper.model import Answer, Finding
from sweeper.questions import Held
from sweeper.report import SpotCoverage

WHOLE_KEYS = 10_000
"""Keys of a run where one entry answers for all: no entry of the ledger holds more."""


class Checked(NamedTuple):
    """One entity, with what the chain says to our tables' answer. `contradicts`: the entry by which they are wrong."""

    key: str
    answer: Answer
    reason: str
    answered: bool
    contradicts: Held | None

    @classmethod
    def of(cls, key: str, held: Held | None, verdict: Verdict) -> "Checked":
        contradicts = held if verdict.contradicts else None
        return cls(key, verdict.answer, verdict.reason, answered=held is not None, contradicts=contradicts)


@runtime_checkable
class SpotChecked(Protocol):
    """A subject whose entities can be asked for (see `sweeper.context.Subject`, which need not be one)."""

    @property
    def table(self) -> str: ...

    @property
    def expected_table(self) -> str:
        """The table of `chain` that holds its entities."""
        ...

    @property
    def spot_whole(self) -> bool:
        """Whether one entry answers for all, so that all are looked at each time."""
        ...

    def key_range(self) -> KeyRange: ...

    async def spot_check(self, context: Context, keys: Sequence[str]) -> list[Checked]:
        """What the chain says to what our tables hold of these, in the same order."""
        ...

    async def look_at(self, context: Context, keys: Sequence[str]) -> list[Finding]:
        """The findings about these, and about the rows that name them."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Where the spot checks of a table stand."""

    after_key: str
    number: int
    checked: int
    started_at: datetime
    last_ended_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spots:
    """What the spot checks of one table told."""

    table: str
    checked: Sequence[Checked]
    coverage: SpotCoverage

    @property
    def answers(self) -> Counter[Answer]:
        return Counter(one.answer for one in self.checked)

    @property
    def notes(self) -> list[str]:
        """What is not confirmed, by reason."""
        reasons = Counter(one.reason for one in self.checked if one.answer is not Answer.CONFIRMED)
        return [
            f"{self.table}: {count} spot check{'s' * (count > 1)}: {reason}"
            for reason, count in sorted(reasons.items())
        ]


async def check(context: Context, subject: SpotChecked, *, limit: int, findings: Collection[Finding] = ()) -> Spots:
    """Ask about the next entities of the table's round, but for those of the `findings`, which are asked about anyway."""
    keys = subject.key_range()
    limit = WHOLE_KEYS if subject.spot_whole and limit else limit
    now, before, due, total = await _due(context.chain, subject, keys, limit=limit)
    found = {(one.entity or "").rpartition(":")[2] for one in findings if one.table == subject.table}
    asked = [key for key in due if key.rpartition(":")[2] not in found]
    checked = await subject.spot_check(context, asked) if asked else []
    silent = {one.key for one in checked if not one.answered}
    after = advanced(before, due, silent=silent, limit=limit, now=now)
    await _remember(context.chain, subject.table, after)
    coverage = SpotCoverage(
        checked=min(after.checked, total),
        of=total,
        round=after.number,
        round_started_at=after.started_at,
        last_round_ended_at=after.last_ended_at,
    )
    return Spots(table=subject.table, checked=checked, coverage=coverage)


def begun(held: Round | None, *, first: str, is_over: bool, now: datetime) -> Round:
    """The round that goes on: the held one, or the next where no key is left of it."""
    if held is None:
        return Round(after_key=first, number=1, checked=0, started_at=now, last_ended_at=None)
    if not is_over or held.after_key == first:
        return held
    has_ended = held.last_ended_at is not None and held.last_ended_at >= held.started_at
    ended_at = held.last_ended_at if has_ended else now  # its last key was the last one that the run before was due
    return replace(held, after_key=first, number=held.number + 1, checked=0, started_at=now, last_ended_at=ended_at)


def advanced(before: Round, due: Sequence[str], *, silent: Collection[str], limit: int, now: datetime) -> Round:
    """The round behind the keys that were due, up to the first that nobody answered; fewer than `limit` end the round."""
    passed = next((number for number, key in enumerate(due) if key in silent), len(due))
    ends = bool(due) and passed == len(due) < limit
    return replace(
        before,
        after_key=due[passed - 1] if passed else before.after_key,
        checked=before.checked + passed,
        last_ended_at=now if ends else before.last_ended_at,
    )


async def _due(
    engine: AsyncEngine, subject: SpotChecked, keys: KeyRange, *, limit: int
) -> tuple[datetime, Round, list[str], int]:
    """The clock, the round, the keys that are due in it, and how many keys there are in all."""
    async with engine.connect() as connection:
        now: datetime = (await connection.execute(text("SELECT clock_timestamp()"))).scalar_one()
        held = await _held(connection, subject.table)
        after = keys.first if held is None else held.after_key
        due = await _keys(connection, subject.expected_table, after, keys.end, limit)
        going_on = begun(held, first=keys.first, is_over=limit > 0 and not due, now=now)
        if not due and going_on.after_key != after:
            due = await _keys(connection, subject.expected_table, going_on.after_key, keys.end, limit)
        count = text(f"SELECT count(*) FROM {subject.expected_table} WHERE key > :first AND key < :end")
        total = (await connection.execute(count, {"first": keys.first, "end": keys.end})).scalar_one()
    return now, going_on, due, total


async def _keys(connection: AsyncConnection, table: str, after: str, end: str, limit: int) -> list[str]:
    statement = text(f"SELECT key FROM {table} WHERE key > :after AND key < :end ORDER BY key LIMIT :limit")
    rows = await connection.execute(statement, {"after": after, "end": end, "limit": limit})
    return list(rows.scalars())


_HELD = text("""
SELECT after_key, round AS number, checked, round_started_at AS started_at, last_round_ended_at AS last_ended_at
FROM recon.spot_rounds WHERE table_name = :table
""")

_REMEMBER = text("""
INSERT INTO recon.spot_rounds (table_name, after_key, round, checked, round_started_at, last_round_ended_at)
VALUES (:table, :after_key, :number, :checked, :started_at, :last_ended_at)
ON CONFLICT (table_name) DO UPDATE SET after_key = excluded.after_key, round = excluded.round, checked = excluded.checked,
  round_started_at = excluded.round_started_at, last_round_ended_at = excluded.last_round_ended_at
""")


async def _held(connection: AsyncConnection, table: str) -> Round | None:
    row = (await connection.execute(_HELD, {"table": table})).one_or_none()
    return None if row is None else Round(**row._mapping)


async def _remember(engine: AsyncEngine, table: str, one: Round) -> None:
    parameters = {
        "table": table,
        "after_key": one.after_key,
        "number": one.number,
        "checked": one.checked,
        "started_at": one.started_at,
        "last_ended_at": one.last_ended_at,
    }
    async with engine.begin() as connection:
        await connection.execute(_REMEMBER, parameters)
