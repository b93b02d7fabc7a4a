"""Gaps, closed from RPC: what the nodes still hold is read, what they no longer hold is superseded by the state of now.

Which gaps are open is a query over the tables, so a restart goes on where it was. It runs near the tip only, and one request at
a time with a pause: what is new comes first. The part that would be trimmed next is read first.

Of ledgers that no node holds every entity is read anew from its entry (`Rereader`); once all of them were seen behind the gap,
the log says so by a `closed` frame. Nodes may hold more than others: while one of them is silent, nothing counts as lost.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from shared import applied, coverage, coverage_store, errors, frames, position, transient
from shared.rpc.answers import EventPage, Health, Reach
from streams import second_look, waiting
from streams.indexer import FrameSink, Scope
from streams.reread import Rereader
from streams.scanner import EventSource, Scanner

log = structlog.get_logger()

PAUSE_SECONDS = 0.2
"""Between two requests: five pages a second at most, of which the live stream needs one."""
POLL_SECONDS = 2.0
TROUBLE_SECONDS = 5.0
LONGEST_TROUBLE_SECONDS = 60.0
APPLY_SECONDS = 60.0


class Source(EventSource, Protocol):
    async def health(self) -> Health: ...
    async def reach(self, *, anew: bool = False) -> Reach: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Hole:
    """Part of a gap that is not closed, and the contracts whose events it lacks."""

    range: coverage.Range
    contracts: tuple[str, ...]


def split(hole: Hole, *, oldest: int) -> tuple[Hole | None, Hole | None]:
    """(lost, held): the part before the ledger `oldest`, which no node holds, and the part from it on."""
    edge = position.end_of(oldest - 1)
    after, through = hole.range.after, hole.range.through
    lost = replace(hole, range=coverage.Range(after, min(through, edge))) if after < edge else None
    held = replace(hole, range=coverage.Range(max(after, edge), through)) if through > edge else None
    return lost, held


def parts(holes: Iterable[Hole], *, oldest: int) -> tuple[list[Hole], list[Hole]]:
    """(lost, held): all holes, split at the ledger `oldest`."""
    each = [split(hole, oldest=oldest) for hole in holes]
    return [lost for lost, _ in each if lost is not None], [held for _, held in each if held is not None]


def frame_of(page: EventPage, hole: Hole, scope: Scope) -> frames.Page:
    """What the page proves of the hole: a page may go on behind its end."""
    through = min(page.cursor, hole.range.through)
    return frames.Page(
        network=scope.network,
        scope=scope.name,
        kind="fill",
        after=hole.range.after,
        through=through,
        events=tuple(event for event in page.events if event.id <= through),
        contracts=hole.contracts,
    )


class Filler:
    """Closes gaps until it is cancelled. `near_tip` says whether the live stream leaves room for it."""

    def __init__(
        self,
        *,
        engine: AsyncEngine,
        source: Source,
        sink: FrameSink,
        scope: Scope,
        rereader: Rereader,
        page_limit: int,
        near_tip: Callable[[], bool],
        pause_seconds: float = PAUSE_SECONDS,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._engine = engine
        self._source = source
        self._sink = sink
        self._scope = scope
        self._rereader = rereader
        self._page_limit = page_limit
        self._near_tip = near_tip
        self._pause_seconds = pause_seconds
        self._poll_seconds = poll_seconds
        self._waited_for: tuple[str, ...] = ()

    async def run(self) -> None:
        trouble = waiting.Waiting(
            "a gap cannot be filled now; trying on", first=TROUBLE_SECONDS, longest=LONGEST_TROUBLE_SECONDS
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
                await asyncio.sleep(self._pause_seconds if busy else self._poll_seconds)

    async def step(self) -> bool:
        """Do one request's worth of work; says whether there is more to do."""
        if not self._near_tip():
            return False
        holes = await open_holes(self._engine, scope=self._scope.name)
        if not holes:
            return False
        lost, held = parts(holes, oldest=(await self._source.health()).oldest_ledger)
        if not held:
            reach = await self._source.reach()
            lost, held = parts(holes, oldest=reach.oldest_ledger)
            if not held and reach.silent:
                self._wait_for(reach.silent)
                return False
        self._waited_for = ()
        if held:
            page = await read(held[0], self._source, self._scope, limit=self._page_limit)
            return page is None or await write(frames.cut(page), self._sink, self._scope, self._engine)
        return await self._supersede(lost)

    def _wait_for(self, silent: tuple[str, ...]) -> None:
        if silent != self._waited_for:
            log.warning("a gap stays open: a node that may hold its ledgers gives no answer", nodes=silent)
        self._waited_for = silent

    async def _supersede(self, lost: Sequence[Hole]) -> bool:
        """Re-read what is not known to be behind the gaps; when nothing is left, close them."""
        since = max(hole.range.through for hole in lost)
        contracts = tuple(dict.fromkeys(contract for hole in lost for contract in hole.contracts))
        ledger = await self._rereader.step(since=since, contracts=contracts)
        if ledger is None or not await is_lost(lost, self._source):
            return True
        closed = [
            frames.Closed(
                network=self._scope.network,
                scope=self._scope.name,
                after=hole.range.after,
                through=hole.range.through,
                ledger=ledger,
                contracts=hole.contracts,
            )
            for hole in lost
        ]
        await write(closed, self._sink, self._scope, self._engine)
        log.info("gaps are superseded by the state that was read", gaps=len(closed), ledger=ledger)
        return True


async def is_lost(holes: Sequence[Hole], source: second_look.Source) -> bool:
    """Whether two more looks at every node find that none holds any of it: what is closed is not read any more."""
    reach = await second_look.reach(source)
    _, held = parts(holes, oldest=reach.oldest_ledger)
    return not held and not reach.silent


async def open_holes(engine: AsyncEngine, *, scope: str) -> list[Hole]:
    """What is missing of all gaps that are not closed, the oldest first."""
    async with engine.connect() as connection:
        gaps = await coverage_store.gaps(connection, scope=scope, closed=False)
        if not gaps:
            return []
        held = await coverage_store.read(connection, scope=scope)
    return [
        Hole(range=missing, contracts=gap.contracts)
        for gap in gaps
        for missing in held.missing(gap.range, gap.contracts)
    ]


async def read(hole: Hole, source: EventSource, scope: Scope, *, limit: int) -> frames.Page | None:
    """What the next page proves of the hole, all of which the nodes hold; None where it is to be asked again.

    Raises an RpcError, LedgerOutOfRange among them when the nodes trimmed the beginning of the hole meanwhile.
    """
    behind = hole.range.after
    start = position.ledger_of(behind) + 1 if position.ends_ledger(behind) else None
    page = await Scanner(source, contracts=hole.contracts, limit=limit).page(behind, start=start)
    if page is None or page.cursor <= behind:
        return None
    return frame_of(page, hole, scope)


async def write(batch: Iterable[frames.Frame], sink: FrameSink, scope: Scope, engine: AsyncEngine) -> bool:
    """Write frames and wait until the worker has applied them; says whether it did in time."""
    offsets = await sink.write(scope.partition, batch)
    done = await applied.wait(engine, partition=scope.partition, offset=offsets[-1], seconds=APPLY_SECONDS)
    if not done:
        log.warning("frames are not applied yet; is a worker running?", offset=offsets[-1])
    return done
