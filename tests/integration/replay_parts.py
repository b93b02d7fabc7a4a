"""What the tests of the replay share: StepFi's story in a log of its own, live tables that were filled from it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

from aiokafka import TopicPartition
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

import migrations
from shared import chain_tables, frames, kafka, position, same_log
from shared import database as databases
from shared.settings import EngineSettings, Kafka, Network
from streams import replay, topic
from streams.application import Application
from streams.apply import Applier, Record
from tests.integration import stream_parts as parts
from tests.stepfi_frames import History

PARTITION = 0


@dataclass
class Deployment:
    """A log, a database and the application that reads the one into the other."""

    settings: EngineSettings
    engine: AsyncEngine
    story: History
    application: Application

    async def write(self, batch: Sequence[frames.Frame], *, partition: int = PARTITION) -> None:
        async with kafka.writer(self.settings.kafka) as writer:
            await writer.write(partition, batch)

    async def apply(self, *, chance: Random | None = None, until: int | None = None) -> int:
        """Apply the log from where the tables stand, in batches of any size; gives the next offset."""
        log = await records(self.settings.kafka)
        live = applier(self)
        at = await same_log.next_offset(self.engine, partition=PARTITION)
        for start, stop in cuts(at, len(log) if until is None else until, chance):
            at = (await live.apply(PARTITION, log[start:stop])).next_offset
        return at

    async def replay(self, **options: Any) -> replay.Outcome:
        async with asyncio.timeout(120):
            return await replay.run(self.settings, [self.application], **options)

    async def execute(self, statement: str, **values: Any) -> None:
        async with self.engine.begin() as connection:
            await connection.execute(text(statement), values)

    async def value(self, query: str) -> Any:
        async with self.engine.connect() as connection:
            return (await connection.execute(text(query))).scalar_one()

    async def dump(self, schema: str = chain_tables.SCHEMA) -> dict[str, list[str]]:
        """Every row of every table, as text."""
        async with self.engine.connect() as connection:
            return {
                table.name: [
                    row[0]
                    for row in await connection.execute(
                        text(f'SELECT t::text FROM {schema}.{table.name} AS t ORDER BY t::text COLLATE "C"')
                    )
                ]
                for table in chain_tables.metadata.sorted_tables
            }

    async def schemas(self) -> set[str]:
        async with self.engine.connect() as connection:
            rows = await connection.execute(text("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'chain%'"))
            return {row.nspname for row in rows}


def applier(world: Deployment) -> Applier:
    return Applier(engine=world.engine, applications=[world.application], network=world.story.network)


@asynccontextmanager
async def deployment(servers: str, topic_name: str, url: str, story: History) -> AsyncIterator[Deployment]:
    """An empty log and empty tables."""
    settings = EngineSettings(
        network=Network(passphrase=story.network),
        kafka=parts.kafka_settings(servers, topic_name),
        database=parts.database_settings(url),
    )
    await topic.ensure(settings.kafka)
    async with databases.connect(settings.database, section="database") as engine:
        await migrations.upgrade(engine)
        yield Deployment(settings, engine, story, story.application)


def cuts(start: int, stop: int, chance: Random | None) -> list[tuple[int, int]]:
    """Neighbouring stretches of the offsets, each of a size by chance; one where there is none."""
    found = []
    while start < stop:
        end = stop if chance is None else min(stop, start + chance.randint(1, 9))
        found.append((start, end))
        start = end
    return found


async def records(settings: Kafka) -> list[Record]:
    """The whole log."""
    place = TopicPartition(settings.topic, PARTITION)
    async with kafka.consumer(settings) as client:
        client.assign([place])
        begin, end = [(await ends([place]))[place] for ends in (client.beginning_offsets, client.end_offsets)]
        client.seek(place, begin)
        found: list[Record] = []
        async with asyncio.timeout(30):
            while len(found) < end - begin:
                batch = await client.getmany(place, timeout_ms=500)
                found += [Record(one.offset, one.value, one.timestamp // 1000) for one in batch.get(place, [])]
        return found


def dice(seed: int) -> Random:
    return Random(seed)  # noqa: S311 - shuffles frames, guards nothing


def history(story: History, *, pages: int) -> list[frames.Frame]:
    """The whole story in order: origin, pages of equal length, observations at three of its ledgers."""
    events, after = story.events(), story.origin().through
    size = -(-len(events) // pages)
    batch: list[frames.Frame] = []
    for start in range(0, len(events), size):
        piece = events[start : start + size]
        through = position.end_of(story.last) if start + size >= len(events) else piece[-1].id
        batch.append(story.page(piece, after=after, through=through))
        after = through
    middle = (story.start + story.last) // 2
    return [story.origin(), *batch, *(story.observation(ledger) for ledger in (story.start + 30, middle, story.last))]


def disorder(batch: Sequence[frames.Frame], chance: Random) -> list[frames.Frame]:
    """The origin first; the rest shuffled, a third of it twice."""
    rest = list(batch[1:])
    rest += chance.sample(rest, len(rest) // 3)
    chance.shuffle(rest)
    return [batch[0], *rest]
