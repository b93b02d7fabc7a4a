"""A replay that is stopped ends as stopped, whatever a connection says of it; one that is not keeps its error."""

import asyncio

import pytest

from streams.replay.stopping import stopped_is_stopped


async def test_what_a_connection_says_is_not_why_a_stopped_replay_ends() -> None:
    at_work = asyncio.Event()

    async def work() -> None:
        with stopped_is_stopped():
            try:
                at_work.set()
                await asyncio.sleep(60)
            finally:
                raise OSError("the underlying connection is closed")

    task = asyncio.create_task(work())
    await at_work.wait()
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()


async def test_errors_of_several_tasks_are_no_reason_either() -> None:
    at_work = asyncio.Event()

    async def statement() -> None:
        try:
            at_work.set()
            await asyncio.sleep(60)
        finally:
            raise OSError("the underlying connection is closed")

    async def work() -> None:
        with stopped_is_stopped():
            async with asyncio.TaskGroup() as both:
                both.create_task(statement())

    task = asyncio.create_task(work())
    await at_work.wait()
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()


async def test_an_error_of_its_own_is_told() -> None:
    with pytest.raises(OSError, match="closed"), stopped_is_stopped():
        raise OSError("the connection is closed")


async def test_a_timeout_within_is_an_error_of_its_own() -> None:
    with pytest.raises(TimeoutError), stopped_is_stopped():
        async with asyncio.timeout(0):
            await asyncio.sleep(60)
