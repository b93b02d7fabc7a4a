"""The replay beside a worker that goes on, readers that stay, and others who change what it works on."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from sqlalchemy import text

from deploy import stack
from shared import errors, frames, same_log
from shared import kafka as kafka_clients
from shared.database import MIGRATION_LOCK
from streams.apply import Applied, Batch, Record
from streams.replay import build, exchange
from streams.worker import Worker
from tests import services
from tests.integration import replay_parts as parts
from tests.integration.replay_parts import Deployment
from tests.integration.stream_parts import until
from tests.stepfi_frames import History

PAUSE_SECONDS = 0.02


@pytest.fixture(scope="session")
def story() -> History:
    return History("story-small.jsonl")


@pytest.fixture
async def world(
    kafka: services.RunningKafka, topic_name: str, database: str, story: History
) -> AsyncIterator[Deployment]:
    async with parts.deployment(kafka.bootstrap_servers, topic_name, database, story) as world:
        yield world


class Counting:
    """The worker's applier, counting the records that it applied."""

    def __init__(self, world: Deployment) -> None:
        self._inner = parts.applier(world)
        self.applied = 0

    def prepare(self, partition: int, records: Sequence[Record]) -> Batch:
        return self._inner.prepare(partition, records)

    async def write(self, batch: Batch) -> Applied:
        applied = await self._inner.write(batch)
        self.applied += applied.applied_records
        return applied


async def test_swaps_under_a_worker_that_is_written_for_all_the_time(
    kafka: services.RunningKafka, topic_name: str, database: str, postgres: stack.Databases
) -> None:
    """At the end the tables are those of a run that nobody disturbed, and every record was applied once by one worker."""
    story = History("random-1.jsonl.gz")
    async with parts.deployment(kafka.bootstrap_servers, topic_name, database, story) as world:
        await _swap_while_it_grows(world, parts.disorder(parts.history(story, pages=500), parts.dice(5)))
        undisturbed = await _undisturbed(world, postgres, story)
        assert await world.dump() == undisturbed


async def _swap_while_it_grows(world: Deployment, log: Sequence[frames.Frame]) -> None:
    counting = Counting(world)
    worker = Worker(settings=world.settings.kafka, engine=world.engine, applier=counting)
    working = asyncio.create_task(worker.run())

    async def produce() -> None:
        async with kafka_clients.writer(world.settings.kafka) as writer:
            for frame in log:
                await writer.write(parts.PARTITION, [frame])
                await asyncio.sleep(PAUSE_SECONDS)

    producing = asyncio.create_task(produce())

    async def applied(offset: int) -> None:
        async def reached() -> bool:
            if working.done():
                working.result()
            return await same_log.next_offset(world.engine, partition=parts.PARTITION) >= offset

        await until(reached, seconds=60)

    try:
        swaps, offsets = 0, [0]
        await applied(20)
        while not producing.done():
            outcome = await world.replay(swap=True)
            assert outcome.identical
            assert outcome.swapped
            offsets.append(outcome.offsets[0])
            swaps += 1
        await producing
        await applied(len(log))
    finally:
        for task in (producing, working):
            task.cancel()
        await asyncio.wait({producing, working}, timeout=15)
    assert swaps >= 2
    assert offsets[1] < len(log)
    assert offsets == sorted(offsets)
    assert counting.applied == len(log)


async def _undisturbed(world: Deployment, postgres: stack.Databases, story: History) -> dict[str, list[str]]:
    url = await postgres.create_database(f"undisturbed_{world.settings.kafka.topic.removeprefix('test-')}")
    servers = world.settings.kafka.bootstrap_servers or ""
    async with parts.deployment(servers, world.settings.kafka.topic, url, story) as other:
        await other.apply()
        return await other.dump()


