"""The indexer: pages of events from RPC to frames of the log.

The log is asked where we stand, a page is asked from there, its frames are acknowledged, and only then the page's own cursor is
where we stand. A page's cursor is the only proof of what was scanned: `latestLedger` may be far ahead of it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import structlog

from shared import errors, frames, metrics, position
from shared.rpc.answers import Reach
from streams import waiting
from streams.scanner import EventSource, Scanner

log = structlog.get_logger()

MERGE_SECONDS = 5.0
"""An empty range is sent with the next event or after this time."""
MERGE_LEDGERS = 5_000
"""A longer empty range is sent at once: in a catch-up the tables shall move on, and a frame for so many ledgers is cheap."""
NEAR_TIP_LEDGERS = 100
CHECK_SECONDS = 60.0
"""While the nodes are behind us they are asked so often whether theirs is the chain that we read."""
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0


class FrameSink(Protocol):
    async def write(self, partition: int, batch: Iterable[frames.Frame]) -> list[int]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What is indexed, and the partition that it is written to."""

    network: str
    name: str
    contracts: tuple[str, ...]
    partition: int


@dataclass(frozen=True, slots=True)
class Restart:
    """Nothing is missing: the cursor ends the ledger before the oldest, so the oldest is what comes next."""

    ledger: int


@dataclass(frozen=True, slots=True)
class Lost:
    """The nodes no longer hold what comes next; up to `through` it is lost, then `ledger` begins."""

    through: str
    ledger: int


@dataclass(frozen=True, slots=True)
class Ahead:
    """The node is behind us."""


def judge(cursor: str, *, oldest: int, latest: int) -> Restart | Lost | Ahead:
    """What a refused cursor means, by the range that the node holds."""
    following = position.complete_ledger(cursor) + 1
    if following < oldest:
        return Lost(through=position.end_of(oldest - 1), ledger=oldest)
    return Restart(following) if following <= latest and position.ends_ledger(cursor) else Ahead()


