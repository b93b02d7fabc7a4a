"""Traffic as the log has it: the frames that indexer and observer would write, and the topics that hold them.

Pages are those of an indexer that catches up: full (1,000 events, `through` their last event's id), cut into frames of at
most 64 KiB, without a hole from the origin to the end. Now and then what was touched last is observed.
"""

import asyncio
from array import array
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import orjson
from aiokafka import AIOKafkaProducer

from shared import frames, kafka, position
from shared.settings import Kafka
from tests.benchmarks.traffic import chain, entries
from tests.benchmarks.traffic.chain import Ledger, Traffic
from tests.benchmarks.traffic.world import Thing

PAGE_EVENTS = 1000
LEDGERS_PER_OBSERVATION = 50
OBSERVED = 100
"""Entries in one observation."""
ENTRY_LIFE = 500_000
"""Ledgers that an entry has to live."""
IN_FLIGHT = 512
"""Records that are sent before the first of them is acknowledged."""


@dataclass(slots=True)
class Content:
    """What a partition holds: `events_at[n]` is the number of events in the records 0 to n."""

    events: int = 0
    entries: int = 0
    events_at: "array[int]" = field(default_factory=lambda: array("Q"))

    @property
    def records(self) -> int:
        return len(self.events_at)

    def take(self, frame: frames.Frame) -> None:
        self.events += len(frame.events) if isinstance(frame, frames.Page) else 0
        self.entries += len(frame.entries) if isinstance(frame, frames.Observation) else 0
        self.events_at.append(self.events)

    def events_before(self, offset: int) -> int:
        """How many events the records below the offset hold."""
        return self.events_at[offset - 1] if offset else 0


def frames_of(traffic: Traffic, *, events: int) -> Iterator[frames.Frame]:
    """The partition of a scope from its origin on, until there are that many events; some more end the last ledger."""
    after = position.end_of(chain.FIRST_LEDGER - 1)
    contracts = tuple(map(str, traffic.contracts.values()))
    yield frames.Origin(network=chain.NETWORK, scope=traffic.scope, contracts=contracts, through=after)
    yield from _observation(traffic, chain.FIRST_LEDGER - 1, traffic.instances())
    waiting: list[frames.Event] = []
    touched: deque[Thing] = deque(maxlen=OBSERVED)
    for ledger, is_last in _until(traffic.ledgers(), events=events):
        for transaction in ledger.transactions:
            waiting += transaction.events
            touched += transaction.touched
        observes = ledger.number % LEDGERS_PER_OBSERVATION == 0
        while len(waiting) >= PAGE_EVENTS:
            events_here, waiting = waiting[:PAGE_EVENTS], waiting[PAGE_EVENTS:]
            page = _page(traffic, events_here, after=after, through=events_here[-1].id)
            yield from frames.cut(page)
            after = page.through
        if observes or is_last:
            page = _page(traffic, waiting, after=after, through=position.end_of(ledger.number))
            yield from frames.cut(replace(page, closed_at=ledger.closed_at))
            after, waiting = page.through, []
        if observes:
            yield from _observation(traffic, ledger.number, {traffic.entry(thing) for thing in touched})


def _until(ledgers: Iterator[Ledger], *, events: int) -> Iterator[tuple[Ledger, bool]]:
    """The ledgers until there are so many events, and whether each is the last."""
    told = 0
    for ledger in ledgers:
        told += sum(len(transaction.events) for transaction in ledger.transactions)
        yield ledger, told >= events
        if told >= events:
            return


def _page(traffic: Traffic, events: Sequence[frames.Event], *, after: str, through: str) -> frames.Page:
    return frames.Page(
        network=chain.NETWORK, scope=traffic.scope, kind="live", after=after, through=through, events=tuple(events)
    )


def _observation(traffic: Traffic, ledger: int, written: Iterable[entries.Written]) -> Iterator[frames.Observation]:
    observed = tuple(
        frames.Entry(key=key, xdr=xdr, last_modified=ledger, live_until=ledger + ENTRY_LIFE)
        for key, xdr in sorted(written)
    )
    whole = frames.Observation(network=chain.NETWORK, scope=traffic.scope, latest_ledger=ledger, entries=observed)
    yield from frames.cut_entries(whole)


async def load(settings: Kafka, traffic: Traffic, *, events: int, partition: int = 0) -> Content:
    """Write the frames of a scope to its partition; says what it holds then."""
    content = Content()

    def values() -> Iterator[bytes]:
        for frame in frames_of(traffic, events=events):
            content.take(frame)
            yield frames.encode(frame)

    await _write(settings, values(), partition=partition)
    return content


async def load_events(settings: Kafka, traffic: Traffic, *, events: int) -> int:
    """Write one JSON record an event, as a plain agent would be fed; says how many."""
    found = (frame.events for frame in frames_of(traffic, events=events) if isinstance(frame, frames.Page))
    values = [orjson.dumps(frames.event_to_wire(event)) for batch in found for event in batch][:events]
    await _write(settings, iter(values), partition=0)
    return len(values)


async def _write(settings: Kafka, values: Iterator[bytes], *, partition: int) -> None:
    async with _producer(settings) as producer:
        waiting: list[asyncio.Future[object]] = []
        for value in values:
            waiting.append(await producer.send(settings.topic, value, partition=partition))
            if len(waiting) == IN_FLIGHT:
                await asyncio.gather(*waiting)
                waiting.clear()
        await asyncio.gather(*waiting)


@asynccontextmanager
async def _producer(settings: Kafka) -> AsyncIterator[AIOKafkaProducer]:
    """As the writer of frames has it, but for events too."""
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka.servers(settings),
        enable_idempotence=True,
        acks="all",
        compression_type="lz4",
        max_request_size=kafka.MAX_MESSAGE_BYTES,
        linger_ms=5,
    )
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()
