"""The indexer: pages of events from RPC to frames of the log.

The log is asked where we stand, a page is asked from there, its frames are acknowledged, and only then the page's own cursor is
where we stand. A page's cursor is the only proof of what was scanned: `latestLedger` may be far ahead of it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from shared import errors, frames, metrics, position
from shared.rpc.answers import Reach
from streams.scanner import EventSource, Scanner

log = structlog.get_logger()

MERGE_SECONDS = 5.0
"""An empty range is sent with the next event or after this time."""
MERGE_LEDGERS = 5_000
"""A longer empty range is sent at once: in a catch-up the tables shall move on, and a frame for so many ledgers is cheap."""
NEAR_TIP_LEDGERS = 100
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


def first_ledger(wanted: int | None, reach: Reach) -> int:
    """The ledger that a new log begins at; raises SettingError for one that no node holds, RpcUnavailable while one is silent."""
    if wanted is None:
        return reach.oldest_ledger
    if reach.oldest_ledger <= wanted <= reach.latest_ledger:
        return wanted
    held = f"RPC holds the ledgers {reach.oldest_ledger} to {reach.latest_ledger}"
    words = f"CHAINTRUE_STREAM__START_LEDGER: {held}, so the log cannot begin at {wanted}"
    if reach.silent:
        raise errors.RpcUnavailable(f"{words} while {', '.join(reach.silent)} gives no answer")
    raise errors.SettingError(words, cure="set it within that range, or leave it unset to begin at the oldest")


def new_contracts(recorded: Sequence[str], named: Sequence[str], *, scope: str) -> tuple[str, ...]:
    """The contracts that the settings name and the log does not know; raises SettingError when they lack one that it knows."""
    if gone := sorted(set(recorded) - set(named)):
        raise errors.SettingError(
            f"the log of {scope} was begun for {', '.join(gone)}, which the settings no longer name: "
            "a contract that was replaced cannot go on in the same log",
            cure="name the recorded contracts again; or name a new CHAINTRUE_KAFKA__TOPIC and an empty database, and index anew",
        )
    return tuple(contract for contract in named if contract not in recorded)


class Indexer:
    """Reads on from where the log stands, until it is cancelled. Holds one page, and the bounds of an empty range.

    `check_chain` raises ChainReset where the nodes hold another chain than the one that was read: asked when they are behind it.
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
        merge_seconds: float = MERGE_SECONDS,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._scanner = Scanner(source, contracts=scope.contracts, limit=page_limit)
        self._sink = sink
        self._scope = scope
        self._check_chain = check_chain
        self._poll_seconds = poll_seconds
        self._merge_seconds = merge_seconds
        self._clock = clock or asyncio.get_running_loop().time
        self._cursor = through  # what was scanned
        self._written = through  # what the log holds; behind the cursor while an empty range is held back
        self._closed_at: int | None = None
        self._empty_since: float | None = None
        self._start: int | None = None
        self._latest = 0
        self._troubled = False

    @property
    def latest_ledger(self) -> int:
        """The highest ledger that an answer has told of; 0 before the first."""
        return self._latest

    @property
    def near_tip(self) -> bool:
        return self._latest > 0 and self._latest - position.complete_ledger(self._cursor) <= NEAR_TIP_LEDGERS

    async def run(self) -> None:
        """Index until cancelled; raises what no waiting can mend."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                caught_up = await self.step()
            except errors.LedgerOutOfRange as error:
                ahead = await self._out_of_range(error)
                await asyncio.sleep(self._poll_seconds if ahead else 0)
            except errors.RpcError as error:
                if not error.retryable:
                    raise
                await self._trouble(error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            else:
                self._recovered()
                pause = FIRST_PAUSE_SECONDS
                if caught_up:
                    await asyncio.sleep(self._poll_seconds)

    async def step(self) -> bool:
        """Take one page into the log; says whether nothing lies behind it yet."""
        page = await self._scanner.page(self._cursor, start=self._start)
        if page is None:
            return False
        self._latest = max(self._latest, page.latest_ledger)
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
            case Lost(through, ledger):
                await self._lost(through)
                self._start = ledger
                return False
            case Ahead():
                if not self._troubled:
                    log.warning("the RPC node is behind the log; waiting", latest=error.latest, cursor=self._cursor)
                    await self._check_chain()
                self._troubled = True
                return True

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

    async def _trouble(self, error: errors.RpcError) -> None:
        if not self._troubled:
            log.warning("RPC gives no answer; the stream goes on when it does", error=str(error))
        self._troubled = True
        await self.flush()

    def _recovered(self) -> None:
        if self._troubled:
            log.info("RPC answers again", cursor=self._cursor)
        self._troubled = False


async def begin(sink: FrameSink, scope: Scope, *, through: str) -> None:
    """Write an origin: behind this position the scope begins, or its new contracts are read as well."""
    origin = frames.Origin(network=scope.network, scope=scope.name, contracts=scope.contracts, through=through)
    await sink.write(scope.partition, [origin])
    log.info("the log begins", scope=scope.name, behind=through, contracts=len(scope.contracts))
