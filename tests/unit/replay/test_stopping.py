"""A replay that is stopped ends as stopped, whatever a connection says of it; one that is not keeps its error."""

import asyncio
from collections.abc import Callable, Coroutine

import pytest

from streams.replay.stopping import stopped_is_stopped


class Statement:
    """Work on a connection, which speaks of that first when it is cancelled."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()

    async def run(self) -> None:
        try:
            self.begun.set()
            await asyncio.sleep(60)
        finally:
            raise OSError("the underlying connection is closed")


async def alone(statement: Statement) -> None:
    with stopped_is_stopped():
        await statement.run()


async def beside_others(statement: Statement) -> None:
    with stopped_is_stopped():
        async with asyncio.TaskGroup() as both:
            both.create_task(statement.run())


@pytest.mark.parametrize("work", [alone, beside_others])
async def test_what_a_connection_says_is_not_why_a_stopped_replay_ends(
    work: Callable[[Statement], Coroutine[None, None, None]],
) -> None:
    statement = Statement()
    task = asyncio.create_task(work(statement))
    await statement.begun.wait()
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
