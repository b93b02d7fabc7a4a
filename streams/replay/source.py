"""The log as a replay reads it: by aiokafka, in no group, from an offset to an offset, in batches of bounded size."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition

from shared import errors, kafka
from shared.settings import Kafka
from streams.apply import Record

BATCH_BYTES = 4 * 1024 * 1024
BATCH_RECORDS = 4096
POLL_RECORDS = 64
POLL_MILLISECONDS = 1000
SILENCE_SECONDS = 60.0
"""How long records that are there may take to come. A broker that restarts is back by then."""


@dataclass(frozen=True, slots=True)
class Extent:
    """The first offset that a partition holds, and the one that its next record will have."""

    begin: int
    end: int


class Source:
    """Reads one partition at a time."""

    def __init__(self, client: AIOKafkaConsumer, settings: Kafka) -> None:
        self._client = client
        self._settings = settings

    async def extents(self, partitions: Iterable[int]) -> dict[int, Extent]:
        places = [TopicPartition(self._settings.topic, partition) for partition in partitions]
        async with kafka.reaching(self._settings):
            begins = await self._client.beginning_offsets(places)
            ends = await self._client.end_offsets(places)
        return {place.partition: Extent(begins[place], ends[place]) for place in places}

    async def batches(self, partition: int, start: int, stop: int) -> AsyncIterator[list[Record]]:
        """The records of the offsets [start, stop), which the partition holds, in their order."""
        place = TopicPartition(self._settings.topic, partition)
        if start >= stop:
            return
        self._client.assign([place])
        self._client.seek(place, start)
        batch: list[Record] = []
        size, position = 0, start
        while position < stop:
            found = await self._poll(place)
            position = found[-1].offset + 1
            for record in found:
                if record.offset < stop:
                    batch.append(record)
                    size += len(record.value or b"")
            if size >= BATCH_BYTES or len(batch) >= BATCH_RECORDS:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    async def _poll(self, place: TopicPartition) -> list[Record]:
        """At least one record, a few at most. Raises KafkaUnreachable when none comes."""
        until = asyncio.get_running_loop().time() + SILENCE_SECONDS
        while True:
            async with kafka.reaching(self._settings):
                found = await self._client.getmany(place, timeout_ms=POLL_MILLISECONDS, max_records=POLL_RECORDS)
            if records := found.get(place):
                return [Record(one.offset, one.value, one.timestamp // 1000) for one in records]
            if asyncio.get_running_loop().time() > until:
                raise kafka.unreachable(
                    self._settings, OSError(f"no record for {SILENCE_SECONDS:g} s, though there are some")
                )


def check_extent(extent: Extent, *, partition: int, base: int | None, stop: int, topic: str) -> None:
    """Raise TopicInvalid unless the partition holds the offsets up to `stop`, from 0 on or from where the base ends."""
    if extent.end < stop:
        raise errors.TopicInvalid(
            f"the topic {topic} ends at offset {extent.end} (partition {partition}), but the database has applied {stop} records:"
            " the topic was made anew, or is another",
            cure="point CHAINTRUE_DATABASE__URL and CHAINTRUE_KAFKA__TOPIC at what belongs together",
        )
    start = base or 0
    if start < stop and extent.begin > start:
        before = "what was before it is not in the log any more" if base is None else f"the base ends at {base}"
        raise errors.TopicInvalid(
            f"the topic {topic} begins at offset {extent.begin} (partition {partition}), and {before}",
            cure=f"name a schema that holds the tables as of offset {extent.begin} or later with --base SCHEMA:"
            " a backup of the schema chain, restored under another name",
        )
