"""The Faust worker on a real Kafka and PostgreSQL."""

import asyncio
from collections.abc import Sequence

import pytest
from sqlalchemy import text, update
from sqlalchemy.ext.asyncio import AsyncEngine

from shared import chain_tables, errors, frames, kafka, position, same_log
from shared.settings import Kafka
from streams import alignment
from streams.apply import Applied, Applier, Batch, Record
from tests.integration import stream_parts as parts
from tests.integration.stream_parts import PARTITION, until
from tests.integration.worker_parts import (
    FIRST,
    applier,
    committed,
    event_keys,
    pages_of,
    reached,
    running,
    story,
    worker,
    write,
)

AT = {"partition": PARTITION, "newest_fact": position.START}


class Counting:
    """Hands on to an applier and notes what was applied; a failure is raised instead of a batch."""

    def __init__(self, inner: Applier) -> None:
        self.inner = inner
        self.calls: list[list[int]] = []
        self.applied = 0
        self.failures: list[BaseException] = []

    def prepare(self, partition: int, records: Sequence[Record]) -> Batch:
        return self.inner.prepare(partition, records)

    async def write(self, batch: Batch) -> Applied:
        self.calls.append([record.offset for record in batch.records])
        if self.failures:
            raise self.failures.pop()
        applied = await self.inner.write(batch)
        self.applied += applied.applied_records
        return applied


async def test_what_was_applied_is_committed_to_kafka_and_not_applied_again(settings: Kafka, engine: AsyncEngine):
    await write(settings, story(200))
    counting = Counting(applier(engine))
    async with running(worker(settings, engine, counting)) as task:
        await reached(engine, 201, task)

        async def told() -> bool:
            return await committed(settings) == 201

        await until(told)
    assert await parts.coverage_of(engine, parts.SCOPE) == [(position.end_of(FIRST - 1), position.end_of(FIRST + 199))]
    assert await event_keys(engine) == [f"event:{parts.an_event(FIRST + n).id}" for n in range(200)]
    assert counting.applied == 201

    await write(settings, pages_of(10, first=FIRST + 200))
    again = Counting(applier(engine))
    async with running(worker(settings, engine, again)) as task:
        await reached(engine, 211, task)
    assert sorted(offset for call in again.calls for offset in call) == list(range(201, 211))


async def test_kafka_behind_the_database_is_skipped(settings: Kafka, engine: AsyncEngine):
    log = story(20)
    await write(settings, log)
    await applier(engine).apply(PARTITION, [Record(n, frames.encode(frame)) for n, frame in enumerate(log[:15])])
    counting = Counting(applier(engine))
    async with running(worker(settings, engine, counting)) as task:
        await reached(engine, 21, task)
    assert counting.applied == 6


async def test_a_restart_while_records_come_loses_and_repeats_nothing(settings: Kafka, engine: AsyncEngine):
    async def produce() -> None:
        async with kafka.writer(settings) as writer:
            for frame in story(300):
                await writer.write(PARTITION, [frame])

    producing = asyncio.create_task(produce())
    applied = 0
    for offset in (50, 120, 200):
        counting = Counting(applier(engine))
        async with running(worker(settings, engine, counting)) as task:
            await reached(engine, offset, task)
        applied += counting.applied
    await producing
    last = Counting(applier(engine))
    async with running(worker(settings, engine, last)) as task:
        await reached(engine, 301, task)
    assert applied + last.applied <= 301  # none twice; a worker stopped right after its commit had no time to count it
    assert await event_keys(engine) == [f"event:{parts.an_event(FIRST + n).id}" for n in range(300)]


async def test_two_workers_hand_over_without_loss(settings: Kafka, engine: AsyncEngine):
    async def produce() -> None:
        async with kafka.writer(settings) as writer:
            for frame in story(400):
                await writer.write(PARTITION, [frame])
                await asyncio.sleep(0.01)

    producing = asyncio.create_task(produce())
    one, two, three = (Counting(applier(engine)) for _ in range(3))
    async with running(worker(settings, engine, two)) as second:
        async with running(worker(settings, engine, one)) as first:
            await reached(engine, 50, first)
        await reached(engine, 150, second)
        async with running(worker(settings, engine, three)) as third:
            await reached(engine, 401, third)
            assert not second.done()
    await producing
    assert one.applied + two.applied + three.applied <= 401  # none twice; see above
    assert await event_keys(engine) == [f"event:{parts.an_event(FIRST + n).id}" for n in range(400)]


async def test_a_record_that_is_no_frame_stops_the_worker_and_stays(settings: Kafka, engine: AsyncEngine):
    await write(settings, story(3))
    async with kafka.writer(settings) as writer:
        await writer._client.send_and_wait(settings.topic, b"no frame", partition=PARTITION)
    await write(settings, pages_of(3, first=FIRST + 3))
    with pytest.raises(errors.FrameInvalid, match="offset 4") as caught:
        await asyncio.wait_for(worker(settings, engine, applier(engine)).run(), 30)
    assert caught.value.cure
    assert (await same_log.next_offset(engine, partition=PARTITION)) in range(5)
    with pytest.raises(errors.FrameInvalid, match="offset 4"):  # a restart does not get past it either
        await asyncio.wait_for(worker(settings, engine, applier(engine)).run(), 30)


