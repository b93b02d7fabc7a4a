"""Is the topic the log that the tables were filled from? Offsets mean nothing in another, and a record written there is harm."""

from aiokafka import AIOKafkaConsumer, TopicPartition
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from shared import chain_tables, errors, kafka
from shared.settings import Kafka

BELONG_TOGETHER = "point CHAINTRUE_DATABASE__URL and CHAINTRUE_KAFKA__TOPIC at what belongs together"


def check_ends(*, begin: int, end: int, stored: int, topic: str) -> None:
    """Raise TopicInvalid when a log from `begin` to `end` (exclusive) cannot be the one of which `stored` is due next."""
    if begin > stored:
        raise errors.TopicInvalid(
            f"the topic {topic} begins at offset {begin}, but the database waits for {stored}: "
            "the records between them were deleted",
            cure=f"restore them; or index anew with a new topic and an empty database; or {BELONG_TOGETHER}",
        )
    if end < stored:
        raise errors.TopicInvalid(
            f"the topic {topic} ends at offset {end}, but the database has applied {stored} records: "
            "the topic was made anew, or is another",
            cure=f"{BELONG_TOGETHER}; or give the new topic an empty database",
        )


def check_began(stored: int | None, found: int, *, topic: str) -> None:
    """Raise TopicInvalid unless the log began when the database says (both unix seconds)."""
    if stored is not None and stored != found:
        raise errors.TopicInvalid(
            f"the topic {topic} is not the one that the database was filled from: it was made anew, or is another",
            cure=f"{BELONG_TOGETHER}; or give the new topic an empty database",
        )


async def check(settings: Kafka, engine: AsyncEngine, *, partition: int) -> None:
    """Raise TopicInvalid unless the partition is the log that the tables were filled from, KafkaUnreachable without an answer."""
    place = TopicPartition(settings.topic, partition)
    async with kafka.consumer(settings) as client:
        async with kafka.reaching(settings):
            known = (
                await client.topics()
            )  # asks for no topic by name, which would create it where a cluster allows that
        if settings.topic not in known:
            raise errors.TopicInvalid(f"the topic {settings.topic} does not exist", cure=BELONG_TOGETHER)
        client.assign([place])
        async with kafka.reaching(settings):
            begin = (await client.beginning_offsets([place]))[place]
            end = (await client.end_offsets([place]))[place]
        stored = await next_offset(engine, partition=partition)
        check_ends(begin=begin, end=end, stored=stored, topic=settings.topic)
        if stored and not begin:  # without its first record a log can still go on
            await check_beginning(client, settings, engine, place)


async def check_beginning(
    client: AIOKafkaConsumer, settings: Kafka, engine: AsyncEngine, place: TopicPartition
) -> None:
    """The first record has to be the one that the database began with, or its offsets mean nothing in this topic."""
    scopes = chain_tables.scopes.c
    async with engine.connect() as connection:
        row = await connection.execute(select(scopes.began_at).where(scopes.partition == place.partition))
        began_at = row.scalar_one_or_none()
    client.seek(place, 0)
    async with kafka.reaching(settings):
        first = await client.getone(place)
    check_began(began_at, first.timestamp // 1000, topic=settings.topic)


async def next_offset(engine: AsyncEngine, *, partition: int) -> int:
    """The offset that the tables wait for; 0 before the first record."""
    offsets = chain_tables.offsets.c
    async with engine.connect() as connection:
        row = await connection.execute(select(offsets.next_offset).where(offsets.partition == partition))
        return int(row.scalar_one_or_none() or 0)
