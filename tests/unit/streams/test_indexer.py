"""The indexer's decisions, and its loop against an RPC of a few lines."""

import asyncio
from collections.abc import Callable, Iterable, Sequence

import pytest
import structlog

from shared import errors, frames, position
from shared.rpc.answers import EventPage, Reach
from streams import indexer
from streams.indexer import Ahead, Indexer, Lost, Restart, Scope

CONTRACT = "CAKNWUFCM4ZB3W73TPZCYWBEJUCT4HLWLEGHYZFONSTXMGOMTWFNUZLG"
OTHER = "CDLZFC3SYJYDZT7K67VZ75HPJVIEUVNIXF47ZG2FB2RMQQVU2HHGCYSC"
SCOPE = Scope(network="Test", name="scope", contracts=(CONTRACT,), partition=0)
CLOSED_AT = 1_787_220_000


def event(ledger: int, index: int = 0) -> frames.Event:
    return frames.Event(
        id=f"{ledger << 32 | 1 << 12:019d}-{index:010d}",
        type="contract",
        contract=CONTRACT,
        tx_hash="ab" * 32,
        closed_at="2026-08-20T10:10:22Z",
        topics=(),
        value="AAAAAQ==",
    )


class Node:
    """An RPC node: its events, the ledgers it holds, how many it scans at once; `trouble` raises instead of an answer."""

    def __init__(self, *events: frames.Event, oldest: int, latest: int, window: int = 10_000) -> None:
        self.events_held = events
        self.oldest = oldest
        self.latest = latest
        self.window = window
        self.asked: list[tuple[int | None, str | None]] = []
        self.pinned: list[str | None] = []
        self.trouble: list[errors.RpcError] = []
        self.before_answer: Callable[[], None] = lambda: None
        self.after_answer: Callable[[], None] = lambda: None

    async def reach(self) -> Reach:
        """What two looks at all nodes tell."""
        return Reach(oldest_ledger=self.oldest, latest_ledger=self.latest, silent=())

    async def events(
        self,
        *,
        contracts: Sequence[str],  # noqa: ARG002 - the node has those of one scope only
        start_ledger: int | None = None,
        cursor: str | None = None,
        limit: int = 1000,
        node: str | None = None,
    ) -> EventPage:
        self.asked.append((start_ledger, cursor))
        self.pinned.append(node)
        self.before_answer()
        await asyncio.sleep(0)
        if self.trouble:
            raise self.trouble.pop()
        first = start_ledger if start_ledger is not None else position.ledger_of(cursor or "")
        if not self.oldest <= first <= self.latest:
            raise errors.LedgerOutOfRange("out of range", oldest=self.oldest, latest=self.latest)
        after = position.end_of(first - 1) if start_ledger is not None else cursor or ""
        end = position.end_of(min(self.latest, first + self.window - 1))
        found = [each for each in self.events_held if after < each.id <= end and each.ledger >= self.oldest][:limit]
        through = found[-1].id if len(found) == limit else end
        page = EventPage(
            events=tuple(found),
            cursor=through,
            latest_ledger=self.latest,
            oldest_ledger=self.oldest,
            latest_close_time=CLOSED_AT,
            oldest_close_time=0,
            node="node-1",
        )
        self.after_answer()
        return page


class Log:
    """A log in memory; it says when a frame was written."""

    def __init__(self) -> None:
        self.frames: list[frames.Frame] = []
        self.changed = asyncio.Event()
        self.chain_checks = 0
        self.resumes_behind = ""

    async def standing(self) -> str:
        """Where the log goes on: behind its newest frame, unless a gap was withdrawn."""
        return self.resumes_behind or position.end_of(10**6)

    async def check_chain(self) -> None:
        self.chain_checks += 1

    async def write(self, partition: int, batch: Iterable[frames.Frame]) -> list[int]:
        assert partition == SCOPE.partition
        await asyncio.sleep(0)
        written = list(batch)
        first = len(self.frames)
        self.frames += written
        self.changed.set()
        return list(range(first, len(self.frames)))

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    @property
    def pages(self) -> list[frames.Page]:
        return [frame for frame in self.frames if isinstance(frame, frames.Page)]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def reading(node: Node, log: Log, *, through: str, limit: int = 1000, clock: Clock | None = None) -> Indexer:
    return Indexer(
        source=node,
        sink=log,
        scope=SCOPE,
        through=through,
        page_limit=limit,
        poll_seconds=0.001,
        clock=clock or Clock(),
        check_chain=log.check_chain,
        reach=node.reach,
        standing=log.standing,
    )


