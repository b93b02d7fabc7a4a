"""How near the shadow is, what a log has to hold, and working one ahead."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from shared import errors
from streams.apply import Record
from streams.replay.ahead import ahead
from streams.replay.follow import NEAR_RECORDS, Follower
from streams.replay.source import Extent, Source, check_extent


class Takes:
    def __init__(self, standing: dict[int, int]) -> None:
        self.standing = standing
        self.events = 0
        self.calls: list[tuple[int, list[int]]] = []

    async def take(self, partition: int, batches: AsyncIterator[list[Record]]) -> None:
        offsets = [record.offset async for batch in batches for record in batch]
        self.calls.append((partition, offsets))
        self.standing[partition] = offsets[-1] + 1 if offsets else self.standing.get(partition, 0)


class Log(Source):
    """A log of any length."""

    def __init__(self) -> None:
        pass

    async def batches(self, partition: int, start: int, stop: int) -> AsyncIterator[list[Record]]:
        for offset in range(start, stop):
            yield [Record(offset, f"{partition}".encode())]


async def test_a_follower_goes_exactly_to_the_offsets() -> None:
    takes = Takes({0: 5})
    follower = Follower(takes, Log())
    assert follower.rest({0: 8, 1: 2}) == 5
    await follower.go({0: 8, 1: 2})
    assert takes.calls == [(0, [5, 6, 7]), (1, [0, 1])]
    assert (follower.records, follower.standing) == (5, {0: 8, 1: 2})
    assert follower.rest({0: 8, 1: 2}) == 0
    assert follower.rest({0: 3}) == 0  # the live tables never go back, and if they did nothing would be taken


async def test_near_is_what_takes_a_moment() -> None:
    follower = Follower(Takes({}), Log())
    assert follower.is_near({0: NEAR_RECORDS})
    assert not follower.is_near({0: NEAR_RECORDS + 1})  # nothing is known of the pace yet
    await follower.go({0: 1000})
    assert follower.is_near({0: 1000 + 1000})
    assert not follower.is_near({0: 1000 + 10**9})


@pytest.mark.parametrize(
    ("extent", "base", "stop", "words"),
    [
        (Extent(0, 10), None, 10, None),
        (Extent(0, 10), None, 11, "has applied 11 records"),
        (Extent(3, 10), None, 10, "not in the log any more"),
        (Extent(3, 10), 3, 10, None),
        (Extent(3, 10), 5, 10, None),
        (Extent(3, 10), 2, 10, "the base ends at 2"),
        (Extent(3, 10), 0, 10, "the base ends at 0"),
        (Extent(10, 10), 10, 10, None),
        (Extent(7, 7), None, 0, None),
    ],
)
def test_a_log_has_to_hold_all_that_is_replayed(extent: Extent, base: int | None, stop: int, words: str | None) -> None:
    if words is None:
        check_extent(extent, partition=0, base=base, stop=stop, topic="facts")
        return
    with pytest.raises(errors.TopicInvalid, match=words) as caught:
        check_extent(extent, partition=0, base=base, stop=stop, topic="facts")
    assert caught.value.cure


async def numbers(asked: list[int], *, fail_at: int = 99) -> AsyncIterator[int]:
    for number in range(4):
        asked.append(number)
        if number == fail_at:
            raise ValueError("no more")
        await asyncio.sleep(0)
        yield number


async def test_the_next_one_is_asked_for_while_one_is_worked_on() -> None:
    asked: list[int] = []
    seen = []
    async with ahead(numbers(asked)) as items:
        async for number in items:
            await asyncio.sleep(0.001)
            seen.append((number, len(asked)))
    assert seen == [(0, 2), (1, 3), (2, 4), (3, 4)]


async def work(seen: list[int], *, fail_at: int = 99, stop_at: int = 99) -> None:
    async with ahead(numbers([], fail_at=fail_at)) as items:
        async for number in items:
            seen.append(number)
            if number == stop_at:
                raise RuntimeError("the work failed")


async def test_what_fails_ahead_is_raised_where_it_is_due() -> None:
    seen: list[int] = []
    with pytest.raises(ValueError, match="no more"):
        await work(seen, fail_at=2)
    assert seen == [0, 1]


async def test_nothing_is_left_running_when_the_work_fails() -> None:
    before = asyncio.all_tasks()
    with pytest.raises(RuntimeError):
        await work([], stop_at=0)
    assert asyncio.all_tasks() == before
