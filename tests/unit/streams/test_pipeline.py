"""Decoding and applying side by side: in order, one batch ahead, and ended by the first failure of either."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from shared import errors
from streams.apply import Applied, Record
from streams.pipeline import Pipeline


@dataclass
class Applies:
    """Notes what is prepared and written; either may fail at an offset, or writing wait for `free`."""

    prepared: list[int] = field(default_factory=list)
    written: list[int] = field(default_factory=list)
    bad: int | None = None
    refused: dict[int, list[BaseException]] = field(default_factory=dict)
    free: asyncio.Event = field(default_factory=asyncio.Event)

    def prepare(self, partition: int, records: Sequence[Record]) -> Any:
        offset = records[0].offset
        if offset == self.bad:
            raise errors.FrameInvalid(f"offset {offset}")
        self.prepared.append(offset)
        return _Prepared(partition, offset)

    async def write(self, batch: Any) -> Applied:
        await self.free.wait()
        if self.refused.get(batch.offset):
            raise self.refused[batch.offset].pop()
        self.written.append(batch.offset)
        return Applied(next_offset=batch.offset + 1)


@dataclass(frozen=True)
class _Prepared:
    partition: int
    offset: int


async def batches(count: int, *, then_wait: bool = False) -> AsyncIterator[tuple[int, list[Record]]]:
    for offset in range(count):
        yield 0, [Record(offset, b"")]
    if then_wait:
        await asyncio.Event().wait()


async def test_all_batches_are_written_in_order_and_told():
    applies, told = Applies(), []
    applies.free.set()
    await Pipeline(applies, on_applied=lambda partition, one: told.append((partition, one.next_offset))).run(batches(5))
    assert applies.written == [0, 1, 2, 3, 4]
    assert told == [(0, offset) for offset in range(1, 6)]


async def test_no_more_than_one_batch_waits_decoded():
    applies = Applies()
    running = asyncio.create_task(Pipeline(applies, on_applied=lambda *_: None).run(batches(50)))
    await asyncio.sleep(0.2)
    assert len(applies.prepared) <= 3  # one being written, one waiting, one that waits for its place
    applies.free.set()
    await running
    assert applies.written == list(range(50))


async def test_a_bad_batch_ends_it_and_nothing_behind_it_is_written():
    applies = Applies(bad=3)
    applies.free.set()
    with pytest.raises(errors.FrameInvalid, match="offset 3"):
        await Pipeline(applies, on_applied=lambda *_: None).run(batches(9, then_wait=True))
    assert applies.written == list(range(len(applies.written)))
    assert len(applies.written) <= 3


async def test_a_failure_of_writing_ends_it_although_no_more_batches_come():
    applies = Applies(refused={1: [errors.OffsetGap("gone")]})
    applies.free.set()
    with pytest.raises(errors.OffsetGap, match="gone"):
        await asyncio.wait_for(Pipeline(applies, on_applied=lambda *_: None).run(batches(2, then_wait=True)), 5)
    assert applies.written == [0]


async def test_what_passes_is_tried_again():
    applies = Applies(refused={1: [ConnectionResetError(), TimeoutError()]})
    applies.free.set()
    await Pipeline(applies, on_applied=lambda *_: None).run(batches(3))
    assert applies.written == [0, 1, 2]


async def test_what_does_not_pass_in_time_is_told_with_the_setting():
    applies = Applies(refused={0: [ConnectionResetError("no server")] * 99})
    applies.free.set()
    with pytest.raises(errors.DatabaseUnreachable, match="CHAINTRUE_DATABASE__URL"):
        await Pipeline(applies, on_applied=lambda *_: None, retry_seconds=0.3).run(batches(1, then_wait=True))


async def test_it_is_idle_while_nothing_is_in_work():
    applies = Applies()
    pipeline = Pipeline(applies, on_applied=lambda *_: None)
    seen = [pipeline.idle]
    running = asyncio.create_task(pipeline.run(batches(3)))
    await asyncio.sleep(0.1)
    seen.append(pipeline.idle)
    applies.free.set()
    await running
    assert [*seen, pipeline.idle] == [True, False, True]