async def run_until(subject: Indexer, log: Log, condition: Callable[[], bool]) -> None:
    running = asyncio.ensure_future(subject.run())
    watching = asyncio.ensure_future(log.until(condition))
    try:
        await asyncio.wait({running, watching}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
        await watching
    finally:
        running.cancel()
        watching.cancel()
        await asyncio.wait({running, watching})


def assert_contiguous(log: Log, *, after: str) -> None:
    """Pages and gaps follow each other without a hole or an overlap."""
    for frame in log.frames:
        assert isinstance(frame, frames.Page | frames.Gap)
        assert frame.after == after
        after = frame.through


def test_a_cursor_before_the_oldest_ledger_is_lost_history():
    assert indexer.judge(position.end_of(10), oldest=20, latest=30) == Lost(position.end_of(19), 20)


def test_an_event_id_before_the_oldest_ledger_is_lost_history_from_within_its_ledger():
    assert indexer.judge(event(10).id, oldest=11, latest=30) == Lost(position.end_of(10), 11)


def test_a_cursor_that_ends_the_ledger_before_the_oldest_lost_nothing():
    assert indexer.judge(position.end_of(19), oldest=20, latest=30) == Restart(20)


def test_a_cursor_behind_the_latest_ledger_waits():
    assert indexer.judge(position.end_of(31), oldest=20, latest=30) == Ahead()


def test_a_cursor_that_ends_the_latest_ledger_waits():
    assert indexer.judge(position.end_of(30), oldest=20, latest=30) == Ahead()


@pytest.mark.parametrize("limit", [1, 2, 3, 1000])
async def test_all_events_stand_in_the_log_once_and_in_order(limit: int):
    events = [event(100), event(100, 1), event(150), event(30_000)]
    node, log = Node(*events, oldest=10, latest=30_000), Log()
    start = position.end_of(99)
    subject = reading(node, log, through=start, limit=limit)
    await run_until(subject, log, lambda: sum(len(page.events) for page in log.pages) == len(events))
    assert [each for page in log.pages for each in page.events] == events
    assert_contiguous(log, after=start)


async def test_a_page_is_cut_and_only_the_last_piece_ends_at_the_pages_cursor():
    big = [event(100 + n)._replace(value="A" * 40_000) for n in range(3)]
    node, log = Node(*big, oldest=10, latest=200), Log()
    await run_until(reading(node, log, through=position.end_of(99)), log, lambda: len(log.pages) == 3)
    assert [page.through for page in log.pages] == [big[0].id, big[1].id, position.end_of(200)]
    assert [page.closed_at for page in log.pages] == [None, None, CLOSED_AT]


async def test_the_close_time_is_told_only_where_a_page_ends_the_latest_ledger():
    node, log = Node(event(100), event(20_000), oldest=10, latest=20_000, window=5_000), Log()
    await run_until(reading(node, log, through=position.end_of(99)), log, lambda: log.pages[-1:] != [] and at_end(log))
    assert all(page.closed_at is None for page in log.pages[:-1])
    assert log.pages[-1].closed_at == CLOSED_AT


def at_end(log: Log) -> bool:
    return log.pages[-1].through == position.end_of(20_000)


async def test_an_empty_range_waits_and_goes_with_the_next_event():
    node, log, clock = Node(oldest=10, latest=120), Log(), Clock()
    subject = reading(node, log, through=position.end_of(99), clock=clock)
    assert await subject.step()
    clock.now = indexer.MERGE_SECONDS - 0.1
    node.latest = 130
    assert await subject.step()
    assert log.frames == []
    node.events_held, node.latest = (event(140),), 140
    await subject.step()
    (page,) = log.pages
    assert (page.after, page.through, page.events) == (position.end_of(99), position.end_of(140), (event(140),))


async def test_an_empty_range_is_sent_when_its_time_is_up():
    node, log, clock = Node(oldest=10, latest=120), Log(), Clock()
    subject = reading(node, log, through=position.end_of(99), clock=clock)
    await subject.step()
    node.latest = 125
    clock.now = indexer.MERGE_SECONDS
    await subject.step()
    (page,) = log.pages
    assert (page.after, page.through, page.events) == (position.end_of(99), position.end_of(125), ())


async def test_standing_still_at_the_tip_writes_nothing():
    node, log, clock = Node(oldest=10, latest=120), Log(), Clock()
    subject = reading(node, log, through=position.end_of(120), clock=clock)
    for _ in range(3):
        assert await subject.step()
        clock.now += indexer.MERGE_SECONDS
    assert log.frames == []


async def test_a_long_empty_range_is_sent_at_once():
    node, log = Node(oldest=10, latest=50_000), Log()
    subject = reading(node, log, through=position.end_of(99))
    assert not await subject.step()
    assert [position.ledger_of(page.through) for page in log.pages] == [10_098]


async def test_it_never_goes_beyond_the_pages_cursor():
    node, log = Node(oldest=10, latest=50_000, window=100), Log()
    subject = reading(node, log, through=position.end_of(199))
    await subject.step()
    await subject.flush()
    assert log.pages[-1].through == position.end_of(298)
    assert not subject.near_tip
    assert subject.latest_ledger == 50_000


async def test_a_log_that_ends_before_the_oldest_ledger_goes_on_by_start_ledger():
    node, log = Node(event(20), oldest=20, latest=30), Log()
    await run_until(reading(node, log, through=position.end_of(19)), log, lambda: bool(log.frames))
    assert_contiguous(log, after=position.end_of(19))
    assert log.pages[0].events == (event(20),)
    assert node.asked[:2] == [(None, position.end_of(19)), (20, None)]


async def test_lost_history_is_a_gap_and_the_stream_goes_on_behind_it():
    node, log = Node(event(100), event(5_000), oldest=5_000, latest=6_000), Log()
    start = position.end_of(99)
    await run_until(reading(node, log, through=start), log, lambda: bool(log.pages))
    gap = log.frames[0]
    assert isinstance(gap, frames.Gap)
    assert (gap.after, gap.through) == (start, position.end_of(4_999))
    assert log.pages[0].events == (event(5_000),)
    assert_contiguous(log, after=start)


async def test_what_was_scanned_empty_is_written_before_a_gap():
    node, log = Node(oldest=10, latest=120), Log()
    subject = reading(node, log, through=position.end_of(99))
    await subject.step()
    node.oldest, node.latest = 500, 600
    await run_until(subject, log, lambda: len(log.frames) >= 2)
    page, gap = log.frames[:2]
    assert isinstance(page, frames.Page)
    assert isinstance(gap, frames.Gap)
    assert gap.after == page.through == position.end_of(120)


async def test_a_node_behind_us_is_waited_for():
    node, log = Node(event(101), oldest=10, latest=50), Log()
    subject = reading(node, log, through=position.end_of(100))
    running = asyncio.ensure_future(subject.run())
    try:
        await asked_times(node, 3)
        assert log.frames == []
        node.latest = 110
        await log.until(lambda: bool(log.pages))
    finally:
        running.cancel()
        await asyncio.wait({running})
    assert_contiguous(log, after=position.end_of(100))


async def test_a_page_at_the_oldest_ledger_counts_only_when_the_node_still_holds_it():
    node, log = Node(event(20), event(25), oldest=20, latest=200), Log()

    def trim() -> None:
        node.oldest = 22
        node.after_answer = lambda: None

    node.after_answer = trim
    subject = reading(node, log, through=position.end_of(19))
    await run_until(subject, log, lambda: bool(log.pages))
    gap = log.frames[0]
    assert isinstance(gap, frames.Gap)
    assert (gap.after, gap.through) == (position.end_of(19), position.end_of(21))
    assert log.pages[0].events == (event(25),)
    assert "node-1" in node.pinned


async def test_a_page_far_from_the_oldest_ledger_is_asked_once():
    node, log = Node(event(100), oldest=10, latest=200), Log()
    await reading(node, log, through=position.end_of(99)).step()
    assert len(node.asked) == 1
    assert len(log.pages) == 1


async def test_an_outage_is_waited_for_and_loses_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(indexer, "FIRST_PAUSE_SECONDS", 0.001)
    node, log = Node(event(100), oldest=10, latest=200), Log()
    node.trouble = [errors.RpcUnavailable("down"), errors.RpcMalformed("nonsense")]
    await run_until(reading(node, log, through=position.end_of(99)), log, lambda: bool(log.pages))
    assert len(node.asked) == 3
    assert_contiguous(log, after=position.end_of(99))


@pytest.mark.parametrize("refusal", [errors.RpcRefused("HTTP 403", cure="see the key"), errors.WrongNetwork("Public")])
async def test_a_refusal_is_waited_for_and_told_each_time(refusal: errors.RpcError, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(indexer, "FIRST_PAUSE_SECONDS", 0.001)
    node, log = Node(event(100), oldest=10, latest=200), Log()
    node.trouble = [refusal] * 3
    with structlog.testing.capture_logs() as lines:
        await run_until(reading(node, log, through=position.end_of(99)), log, lambda: bool(log.pages))
    told = [line for line in lines if line["log_level"] == "warning"]
    assert [line["error"] for line in told] == [str(refusal.args[0])] * 3
    assert [line.get("hint") for line in told] == [refusal.cure] * 3
    assert_contiguous(log, after=position.end_of(99))


async def test_a_chain_that_began_anew_ends_the_indexer():
    node, log = Node(oldest=10, latest=200), Log()
    node.trouble = [errors.ChainReset("began anew")]
    with pytest.raises(errors.ChainReset):
        await reading(node, log, through=position.end_of(99)).run()


async def test_no_gap_is_written_on_one_range_error(monkeypatch: pytest.MonkeyPatch):
    """The error of a node of another network, or of one that forgot much, while others hold what comes next."""
    monkeypatch.setattr(indexer, "FIRST_PAUSE_SECONDS", 0.001)
    node, log = Node(event(100), oldest=10, latest=200), Log()
    node.trouble = [errors.LedgerOutOfRange("out of range", oldest=57_879_040, latest=58_000_000)] * 2
    await run_until(reading(node, log, through=position.end_of(99)), log, lambda: bool(log.pages))
    assert [frame for frame in log.frames if isinstance(frame, frames.Gap)] == []
    assert log.pages[0].events == (event(100),)
    assert_contiguous(log, after=position.end_of(99))


async def test_before_a_gap_the_chain_is_checked():
    node, log = Node(oldest=5_000, latest=6_000), Log()

    async def another_chain() -> None:
        raise errors.ChainReset("began anew")

    subject = reading(node, log, through=position.end_of(99))
    subject._check_chain = another_chain
    with pytest.raises(errors.ChainReset):
        await subject.run()
    assert log.frames == []


async def test_a_node_that_contradicts_itself_may_be_of_a_chain_that_began_anew(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(indexer, "FIRST_PAUSE_SECONDS", 0.001)
    node, log = Node(event(100), oldest=10, latest=200), Log()
    node.trouble = [errors.RpcContradiction("no chain has both")] * 3
    await run_until(reading(node, log, through=position.end_of(99)), log, lambda: bool(log.pages))
    assert log.chain_checks == 1  # once a minute


async def test_a_gap_that_was_withdrawn_is_read():
    """The log says that it goes on behind an earlier position than ours, which no node has reached yet."""
    node, log, clock = Node(event(100), oldest=10, latest=200), Log(), Clock()
    log.resumes_behind = position.end_of(99)
    await run_until(reading(node, log, through=position.end_of(57_879_039), clock=clock), log, lambda: bool(log.pages))
    assert_contiguous(log, after=position.end_of(99))


async def test_a_latest_ledger_is_that_of_the_newest_page():
    node, log = Node(oldest=10, latest=58_000_000), Log()
    subject = reading(node, log, through=position.end_of(99))
    await subject.step()
    assert not subject.near_tip
    node.latest = 200
    await subject.flush()
    subject._cursor = position.end_of(150)
    await subject.step()
    assert subject.near_tip


async def test_behind_an_outage_the_chain_is_checked_and_now_and_then_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(indexer, "FIRST_PAUSE_SECONDS", 0.001)
    node, log, clock = Node(oldest=10, latest=50), Log(), Clock()
    node.trouble = [errors.RpcUnavailable("down")]
    running = asyncio.ensure_future(reading(node, log, through=position.end_of(100), clock=clock).run())
    try:
        await asked_times(node, 4)
        assert log.chain_checks == 1
        clock.now = indexer.CHECK_SECONDS
        await asked_times(node, len(node.asked) + 3)
        assert log.chain_checks == 2
    finally:
        running.cancel()
        await asyncio.wait({running})


async def asked_times(node: Node, count: int) -> None:
    reached = asyncio.Event()
    node.before_answer = lambda: reached.set() if len(node.asked) >= count else None
    await asyncio.wait_for(reached.wait(), 5)
