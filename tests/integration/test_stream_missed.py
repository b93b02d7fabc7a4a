"""Records that are in the log and were not delivered, as after a rebalance of Faust: asked for once more, and never skipped."""

import asyncio
from collections.abc import Sequence

import pytest
from aiokafka.client import AIOKafkaClient
from sqlalchemy.ext.asyncio import AsyncEngine

from shared import errors, same_log
from shared.settings import Kafka
from streams import standstill
from streams.apply import Applied, Batch, Record
from tests.integration.stream_parts import PARTITION
from tests.integration.worker_parts import applier, event_keys, reached, running, story, worker, write

PAGES = 20


class Forgetful:
    """An applier to which a record does not come, so many times; or neither it nor any behind it in its batch."""

    def __init__(self, engine: AsyncEngine, *, missing: int, times: int, all_behind: bool = False) -> None:
        self.inner = applier(engine)
        self.missing = missing
        self.times = times
        self.all_behind = all_behind

    def prepare(self, partition: int, records: Sequence[Record]) -> Batch:
        return self.inner.prepare(partition, records)

    async def write(self, batch: Batch) -> Applied:
        offsets = [record.offset for record in batch.records]
        if self.times and self.missing in offsets:
            self.times -= 1
            at = offsets.index(self.missing)
            behind = batch.records[at + 1 :]
            if self.all_behind or not behind:
                kept = batch.records[:at]
                return await self._write(kept) if kept else Applied(next_offset=self.missing)
            await self._write([*batch.records[:at], *behind])
        return await self.inner.write(batch)

    async def _write(self, records: Sequence[Record]) -> Applied:
        return await self.inner.write(self.inner.prepare(PARTITION, records))


async def test_a_record_that_was_passed_over_is_asked_for_once_more(settings: Kafka, engine: AsyncEngine):
    await write(settings, story(PAGES))
    forgetful = Forgetful(engine, missing=7, times=1)
    async with running(worker(settings, engine, forgetful)) as task:
        await reached(engine, PAGES + 1, task)
    assert forgetful.times == 0
    assert len(await event_keys(engine)) == PAGES


async def test_one_that_is_passed_over_again_ends_the_worker(settings: Kafka, engine: AsyncEngine):
    await write(settings, story(PAGES))
    with pytest.raises(errors.OffsetGap, match="delivered offset 8 where 7 is due") as caught:
        await asyncio.wait_for(worker(settings, engine, Forgetful(engine, missing=7, times=2)).run(), 60)
    assert caught.value.due == (PARTITION, 7)
    assert await same_log.next_offset(engine, partition=PARTITION) <= 7


async def test_the_last_records_that_did_not_come_are_missed_though_nothing_follows(
    settings: Kafka, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(standstill, "LOOK_SECONDS", 0.3)
    await write(settings, story(PAGES))
    forgetful = Forgetful(engine, missing=7, times=1, all_behind=True)
    async with running(worker(settings, engine, forgetful)) as task:
        await reached(engine, PAGES + 1, task)
    assert forgetful.times == 0
    assert len(await event_keys(engine)) == PAGES


async def test_a_worker_that_has_applied_all_is_left_alone(
    settings: Kafka, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(standstill, "LOOK_SECONDS", 0.1)
    await write(settings, story(3))
    subject = worker(settings, engine, applier(engine))
    lives = 0
    live = subject._live

    async def counted() -> None:
        nonlocal lives
        lives += 1
        await live()

    monkeypatch.setattr(subject, "_live", counted)
    async with running(subject) as task:
        await reached(engine, 4, task)
        await asyncio.sleep(0.1 * standstill.STILL_LOOKS * 3)
        await write(settings, story(6)[4:])
        await reached(engine, 7, task)
    assert lives == 1


async def test_a_worker_that_joined_before_it_could_see_its_topic_finds_it_soon(
    settings: Kafka, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
):
    """Kafka, coming up, answers who coordinates the group before it tells of topics: the leader then has nothing to give out."""
    unseen = 2
    look = AIOKafkaClient._metadata_update

    async def late(client: AIOKafkaClient, *arguments: object) -> bool:
        nonlocal unseen
        if unseen and client._client_id.startswith("faust"):
            unseen -= 1
            return False
        seen: bool = await look(client, *arguments)
        return seen

    monkeypatch.setattr(AIOKafkaClient, "_metadata_update", late)
    await write(settings, story(PAGES))
    async with running(worker(settings, engine, applier(engine))) as task:
        await reached(engine, PAGES + 1, task)
    assert unseen == 0
