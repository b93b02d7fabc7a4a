"""The observer: ledger entries that the tables ask for, from RPC to frames of the log.

What to ask is a query of the application, no memory: rows that lack an observation at or after the fact that asks for one. It
runs near the tip only. Behind it an entry would be observed in the state of today, long after the facts that ask, and asked
again with each later fact; one observation at the end answers them all.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared import chain_tables as tables
from shared import errors, position, transient
from streams import waiting
from streams.indexer import Scope
from streams.observations import KEYS, Observations

log = structlog.get_logger()

POLL_SECONDS = 1.0
PAUSE_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 60.0
FIRST_DELAY_LEDGERS = 2
LONGEST_DELAY_LEDGERS = 17_280  # about a day
REMEMBERED = 10_000


Wanted = Callable[..., Awaitable[list[str]]]


@dataclass(slots=True)
class _Asked:
    times: int
    again_at: int


class Patience:
    """Keys that stay on the list although they were answered (an entry that is absent, say), and when to ask them again.

    Each answer doubles the ledgers until the next; a key that left the list is forgotten. Bounded: the oldest are dropped.
    """

    def __init__(self, *, capacity: int = REMEMBERED) -> None:
        self._capacity = capacity
        self._asked: dict[str, _Asked] = {}

    def __len__(self) -> int:
        return len(self._asked)

    def due(self, wanted: Sequence[str], *, ledger: int, complete: bool) -> list[str]:
        """Those of the work list to ask at `ledger`. `complete`: the list holds every wish, so others were granted."""
        if complete:
            listed = set(wanted)
            self._asked = {key: asked for key, asked in self._asked.items() if key in listed}
        return [key for key in wanted if key not in self._asked or self._asked[key].again_at <= ledger]

    def answered(self, keys: Collection[str], *, ledger: int) -> None:
        for key in keys:
            before = self._asked.pop(key, None)
            times = before.times + 1 if before else 1
            delay = min(FIRST_DELAY_LEDGERS << min(times - 1, 30), LONGEST_DELAY_LEDGERS)
            self._asked[key] = _Asked(times, ledger + delay)
        while len(self._asked) > self._capacity:
            del self._asked[next(iter(self._asked))]


class Observer:
    """Grants the wishes of `wanted`, until it is cancelled.

    `tip` gives the latest ledger of RPC when the indexer is near it, else None.
    """

    def __init__(
        self,
        *,
        engine: AsyncEngine,
        wanted: Wanted,
        observations: Observations,
        scope: Scope,
        tip: Callable[[], int | None],
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._engine = engine
        self._wanted = wanted
        self._observations = observations
        self._scope = scope
        self._tip = tip
        self._poll_seconds = poll_seconds
        self._patience = Patience()

    async def run(self) -> None:
        trouble = waiting.Waiting(
            "ledger entries cannot be observed now; trying on", first=PAUSE_SECONDS, longest=LONGEST_PAUSE_SECONDS
        )
        while True:
            try:
                busy = await self.step()
            except errors.RpcError as error:
                if not waiting.is_waited_for(error):
                    raise
                await trouble.pause(error)
            except (DBAPIError, OSError, TimeoutError) as error:
                if not transient.is_transient(error):
                    raise
                await trouble.pause(transient.words(error))
            else:
                trouble.over()
                if not busy:
                    await asyncio.sleep(self._poll_seconds)

    async def step(self) -> bool:
        """One pass over the work list; says whether there may be more to do at once."""
        tip = self._tip()
        if tip is None:
            return False
        async with self._engine.connect() as connection:
            limit = KEYS + len(self._patience)
            wanted = await self._wanted(connection, limit=limit)
            applied = await self._applied_ledger(connection)
        due = self._patience.due(wanted, ledger=tip, complete=len(wanted) < limit)
        if not due or applied is None:
            return False
        await self._observe(due[:KEYS], min_ledger=applied)
        return len(due) > KEYS

    async def _observe(self, keys: Sequence[str], *, min_ledger: int) -> None:
        ledger, applied = await self._observations.make(keys, min_ledger=min_ledger)
        self._patience.answered(keys, ledger=ledger)
        if not applied:
            await asyncio.sleep(PAUSE_SECONDS)

    async def _applied_ledger(self, connection: AsyncConnection) -> int | None:
        """The highest ledger that the tables have facts of: an older answer would not know what they ask for."""
        coverage = tables.coverage.c
        row = await connection.execute(select(func.max(coverage.through)).where(coverage.scope == self._scope.name))
        through: str | None = row.scalar_one_or_none()
        origin = select(tables.scopes.c.origin).where(tables.scopes.c.scope == self._scope.name)
        through = through or (await connection.execute(origin)).scalar_one_or_none()
        return None if through is None else position.ledger_of(through)
