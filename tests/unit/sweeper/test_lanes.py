"""Pieces of work a few at once: in order, none begun after an error, none left behind."""

import asyncio

import pytest

from sweeper import lanes


async def test_results_come_in_the_order_of_the_pieces_and_no_more_than_the_lanes_run() -> None:
    running = most = 0

    async def work(piece: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001 * (5 - piece % 5))
        running -= 1
        return piece * 2

    assert await lanes.each(range(20), work) == [piece * 2 for piece in range(20)]
    assert (most, running) == (lanes.LANES, 0)
    assert await lanes.each([], work) == []


async def test_after_an_error_nothing_is_begun_and_what_is_under_way_ends_first() -> None:
    begun: list[int] = []
    ended: list[int] = []

    async def work(piece: int) -> None:
        begun.append(piece)
        if piece == 2:
            raise ValueError("two")
        await asyncio.sleep(0.02)
        ended.append(piece)

    with pytest.raises(ValueError, match="two"):
        await lanes.each(range(10), work)
    assert sorted(ended) == sorted(set(begun) - {2})
    assert len(begun) <= 2 + lanes.LANES


async def test_who_is_stopped_stops_what_is_under_way() -> None:
    stopped: list[int] = []

    async def work(piece: int) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            stopped.append(piece)
            raise

    task = asyncio.ensure_future(lanes.each(range(5), work))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stopped == [0, 1]
