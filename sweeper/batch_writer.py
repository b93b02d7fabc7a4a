"""One batch written on the application's database, and known of each of its rows what became of it.

What a constraint, a trigger or a policy refuses is tried in halves down to the row, so that one row's trouble is its own; what
the role may not write at all is refused as a whole. What met another transaction is tried again within a budget; a batch whose
answer was lost is settled by looking at the rows. Any error may come from a trigger that acts on one row: where the attempts are
used up, halves are tried too, for a limited time.
"""

import asyncio
import random
import time
from collections.abc import Mapping, Sequence

from sqlalchemy.exc import DBAPIError

from shared import errors, transient
from sweeper import app_access, app_rights, batches
from sweeper.batch import Batch
from sweeper.batches import Altered, Seen
from sweeper.context import Context
from sweeper.journal import Done
from sweeper.model import Outcome

ATTEMPTS = 5
ROUNDS = 5
"""How often a batch is written again without the rows that the application changed; then in halves."""
SEARCH_SECONDS = 60.0
"""For how long the rows are looked for that keep a batch from being written."""
_WAIT_SECONDS = 0.1
"""Before the second attempt; doubled for each further one, and spread so that two who met do not meet again."""

_MET_ANOTHER = frozenset({"40001", "40P01", "55P03"})
"""Serialization failure, deadlock, lock time-out: surely nothing of the transaction was written."""
_NOT_SUPPORTED = "0A000"
"""What PostgreSQL says to an INSERT with RETURNING into a table that has a rule on inserts."""

HELD = "another transaction holds the row, and did not end in time"
OUT_OF_REACH = (
    "the row is as it was, but could not be locked for the update: a row-level policy forbids it, or a change to it was taken "
    "back meanwhile"
)
NOT_DONE = "not done: the connection to the application's database was lost before"
NO_MATTER = "the row is neither as it was before nor as it was to be written"

NOT_SEEN = Done(
    outcome=Outcome.UNKNOWN,
    reason="the application's database was lost, or holds the row locked, and could not be looked at: the next run settles it",
)
"""Of what stays open for a later run."""
_CHANGED = Done(outcome=Outcome.SKIPPED_CHANGED)


async def write(context: Context, batch: Batch) -> list[Done]:
    """What became of each change of the batch, in its order. Raises LockLost when another run may have begun."""
    return await _Writer(context).write(batch)


