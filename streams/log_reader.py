"""Where the indexer stands, according to the log alone.

That is the `through` of the last `live` or `origin` frame, carried over the gaps that were noted behind it. Observations may be
many behind it, so the partition is read back from its end in growing steps.
"""

from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import ConsumerRecord

from shared import errors, frames, kafka
from shared.settings import Kafka

FIRST_STEP = 64
LARGEST_STEP = 8192
MAX_RECORDS = 256
POLL_MILLISECONDS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """The first frame of a partition, and when its record was written (unix seconds)."""

    origin: frames.Origin
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """`through` is the position up to which the log goes, `contracts` those that are read from there on."""

    contracts: tuple[str, ...]
    through: str


def carried(through: str, gaps: Iterable[frames.Gap]) -> str:
    """The position behind the gaps (in log order) that begin at or before it: what they say is lost is not asked for again."""
    for gap in gaps:
        if gap.after <= through < gap.through:
            through = gap.through
    return through


def windows(begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Half-open windows of offsets from the end to the beginning, growing."""
    step = FIRST_STEP
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
        origin, at = await anext(self.read(0, 1))
        if not isinstance(origin, frames.Origin):
            raise errors.FrameInvalid(
                f"the topic {self._settings.topic} begins with a record that is no origin frame: it was made anew, or is another",
                cure="name the topic that belongs to the database; or a new CHAINTRUE_KAFKA__TOPIC and an empty database",
            )
        return Beginning(origin=origin, at=at)

    async def standing(self) -> Standing:
        _, end = await self.ends()
        gaps: list[frames.Gap] = []
        for start, stop in windows(0, end):
            gaps_here: list[frames.Gap] = []
            last: frames.Origin | frames.Page | None = None
            async for frame, _ in self.read(start, stop):
                match frame:
                    case frames.Origin() | frames.Page(kind="live"):
                        last = frame
                        gaps_here.clear()
                    case frames.Gap():
                        gaps_here.append(frame)
                    case _:
                        pass
            gaps = [*gaps_here, *gaps]
            if last is not None:
                return Standing(contracts=last.contracts or (), through=carried(last.through, gaps))
        raise errors.FrameInvalid(f"the topic {self._settings.topic} holds no origin frame")

    async def read(self, start: int, stop: int) -> AsyncIterator[tuple[frames.Frame, int]]:
        """The frames of the offsets [start, stop), with when they were written (unix seconds); a few are held at a time."""
        self._client.seek(self._place, start)
        position = start
        while position < stop:
            async with kafka.reaching(self._settings):
                batch = await self._client.getmany(self._place, timeout_ms=POLL_MILLISECONDS, max_records=MAX_RECORDS)
                position = await self._client.position(self._place)
            for record in batch.get(self._place, []):
                if record.offset < stop:
                    yield self._decoded(record), record.timestamp // 1000

    def _decoded(self, record: "ConsumerRecord[bytes, bytes]") -> frames.Frame:
        place = f"topic {record.topic}, offset {record.offset}"
        try:
            return frames.decode(record.value, network=self._network)
        except errors.FrameInvalid as error:
            raise errors.FrameInvalid(f"{place}: {error.args[0]}", cure=error.cure) from None