async def test_a_reader_in_a_transaction_is_waited_for_and_reads_on(world: Deployment) -> None:
    """Nobody is half way through the tables when they are exchanged; who comes afterwards finds the new ones."""
    await world.write(parts.history(world.story, pages=5))
    await world.apply()
    async with world.engine.connect() as reader:
        count = (await reader.execute(text("SELECT count(*) FROM chain.loans"))).scalar_one()
        replaying = asyncio.create_task(world.replay(swap=True))
        await asyncio.sleep(3)
        assert not replaying.done()
        async with asyncio.timeout(5):  # others are not kept waiting behind the replay
            assert await world.value("SELECT count(*) FROM chain.loans") == count
            await world.apply()
        assert (await reader.execute(text("SELECT count(*) FROM chain.scores"))).scalar_one() > 0
        await reader.rollback()
        assert (await replaying).swapped
        assert (await reader.execute(text("SELECT count(*) FROM chain.loans"))).scalar_one() == count


async def test_who_keeps_the_tables_in_use_is_named_in_the_end(
    world: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "PATIENCE_SECONDS", 1.0)
    await world.write(parts.history(world.story, pages=5))
    await world.apply()
    before = await world.dump()
    async with world.engine.connect() as reader:
        pid = (await reader.execute(text("SELECT pg_backend_pid() FROM chain.loans LIMIT 1"))).scalar_one()
        with pytest.raises(errors.ReplayRefused, match=f"pid {pid}"):
            await world.replay(swap=True)
    assert await world.dump() == before
    assert await world.schemas() == {"chain"}


async def test_a_migration_that_runs_is_not_waited_for(world: Deployment) -> None:
    await world.write(parts.history(world.story, pages=5))
    await world.apply()
    async with world.engine.begin() as migrating:
        await migrating.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        with pytest.raises(errors.ReplayRefused, match="being migrated"):
            await world.replay(swap=True)
    assert await world.schemas() == {"chain"}


async def test_tables_that_were_migrated_meanwhile_are_not_exchanged_for_older_ones(
    world: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.write(parts.history(world.story, pages=5))
    await world.apply()
    complete = build.Build.complete

    async def then_migrate(self: build.Build) -> None:
        await complete(self)
        await world.execute("ALTER TABLE chain.loans ADD COLUMN novelty text")

    monkeypatch.setattr(build.Build, "complete", then_migrate)
    with pytest.raises(errors.ReplayRefused, match=r"migrated meanwhile: .*novelty"):
        await world.replay(swap=True)
    assert await world.value("SELECT count(*) FROM chain.loans WHERE novelty IS NULL") > 0


@pytest.mark.parametrize("phase", ["loading", "sorting", "folding", "indexing", "comparing", "exchanging"])
async def test_a_replay_that_is_stopped_leaves_nothing(world: Deployment, phase: str) -> None:
    await world.write(parts.history(world.story, pages=50))
    await world.apply()
    before = await world.dump()
    reached = asyncio.Event()

    def say(words: str) -> None:
        if words.startswith(phase):
            reached.set()

    replaying = asyncio.create_task(world.replay(swap=True, on_progress=say))
    stopping = asyncio.create_task(reached.wait())
    await asyncio.wait({replaying, stopping}, return_when=asyncio.FIRST_COMPLETED)
    replaying.cancel()
    async with asyncio.timeout(5):
        await asyncio.wait({replaying})
    assert replaying.cancelled()
    assert await world.schemas() == {"chain"}
    assert await world.dump() == before
    assert (await world.replay()).identical


async def test_the_rest_of_a_replay_that_died_is_dropped_by_the_next(world: Deployment) -> None:
    await world.write(parts.history(world.story, pages=5))
    await world.apply()
    for schema in ("chain_replay", "chain_replaced"):
        await world.execute(f"CREATE SCHEMA {schema}")
        await world.execute(f"CREATE TABLE {schema}.loans (key text)")
    assert (await world.replay(swap=True)).identical
    assert await world.schemas() == {"chain"}