class Indexer:
    """Reads on from where the log stands, until it is cancelled. Holds one page, and the bounds of an empty range.

    `check_chain` raises ChainReset where the nodes hold another chain than the one that was read: asked when they are behind it,
    contradict themselves, or seem to have lost ledgers. `reach` looks twice at what all nodes hold: no gap is written on one
    answer. `standing` is the position that the log goes on behind: asked while the nodes are behind us, because a gap may be
    withdrawn.
    """

    def __init__(
        self,
        *,
        source: EventSource,
        sink: FrameSink,
        scope: Scope,
        through: str,
        page_limit: int,
        poll_seconds: float,
        check_chain: Callable[[], Awaitable[None]],
        reach: Callable[[], Awaitable[Reach]],
        standing: Callable[[], Awaitable[str]],
        merge_seconds: float = MERGE_SECONDS,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._scanner = Scanner(source, contracts=scope.contracts, limit=page_limit)
        self._sink = sink
        self._scope = scope
        self._check_chain = check_chain
        self._reach = reach
        self._read_standing = standing
        self._poll_seconds = poll_seconds
        self._merge_seconds = merge_seconds
        self._clock = clock or asyncio.get_running_loop().time
        self._cursor = through  # what was scanned
        self._written = through  # what the log holds; behind the cursor while an empty range is held back
        self._closed_at: int | None = None
        self._empty_since: float | None = None
        self._start: int | None = None
        self._latest = 0
        self._is_behind = False
        self._check_at = 0.0

    @property
    def latest_ledger(self) -> int:
        """The latest ledger as the newest page tells it; 0 before the first."""
        return self._latest

    @property
    def near_tip(self) -> bool:
        return self._latest > 0 and self._latest - position.complete_ledger(self._cursor) <= NEAR_TIP_LEDGERS

    async def run(self) -> None:
        """Index until cancelled; raises what no waiting helps against."""
        trouble = waiting.Waiting(
            "RPC is of no use now; the stream goes on when it is",
            first=FIRST_PAUSE_SECONDS,
            longest=LONGEST_PAUSE_SECONDS,
        )
        while True:
            try:
                caught_up = await self._go_on()
            except errors.RpcError as error:
                if not waiting.is_waited_for(error):
                    raise
                await self.flush()
                if isinstance(error, errors.RpcContradiction):
                    await self._check_chain_now_and_then()
                await trouble.pause(error)
            else:
                if trouble.is_going_on and not self._is_behind:
                    log.info("RPC answers again", cursor=self._cursor)
                    trouble.over()
                await asyncio.sleep(self._poll_seconds if caught_up else 0)

    async def _go_on(self) -> bool:
        """Take one page, or go on where the nodes can; says whether waiting is all there is to do."""
        try:
            caught_up = await self.step()
        except errors.LedgerOutOfRange as error:
            return await self._out_of_range(error)
        if self._is_behind:
            log.info("the RPC node is no longer behind the log", cursor=self._cursor)
        self._is_behind = False
        self._check_at = 0.0
        return caught_up

    async def step(self) -> bool:
        """Take one page into the log; says whether nothing lies behind it yet."""
        page = await self._scanner.page(self._cursor, start=self._start)
        if page is None:
            return False
        self._latest = page.latest_ledger
        self._start = None
        self._cursor = page.cursor
        metrics.retention_margin_ledgers.set(position.ledger_of(page.cursor) - page.oldest_ledger)
        # Only when the page ends the latest ledger is that ledger's close time the one of the page's end.
        ends_latest = page.cursor == position.end_of(page.latest_ledger)
        self._closed_at = page.latest_close_time if ends_latest else None
        if page.events or self._is_due():
            await self.flush(page.events)
        return page.at_tip

    async def flush(self, events: tuple[frames.Event, ...] = ()) -> None:
        """Write all that was scanned since the last frame; the events are those of its last page."""
        if self._cursor > self._written:
            page = frames.Page(
                network=self._scope.network,
                scope=self._scope.name,
                kind="live",
                after=self._written,
                through=self._cursor,
                events=events,
                closed_at=self._closed_at,
                contracts=self._scope.contracts,
            )
            await self._sink.write(self._scope.partition, frames.cut(page))
        self._written = self._cursor
        self._empty_since = None

    def _is_due(self) -> bool:
        if self._cursor == self._written:
            return False
        now = self._clock()
        self._empty_since = now if self._empty_since is None else self._empty_since
        ledgers = position.ledger_of(self._cursor) - position.ledger_of(self._written)
        return ledgers >= MERGE_LEDGERS or now - self._empty_since >= self._merge_seconds

    async def _out_of_range(self, error: errors.LedgerOutOfRange) -> bool:
        """Go on where the nodes can; says whether they are behind us, so that waiting is all there is to do."""
        await self.flush()
        match judge(self._cursor, oldest=error.oldest, latest=error.latest):
            case Restart(ledger):
                self._start = ledger
                return False
            case Lost():
                await self._note_what_is_lost(error)
                return False
            case Ahead():
                await self._wait_behind(error.latest)
                return True

    async def _note_what_is_lost(self, error: errors.LedgerOutOfRange) -> None:
        """Write a gap, if two looks at every node find what comes next at none of them; it could not be undone."""
        held = await self._reach()
        match judge(self._cursor, oldest=held.oldest_ledger, latest=held.latest_ledger):
            case Lost(through, ledger):
                await self._check_chain()
                await self._lost(through)
                self._start = ledger
            case _:
                raise errors.RpcContradiction(
                    f"{error.args[0]}; but the nodes hold the ledgers {held.oldest_ledger} to {held.latest_ledger}",
                    cure="ask the provider of that node; or remove it from CHAINTRUE_RPC__URLS",
                )

    async def _wait_behind(self, latest: int) -> None:
        """Now and then, see whether the nodes are of our chain, and whether the log still goes on behind our position."""
        self._is_behind = True
        if self._clock() < self._check_at:
            return
        log.warning("the RPC node is behind the log; waiting", latest=latest, cursor=self._cursor)
        await self._check_chain_now_and_then()
        standing = await self._read_standing()
        if standing < self._cursor:
            log.warning("a gap was withdrawn; indexing resumes there", after=standing, before=self._cursor)
            self._cursor = self._written = standing

    async def _check_chain_now_and_then(self) -> None:
        if self._clock() >= self._check_at:
            self._check_at = self._clock() + CHECK_SECONDS
            await self._check_chain()

    async def _lost(self, through: str) -> None:
        log.error(
            "RPC no longer holds what comes next; the gap is noted in the log",
            after=self._cursor,
            next_ledger=position.ledger_of(through) + 1,
        )
        gap = frames.Gap(
            network=self._scope.network,
            scope=self._scope.name,
            after=self._cursor,
            through=through,
            reason="no RPC node that answers holds these ledgers any more",
        )
        await self._sink.write(self._scope.partition, [gap])
        self._cursor = self._written = through
