"""Repairs on the application's database: compare-and-set in batches of one statement, each verified by reading back.

The intent (before and after) is recorded before a batch is tried, the outcome after it. What a constraint or a trigger refuses
is tried in halves down to the row, so that one row's trouble is its own; what met another transaction is tried again within a
budget; a batch whose answer was lost is settled by looking at the rows: the after image says repaired, the before image says
not done, anything else is unknown.
"""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain

from sqlalchemy.exc import DBAPIError

from shared import transient
from sweeper import app_access, app_rights, batches, lanes, obstacles, row_images
from sweeper.app_schema import AppTable
from sweeper.batches import Altered, Batch, Seen
from sweeper.context import Context
from sweeper.journal import Done, Journal
from sweeper.model import Finding, Outcome, Value

BATCH_ROWS = 1_000
"""Rows a statement: with twice as many nothing gets faster, and the rows stay locked for longer."""
ATTEMPTS = 5
_WAIT_SECONDS = 0.1
"""Before the second attempt; doubled for each further one, and spread so that two who met do not meet again."""

_MET_ANOTHER = frozenset({"40001", "40P01", "55P03"})
"""Serialization failure, deadlock, lock time-out: surely nothing of the transaction was written."""

HELD = "another transaction holds the row, and did not end in time"
NOT_DONE = "not done: the connection to the application's database was lost before"
NO_MATTER = "the row is neither as it was before nor as it was to be written"
TWICE = "several repairs of this run want the same {key} {value}, so none of them is made"

Hashes = Mapping[tuple[str, str, str], str]


async def repair(
    context: Context, findings: Sequence[Finding], *, journal: Journal, hashes: Hashes | None = None
) -> list[Finding]:
    """Write the findings' updates and inserts; each comes back with its outcome, and the `reason` where it failed.

    `hashes`: by the finding's identity, what the whole row has to be, not only the columns of the guard.
    Raises LockLost when another run may have begun.
    """
    app_rights.ensure_within(context.subjects, findings)
    done: list[Finding] = []
    for (name, *_), group in sorted(_by_shape(context, findings).items()):
        table = context.tables[name]
        key = context.subjects[name].row_key
        free, blocked = _apart(group, key)
        done += blocked
        some = [free[start : start + BATCH_ROWS] for start in range(0, len(free), BATCH_ROWS)]
        batch = partial(_repair_batch, context, table, key, journal, hashes or {}, asyncio.Lock())
        done += chain.from_iterable(await lanes.each(some, batch))
    return done


def _by_shape(context: Context, findings: Iterable[Finding]) -> dict[tuple[str, ...], list[Finding]]:
    """By table and columns: what one statement can do, in the order of the rows. Columns that the table lacks are left out."""
    shapes: dict[tuple[str, ...], list[Finding]] = defaultdict(list)
    for finding in findings:
        table = context.tables[finding.table]
        update, guard, insert = (_known(table, part) for part in (finding.update, finding.guard, finding.insert or {}))
        if missing := sorted(set(update) - set(guard)):
            raise ValueError(f"{finding.drift_class} of {finding.table} writes {missing} without having seen them")
        one = replace(finding, update=update, guard=guard, insert=insert or None)
        shapes[finding.table, "update" if update else "insert", *sorted(update or insert), "of", *sorted(guard)].append(
            one
        )
    return {shape: sorted(group, key=lambda one: one.row_id or one.entity or "") for shape, group in shapes.items()}


def _known(table: AppTable, image: Mapping[str, Value]) -> Mapping[str, Value]:
    """What of the image the live table has columns for."""
    return image if image.keys() <= table.types.keys() else {n: value for n, value in image.items() if table.has(n)}


def _apart(group: Sequence[Finding], key: str) -> tuple[list[Finding], list[Finding]]:
    """Those that want a key of their own, and those that want the same one: which of them is right is for people to say."""
    wanted = Counter(row_images.value_text(value) for one in group if (value := _written(one).get(key)) is not None)
    free, blocked = [], []
    for one in group:
        value = row_images.value_text(_written(one).get(key))
        if value is not None and wanted[value] > 1:
            blocked.append(_told(one, Done(outcome=Outcome.FAILED, reason=TWICE.format(key=key, value=value))))
        else:
            free.append(one)
    return free, blocked


async def _repair_batch(
    context: Context,
    table: AppTable,
    key: str,
    journal: Journal,
    hashes: Hashes,
    turn: asyncio.Lock,
    findings: Sequence[Finding],
) -> list[Finding]:
    """One batch. While it is written, the next may be recorded; on the application's side there is one at a time (`turn`)."""
    forbidden = await obstacles.find(context, table, findings)
    blocked = [
        _told(one, Done(outcome=Outcome.FAILED, reason=forbidden[one.identity]))
        for one in findings
        if one.identity in forbidden
    ]
    free = [one for one in findings if one.identity not in forbidden]
    if not free:
        return blocked
    batch = batch_of(table, key, free, [hashes.get(one.identity) for one in free] if hashes else ())
    numbers = await journal.intend(free, batch)
    async with turn:
        done = await _Writer(context).write(batch)
    # What could not even be looked at stays intended: the next run settles it.
    await journal.settle({n: one for n, one in zip(numbers, done, strict=True) if one is not _NOT_SEEN})
    return blocked + [_told(finding, one) for finding, one in zip(free, done, strict=True)]


