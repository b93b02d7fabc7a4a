"""What tests of a whole worker are made of: a log of plain frames, a worker over it, and what came of it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aiokafka import TopicPartition
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from migrations import runner as migrations
from shared import chain_tables, frames, kafka, position, same_log
from shared import database as databases
from shared.settings import Kafka
from streams import topic
from streams.apply import Applier
from streams.pipeline import Applies
from streams.worker import Worker
from tests.integration import stream_parts as parts
from tests.integration.stream_parts import NETWORK, PARTITION, Plain, until

FIRST = 100


def applier(engine: AsyncEngine) -> Applier:
    return Applier(engine=engine, applications=[Plain()], network=NETWORK)


def worker(settings: Kafka, engine: AsyncEngine, applies: Applies, *, retry_seconds: float = 60) -> Worker:
    return Worker(settings=settings, engine=engine, applier=applies, retry_seconds=retry_seconds)


@asynccontextmanager
async def running(subject: Worker) -> AsyncIterator["asyncio.Task[None]"]:
    task = asyncio.create_task(subject.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task}, timeout=15)
        assert task.done()


def story(pages: int, *, first: int = FIRST) -> list[frames.Frame]:
    """An origin and so many pages of one ledger and one event each."""
    start = parts.an_origin(first)
    return [start, *pages_of(pages, first=first)]


def pages_of(count: int, *, first: int) -> list[frames.Frame]:
    return [
        parts.a_page(position.end_of(ledger - 1), position.end_of(ledger), parts.an_event(ledger))
        for ledger in range(first, first + count)
    ]


async def write(settings: Kafka, log: Sequence[frames.Frame]) -> None:
    async with kafka.writer(settings) as writer:
        await writer.write(PARTITION, log)


async def reached(engine: AsyncEngine, offset: int, task: "asyncio.Task[None] | None" = None) -> None:
    async def condition() -> bool:
        if task is not None and task.done():
            task.result()
        return await same_log.next_offset(engine, partition=PARTITION) >= offset

    await until(condition)


async def committed(settings: Kafka) -> int | None:
    async with kafka.consumer(settings, group=settings.group) as client:
        offset: int | None = await client.committed(TopicPartition(settings.topic, PARTITION))
        return offset


async def event_keys(engine: AsyncEngine) -> list[str]:
    facts = chain_tables.facts.c
    async with engine.connect() as connection:
        rows = await connection.execute(select(facts.key).where(facts.kind == "contract").order_by(facts.position))
        return [row.key for row in rows]


async def fresh_topic(servers: str, name: str) -> Kafka:
    """Settings of a topic that was just made."""
    settings = parts.kafka_settings(servers, name)
    await topic.ensure(settings)
    return settings


@asynccontextmanager
async def migrated(url: str) -> AsyncIterator[AsyncEngine]:
    """The database with its tables, empty."""
    async with databases.connect(parts.database_settings(url), section="database") as engine:
        await migrations.upgrade(engine)
        yield engine
