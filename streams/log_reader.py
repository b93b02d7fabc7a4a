"""Where the indexer resumes, according to the log alone.

It resumes where the chain of `after` and `through` of the `live` and `gap` records ends, or at the first break in that chain.
Observations may be many behind the last `live` record, so the partition is read back from its end in growing steps.

What guarantees that no break stays unnoticed:

- the writer (`shared.kafka.Writer`): a write that fails leaves the first of its frames in the log, never a later one alone, so
  this version makes no break
- `standing` below: finds a break among the last LOOK_BACK records, more than the largest page has pieces. So a write that an
  older version left broken is repeated at the next start. Breaks farther back are not searched for: that would read all the log
- the worker (`streams.proofs`): opens a gap row for a break anywhere in the log, which the filler then closes
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import ConsumerRecord

from shared import errors, frames, kafka
from shared.settings import Kafka
from streams import resume
from streams.resume import Link, Standing

log = structlog.get_logger()

LOOK_BACK = 2048
"""A page is at most 64 MiB of RPC's answer, cut into frames of 64 KiB. That leaves room for as many other records among them."""
LARGEST_STEP = 8192
MAX_RECORDS = 256
POLL_MILLISECONDS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """The first frame of a partition, and when its record was written (unix seconds)."""

    origin: frames.Origin
    at: int


def windows(begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Half-open windows of offsets from the end to the beginning, growing."""
    step = LOOK_BACK
    while end > begin:
        start = max(begin, end - step)
        yield start, end
        end = start
        step = min(step * 4, LARGEST_STEP)


async def beginnings(settings: Kafka, *, network: str, partitions: Iterable[int]) -> dict[int, Beginning | None]:
    """How each partition begins; None for one that is empty.

    Raises FrameInvalid for a record that is no origin of this network, TopicInvalid when the log lost its beginning.
    """
    found: dict[int, Beginning | None] = {}
    async with kafka.consumer(settings) as client:
        for partition in partitions:
            reader = _Reader(client, settings, network=network, partition=partition)
            found[partition] = await reader.beginning()
    return found


async def standing(settings: Kafka, *, network: str, partition: int) -> Standing:
    """Where a partition that has begun stands. Raises FrameInvalid for a record that is no frame of this network."""
    async with kafka.consumer(settings) as client:
        reader = _Reader(client, settings, network=network, partition=partition)
        return await reader.standing()


async def end_offset(settings: Kafka, *, partition: int) -> int:
    """The offset that the next record of the partition will have."""
    async with kafka.consumer(settings) as client, kafka.reaching(settings):
        place = TopicPartition(settings.topic, partition)
        ends: dict[TopicPartition, int] = await client.end_offsets([place])
        return ends[place]


class _Reader:
    def __init__(self, client: AIOKafkaConsumer, settings: Kafka, *, network: str, partition: int) -> None:
        self._client = client
        self._settings = settings
        self._network = network
        self._place = TopicPartition(settings.topic, partition)
        client.assign([self._place])

    async def ends(self) -> tuple[int, int]:
        async with kafka.reaching(self._settings):
            begin: int = (await self._client.beginning_offsets([self._place]))[self._place]
            end: int = (await self._client.end_offsets([self._place]))[self._place]
            return begin, end

    async def beginning(self) -> Beginning | None:
        begin, end = await self.ends()
        if begin > 0:
            raise errors.TopicInvalid(
                f"the topic {self._settings.topic} has lost the records before offset {begin}"
                f" (partition {self._place.partition})",
                cure="restore it; or name a new CHAINTRUE_KAFKA__TOPIC and an empty database, and index anew",
            )
        if end == 0:
            return None
        origin, _, at = await anext(self.read(0, 1))
        if not isinstance(origin, frames.Origin):
            raise errors.FrameInvalid(
                f"the topic {self._settings.topic} begins with a record that is no origin frame: it was made anew, or is another",
                cure="name the topic that belongs to the database; or a new CHAINTRUE_KAFKA__TOPIC and an empty database",
            )
        return Beginning(origin=origin, at=at)

    async def standing(self) -> Standing:
        _, end = await self.ends()
        links: list[Link] = []
        newest: int | None = None  # offset of the newest frame that names contracts, which says who is read
        for start, stop in windows(0, end):
            links_here: list[Link] = []
            async for frame, offset, _ in self.read(start, stop):
                if isinstance(frame, frames.Observation):
                    continue
                links_here.append(resume.without_events(frame))
                if resume.names_contracts(frame):
                    newest = max(newest or 0, offset)
            links = [*links_here, *links]
            if newest is not None and (start == 0 or newest + 1 - start >= LOOK_BACK):
                return self._resumed(links)
        raise errors.FrameInvalid(f"the topic {self._settings.topic} holds no origin frame")

    def _resumed(self, links: Sequence[Link]) -> Standing:
        standing = resume.standing_of(links)
        if standing.through < (newest := resume.newest(links)):
            log.warning(
                "the log lacks part of a page; indexing resumes there",
                partition=self._place.partition,
                after=standing.through,
                newest=newest,
            )
        return standing

    async def read(self, start: int, stop: int) -> AsyncIterator[tuple[frames.Frame, int, int]]:
        """Yield the frames of the offsets [start, stop), each with its offset and when it was written (unix seconds)."""
        self._client.seek(self._place, start)
        position = start
        while position < stop:
            async with kafka.reaching(self._settings):
                batch = await self._client.getmany(self._place, timeout_ms=POLL_MILLISECONDS, max_records=MAX_RECORDS)
                position = await self._client.position(self._place)
            for record in batch.get(self._place, []):
                if record.offset < stop:
                    yield self._decoded(record), record.offset, record.timestamp // 1000

    def _decoded(self, record: "ConsumerRecord[bytes, bytes]") -> frames.Frame:
        place = f"topic {record.topic}, offset {record.offset}"
        try:
            return frames.decode(record.value, network=self._network)
        except errors.FrameInvalid as error:
            raise errors.FrameInvalid(f"{place}: {error.args[0]}", cure=error.cure) from None