_NOT_SEEN = Done(
    outcome=Outcome.UNKNOWN,
    reason="the application's database was lost, and could not be looked at: the next run settles it",
)


class _Writer:
    """Writes batches, and knows what became of each of their changes."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def write(self, batch: Batch, *, attempt: int = 1) -> list[Done]:
        last = attempt >= ATTEMPTS
        await self._context.lock.ensure()
        try:
            async with app_access.writing(self._context.app) as connection:
                seen = await batches.write(connection, batch, past_locked=last)
        except Altered as error:
            return await self._in_halves(batch, str(error))
        except (DBAPIError, OSError, TimeoutError) as error:
            if _sqlstate(error) in _MET_ANOTHER:
                if last:
                    return [Done(outcome=Outcome.FAILED, reason=f"{words(error)}, {ATTEMPTS} times")] * len(batch)
                await _pause(attempt)
                return await self.write(batch, attempt=attempt + 1)
            if not transient.is_transient(error):
                return await self._in_halves(batch, words(error))
            return await self._after_loss(batch, attempt)
        places = range(1, len(batch) + 1)
        untouched = [place for place in places if place not in seen]
        left = await self._why_untouched(batch, untouched, past_locked=last) if untouched else {}
        return [_repaired(seen[place]) if place in seen else left[place] for place in places]

    async def _in_halves(self, batch: Batch, reason: str) -> list[Done]:
        """One row at least is refused: the others are written without it."""
        if len(batch) == 1:
            return [await self._refused(batch, reason)]
        middle = len(batch) // 2
        first, second = batch.part(range(middle)), batch.part(range(middle, len(batch)))
        return [*await self.write(first), *await self.write(second)]

    async def _refused(self, batch: Batch, reason: str) -> Done:
        """A row that came just before ours is no failure: there is nothing left to insert."""
        came = batch.is_insert and await self._look(batch, locking=False)
        return Done(outcome=Outcome.SKIPPED_CHANGED) if came else Done(outcome=Outcome.FAILED, reason=reason)

    async def _why_untouched(self, batch: Batch, places: Sequence[int], *, past_locked: bool) -> dict[int, Done]:
        """A row that was not written had changed since it was read, unless it was passed over because somebody holds it."""
        changed = {place: Done(outcome=Outcome.SKIPPED_CHANGED) for place in places}
        if not past_locked or batch.is_insert:
            return changed
        seen = await self._look(batch, locking=False) or {}
        held = Done(outcome=Outcome.FAILED, reason=HELD)
        return changed | {place: held for place in places if place in seen and seen[place].is_before}

    async def _after_loss(self, batch: Batch, attempt: int) -> list[Done]:
        """The answer was lost: what became of the rows is seen on them; those that were not written are tried again."""
        await _pause(attempt)
        seen = await self._look(batch, locking=True)
        if seen is None:
            return [_NOT_SEEN] * len(batch)
        done = [settled(seen.get(place), batch, not_done=NOT_DONE) for place in range(1, len(batch) + 1)]
        again = [number for number, one in enumerate(done) if one.outcome is Outcome.FAILED]
        if again and attempt < ATTEMPTS:
            tried = await self.write(batch.part(again), attempt=attempt + 1)
            for number, one in zip(again, tried, strict=True):
                done[number] = one
        return done

    async def _look(self, batch: Batch, *, locking: bool) -> dict[int, Seen] | None:
        """The rows as they are; None where the database does not answer."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                opened = app_access.writing if locking else app_access.transaction  # a lock is a write to PostgreSQL
                async with opened(self._context.app) as connection:
                    return await batches.look(connection, batch, locking=locking)
            except (DBAPIError, OSError, TimeoutError) as error:
                if not transient.is_transient(error):
                    raise
                await _pause(attempt)
        return None


def batch_of(table: AppTable, key: str, findings: Sequence[Finding], hashes: Sequence[str | None] = ()) -> Batch:
    """Findings of one shape as a batch."""
    return Batch(
        table=table,
        key=key,
        ids=[one.row_id or "" for one in findings],
        after=[row_images.of(_written(one)) for one in findings],
        before=[row_images.of(one.guard) for one in findings] if findings[0].update else (),
        hashes=hashes,
    )


def settled(seen: Seen | None, batch: Batch, *, not_done: str) -> Done:
    """What became of a change, by its row as it was found (None: there is no such row)."""
    if seen is not None and seen.is_after:
        return _repaired(seen)
    if (seen is None and batch.is_insert) or (seen is not None and seen.is_before):
        return Done(outcome=Outcome.FAILED, reason=not_done)
    return Done(outcome=Outcome.UNKNOWN, reason=NO_MATTER)


def _repaired(seen: Seen) -> Done:
    return Done(outcome=Outcome.REPAIRED, row_id=seen.row_id, row_hash=seen.row_hash)


def words(error: BaseException) -> str:
    """What the database said, in a line, without the statement."""
    return transient.words(error).rpartition(">: ")[2]


def _written(finding: Finding) -> Mapping[str, Value]:
    return finding.update or finding.insert or {}


def _told(finding: Finding, done: Done) -> Finding:
    one = replace(finding, outcome=done.outcome)
    return one if done.reason is None else one.with_evidence(reason=done.reason)


def _sqlstate(error: BaseException) -> str | None:
    return getattr(error.orig if isinstance(error, DBAPIError) else error, "sqlstate", None)


async def _pause(attempt: int) -> None:
    await asyncio.sleep(_WAIT_SECONDS * 2 ** (attempt - 1) * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