async def test_an_error_of_the_applier_is_raised_as_it_is_and_nothing_behind_it_is_applied(
    settings: Kafka, engine: AsyncEngine
):
    await write(settings, story(300))
    counting = Counting(applier(engine))
    error = errors.OffsetGap("records between them are lost")
    counting.failures = [error]
    with pytest.raises(errors.OffsetGap) as caught:
        await asyncio.wait_for(worker(settings, engine, counting).run(), 30)
    assert caught.value is error
    assert len(counting.calls) == 1


async def test_postgresql_away_is_waited_for(settings: Kafka, engine: AsyncEngine):
    await write(settings, story(5))
    counting = Counting(applier(engine))
    counting.failures = [ConnectionResetError("the server is restarting"), TimeoutError()]
    async with running(worker(settings, engine, counting)) as task:
        await reached(engine, 6, task)
    assert counting.applied == 6
    assert counting.calls[0] == counting.calls[1] == counting.calls[2]


async def test_a_session_that_postgresql_ends_is_made_anew(settings: Kafka, engine: AsyncEngine):
    await write(settings, story(5))
    async with running(worker(settings, engine, applier(engine))) as task:
        await reached(engine, 6, task)
        async with engine.connect() as connection:
            await connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )
        await write(settings, pages_of(5, first=FIRST + 5))

        async def there() -> bool:
            if task.done():
                task.result()
            return len(await event_keys(engine)) == 10

        await until(there)


async def test_postgresql_that_stays_away_ends_the_worker_with_the_cure(settings: Kafka, engine: AsyncEngine):
    await write(settings, story(1))
    counting = Counting(applier(engine))
    counting.failures = [ConnectionResetError("no server")] * 1000
    with pytest.raises(errors.DatabaseUnreachable, match=r"CHAINTRUE_DATABASE__URL.*no server") as caught:
        await asyncio.wait_for(worker(settings, engine, counting, retry_seconds=0.5).run(), 30)
    assert caught.value.cure


async def test_a_restored_database_sets_kafka_back(settings: Kafka, engine: AsyncEngine):
    log = story(20)
    await write(settings, log)
    async with running(worker(settings, engine, applier(engine))) as task:
        await reached(engine, 21, task)

        async def told() -> bool:
            return await committed(settings) == 21

        await until(told)
    await forget(engine)
    counting = Counting(applier(engine))
    async with running(worker(settings, engine, counting)) as task:
        await reached(engine, 21, task)
    assert counting.applied == 21
    assert len(await event_keys(engine)) == 20


async def forget(engine: AsyncEngine) -> None:
    """The database as it was before the first record."""
    async with engine.begin() as connection:
        await connection.execute(text("TRUNCATE chain.facts, chain.coverage, chain.gaps, chain.scopes, chain.offsets"))


async def test_a_restored_database_is_refused_while_workers_are_in_the_group(
    settings: Kafka, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
):
    await write(settings, story(20))
    async with running(worker(settings, engine, applier(engine))) as task:
        await reached(engine, 21, task)

        async def told() -> bool:
            return await committed(settings) == 21

        await until(told)
        await forget(engine)
        with pytest.raises(errors.OffsetGap, match="ahead of the database") as caught:
            await asyncio.wait_for(worker(settings, engine, applier(engine)).run(), 30)
    assert "stop every worker" in (caught.value.cure or "")


async def test_offsets_that_another_worker_mends_meanwhile_are_not_waited_for(settings: Kafka, engine: AsyncEngine):
    await write(settings, story(20))
    async with running(worker(settings, engine, applier(engine))) as task:
        await reached(engine, 21, task)

        async def told() -> bool:
            return await committed(settings) == 21

        await until(told)
        async with engine.begin() as connection:
            await connection.execute(update(chain_tables.offsets).values(next_offset=7))
        aligning = asyncio.create_task(alignment.align(settings, engine, partitions=[PARTITION]))
        await asyncio.sleep(2 * alignment.POLL_SECONDS)
        assert not aligning.done()
        async with engine.begin() as connection:
            await connection.execute(update(chain_tables.offsets).values(next_offset=21))
        await asyncio.wait_for(aligning, 2 * alignment.POLL_SECONDS + 2)


async def test_a_topic_that_was_made_anew_is_refused(settings: Kafka, engine: AsyncEngine):
    await write(settings, story(3))
    async with engine.begin() as connection:
        await connection.execute(chain_tables.offsets.insert().values(**AT, next_offset=50))
    with pytest.raises(errors.TopicInvalid, match=r"ends at offset 4.*applied 50"):
        await worker(settings, engine, applier(engine)).run()


async def test_a_truncated_topic_is_refused(settings: Kafka, engine: AsyncEngine):
    log = story(9)
    await write(settings, log)
    await parts.delete_records(settings, before=5)
    with pytest.raises(errors.TopicInvalid, match=r"begins at offset 5.*waits for 0"):
        await worker(settings, engine, applier(engine)).run()
    async with engine.begin() as connection:
        await connection.execute(chain_tables.offsets.insert().values(**AT, next_offset=3))
    with pytest.raises(errors.TopicInvalid, match=r"begins at offset 5.*waits for 3"):
        await worker(settings, engine, applier(engine)).run()
    async with engine.begin() as connection:
        await connection.execute(update(chain_tables.offsets).values(next_offset=0))
    await applier(engine).apply(PARTITION, [Record(n, frames.encode(frame)) for n, frame in enumerate(log[:5])])
    async with running(worker(settings, engine, applier(engine))) as task:
        await reached(engine, 10, task)
