"""Before a worker joins its group: do Kafka's offsets, the topic and PostgreSQL belong together?

A Faust worker begins at Kafka's committed offset, whatever was sought. So where Kafka is ahead of PostgreSQL (a restored
database) the group's offset is set back while nobody is in the group. Kafka behind needs nothing: what was applied is skipped.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from sqlalchemy.ext.asyncio import AsyncEngine

from shared import errors, kafka, same_log
from shared.settings import Kafka

log = structlog.get_logger()

POLL_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Offsets:
    """Of one partition: the offset that PostgreSQL waits for, the group's in Kafka, and the ends of the log (end exclusive)."""

    stored: int
    committed: int | None
    begin: int
    end: int


def must_set_back(offsets: Offsets, *, topic: str) -> bool:
    """Whether Kafka's offset is ahead; raises TopicInvalid when the log cannot be the one that the database was filled from."""
    same_log.check_ends(begin=offsets.begin, end=offsets.end, stored=offsets.stored, topic=topic)
    return offsets.committed is not None and offsets.committed > offsets.stored


async def align(settings: Kafka, engine: AsyncEngine, *, partitions: Iterable[int]) -> None:
    """Set the group's offsets back to PostgreSQL's where they are ahead; raises TopicInvalid or OffsetGap if that cannot be.

    Waits as long as workers that died may still count as members. Another worker may do the same meanwhile, so each round looks
    at everything anew.
    """
    until = asyncio.get_running_loop().time() + settings.session_timeout_seconds + 2 * POLL_SECONDS
    async with kafka.consumer(settings, group=settings.group) as client:
        places = [TopicPartition(settings.topic, partition) for partition in partitions]
        client.assign(places)
        while ahead := await _ahead(client, settings, engine, places):
            members = await _members(settings)
            if not members and await _set_back(client, settings, ahead):
                return
            if asyncio.get_running_loop().time() >= until:
                raise _still_in_use(settings, ahead, members)
            await asyncio.sleep(POLL_SECONDS)


async def check(settings: Kafka, engine: AsyncEngine, *, partitions: Iterable[int]) -> None:
    """Raise TopicInvalid where the topic is not the one that the database was filled from, or lacks records that are due."""
    async with kafka.consumer(settings, group=settings.group) as client:
        places = [TopicPartition(settings.topic, partition) for partition in partitions]
        client.assign(places)
        await _ahead(client, settings, engine, places)


async def _ahead(
    client: AIOKafkaConsumer, settings: Kafka, engine: AsyncEngine, places: Iterable[TopicPartition]
) -> dict[TopicPartition, Offsets]:
    """The partitions of which the group's offset is ahead; all are checked to be those that the database was filled from."""
    ahead: dict[TopicPartition, Offsets] = {}
    for place in places:
        stored = await same_log.next_offset(engine, partition=place.partition)
        offsets = await _offsets(client, settings, place, stored=stored)
        if must_set_back(offsets, topic=settings.topic):
            ahead[place] = offsets
        if stored and not offsets.begin:  # without its first record a log can still go on
            await same_log.check_beginning(client, settings, engine, place)
    return ahead


async def _set_back(client: AIOKafkaConsumer, settings: Kafka, ahead: Mapping[TopicPartition, Offsets]) -> bool:
    """Commit PostgreSQL's offsets for the group; False where somebody joined it in the last moment."""
    try:
        async with kafka.reaching(settings):
            await client.commit({place: offsets.stored for place, offsets in ahead.items()})
    except errors.KafkaUnreachable:
        if await _members(settings):
            return False
        raise
    log.warning(
        "Kafka's offsets were ahead of the database, and were set back",
        group=settings.group,
        was={place.partition: offsets.committed for place, offsets in ahead.items()},
        now={place.partition: offsets.stored for place, offsets in ahead.items()},
    )
    return True


def _still_in_use(settings: Kafka, ahead: Mapping[TopicPartition, Offsets], members: int) -> errors.OffsetGap:
    offsets = next(iter(ahead.values()))
    return errors.OffsetGap(
        f"Kafka's group {settings.group} is at offset {offsets.committed}, ahead of the database at {offsets.stored}, "
        f"and {members} worker(s) are in it, so its offset cannot be set back",
        cure="stop every worker of the group, then start one",
    )


async def _offsets(client: AIOKafkaConsumer, settings: Kafka, place: TopicPartition, *, stored: int) -> Offsets:
    async with kafka.reaching(settings):
        return Offsets(
            stored=stored,
            committed=await client.committed(place),
            begin=(await client.beginning_offsets([place]))[place],
            end=(await client.end_offsets([place]))[place],
        )


async def _members(settings: Kafka) -> int:
    async with kafka.admin(settings) as admin, kafka.reaching(settings):
        (response,) = await admin.describe_consumer_groups([settings.group])
        (group,) = response.to_object()["groups"]
        return len(group["members"])