class _Writer:
    """Writes batches, and knows what became of each of their changes."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._search_until: float | None = None

    async def write(self, batch: Batch, *, attempt: int = 1, rounds: int = ROUNDS) -> list[Done]:
        last = attempt >= ATTEMPTS
        await self._context.lock.ensure()
        try:
            async with app_access.writing(self._context.app) as connection:
                written = await batches.write(connection, batch, past_locked=last)
        except Altered as error:
            return await self._without_altered(batch, error, attempt, rounds)
        except errors.WriteRefusedAsReadOnly as error:
            return await self._search(batch, _read_only(error), attempt=attempt)
        except errors.DatabaseReadOnly as error:  # no half of the batch would be accepted either
            return [Done(outcome=Outcome.FAILED, reason=_read_only(error))] * len(batch)
        except errors.RightMissing as error:
            reason = f"{error.args[0]}; cure: {error.cure}"
            return await (self._refused if await self._may_never(batch) else self._in_halves)(batch, reason)
        except (DBAPIError, OSError, TimeoutError) as error:
            return await self._after_error(batch, error, attempt)
        done = {place: _repaired(seen) for place, seen in written.items()}
        places = range(1, len(batch) + 1)
        untouched = [place for place in places if place not in done]
        if untouched:
            done |= await self._why_untouched(batch, untouched, past_locked=last)
        return [done[place] for place in places]

    async def _without_altered(self, batch: Batch, error: Altered, attempt: int, rounds: int) -> list[Done]:
        """Nothing was committed: what the application dropped or changed is refused, and the others are written without it."""
        if not error.reasons or not rounds:
            return await self._in_halves(batch, str(error), attempt=attempt)
        refused = dict[int, Done]()
        for place, reason in error.reasons.items():
            (refused[place],) = await self._refused(batch.part([place - 1]), reason)
        others = [place for place in range(1, len(batch) + 1) if place not in refused]
        if others:
            part = batch.part([place - 1 for place in others])
            again = await self.write(part, attempt=attempt, rounds=rounds - 1)
            refused |= dict(zip(others, again, strict=True))
        return [refused[place] for place in range(1, len(batch) + 1)]

    async def _after_error(self, batch: Batch, error: Exception, attempt: int) -> list[Done]:
        """What met another transaction is tried again, what was lost is looked at, and all else is a refusal."""
        if _sqlstate(error) in _MET_ANOTHER:
            if attempt >= ATTEMPTS:
                return await self._search(batch, f"{words(error)}, {ATTEMPTS} times", attempt=attempt)
            await _pause(attempt)
            return await self.write(batch, attempt=attempt + 1)
        if transient.is_transient(error):
            return await self._after_loss(batch, error, attempt)
        if batch.is_insert and _sqlstate(error) == _NOT_SUPPORTED:
            reason = f"a rule or trigger of the application's database stands in the way: {words(error)}"
            return await self._in_halves(batch, reason)
        return await self._in_halves(batch, words(error))

    async def _in_halves(self, batch: Batch, reason: str, *, attempt: int = 1) -> list[Done]:
        """One row at least is refused: the others are written without it."""
        if len(batch) == 1:
            return await self._refused(batch, reason)
        middle = len(batch) // 2
        first, second = batch.part(range(middle)), batch.part(range(middle, len(batch)))
        return [*await self.write(first, attempt=attempt), *await self.write(second, attempt=attempt)]

    async def _search(self, batch: Batch, reason: str, *, attempt: int) -> list[Done]:
        """Something keeps the batch from being written, perhaps one row: halves are tried as long as the time for that lasts."""
        if self._search_until is None:
            self._search_until = time.monotonic() + SEARCH_SECONDS
        if time.monotonic() > self._search_until:
            return await self._refused(batch, reason)
        return await self._in_halves(batch, reason, attempt=attempt)

    async def _refused(self, batch: Batch, reason: str) -> list[Done]:
        """A row that came just before ours is no failure: there is nothing left to insert."""
        came = await self._look(batch, locking=False) if batch.is_insert else None
        failed = Done(outcome=Outcome.FAILED, reason=reason)
        return [_CHANGED if place in (came or {}) else failed for place in range(1, len(batch) + 1)]

    async def _may_never(self, batch: Batch) -> bool:
        """Whether the role has not the rights that each of these rows needs, so that halves of them are refused as well."""
        try:
            async with app_access.transaction(self._context.app) as connection:
                rights = await app_rights.read(connection, batch.table.name)
        except (DBAPIError, OSError, TimeoutError):
            return False  # then the rows themselves tell
        return rights is not None and not {*batch.written} <= (rights.inserts if batch.is_insert else rights.updates)

    async def _why_untouched(self, batch: Batch, places: Sequence[int], *, past_locked: bool) -> Mapping[int, Done]:
        """A row that was not written had changed since it was read, unless it is as it was: then it could not be locked."""
        changed = dict.fromkeys(places, _CHANGED)
        if batch.is_insert:
            return changed
        seen = await self._look(batch, locking=False) or {}
        held = Done(outcome=Outcome.FAILED, reason=HELD if past_locked else OUT_OF_REACH)
        return changed | {place: held for place in places if place in seen and _stands(batch, place, seen[place])}

    async def _after_loss(self, batch: Batch, error: Exception, attempt: int) -> list[Done]:
        """The answer was lost: what became of the rows is seen on them; those that were not written are tried again."""
        await _pause(attempt)
        seen = await self._look(batch, locking=True)
        if seen is None:
            return [NOT_SEEN] * len(batch)
        reason = f"{words(error)}, {ATTEMPTS} times" if _is_answer(error) else NOT_DONE
        done = [settled(seen.get(place), batch, not_done=reason) for place in range(1, len(batch) + 1)]
        again = [number for number, one in enumerate(done) if one.outcome is Outcome.FAILED]
        if again:
            part = batch.part(again)
            if attempt < ATTEMPTS:
                tried = await self.write(part, attempt=attempt + 1)
            else:
                tried = await self._search(part, reason, attempt=attempt)
            for number, one in zip(again, tried, strict=True):
                done[number] = one
        return done

    async def _look(self, batch: Batch, *, locking: bool) -> dict[int, Seen] | None:
        """The rows as they are; None where the database does not answer, or the role may not lock them."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                opened = app_access.writing if locking else app_access.transaction  # a lock is a write to PostgreSQL
                async with opened(self._context.app) as connection:
                    return await batches.look(connection, batch, locking=locking)
            except (errors.RightMissing, errors.DatabaseReadOnly):
                if not locking:
                    raise
                return None
            except (DBAPIError, OSError, TimeoutError) as error:
                if not transient.is_transient(error):
                    raise
                await _pause(attempt)
        return None


def settled(seen: Seen | None, batch: Batch, *, not_done: str) -> Done:
    """What became of a change, by its row as it was found (None: there is no such row)."""
    if seen is not None and seen.is_after:
        return _repaired(seen)
    if (seen is None and batch.is_insert) or (seen is not None and seen.is_before):
        return Done(outcome=Outcome.FAILED, reason=not_done)
    return Done(outcome=Outcome.UNKNOWN, reason=NO_MATTER)


def _repaired(seen: Seen) -> Done:
    return Done(outcome=Outcome.REPAIRED, row_id=seen.row_id, row_hash=seen.row_hash)


def _stands(batch: Batch, place: int, seen: Seen) -> bool:
    """Whether the row is as the update relies on."""
    wanted = batch.hashes[place - 1] if batch.hashes else None
    return seen.is_before and wanted in (None, seen.row_hash)


def _read_only(error: errors.DatabaseReadOnly) -> str:
    return f"{error.args[0]}. Hint: {error.cure}"


def _is_answer(error: Exception) -> bool:
    """Whether the database answered with an error over a connection that goes on, so that nothing was lost."""
    return isinstance(error, DBAPIError) and not error.connection_invalidated and _sqlstate(error) is not None


def words(error: BaseException) -> str:
    """What the database said, in a line, without the statement."""
    return transient.server_words(error)


def _sqlstate(error: BaseException) -> str | None:
    return getattr(error.orig if isinstance(error, DBAPIError) else error, "sqlstate", None)


async def _pause(attempt: int) -> None:
    await asyncio.sleep(_WAIT_SECONDS * 2 ** (attempt - 1) * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
