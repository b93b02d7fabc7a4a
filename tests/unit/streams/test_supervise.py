"""The stream's supervisor: the first part that fails stops all; a stop is clean."""

import asyncio

import pytest

from shared import errors
from streams import ingest, runner


class Part:
    """Runs until cancelled, or fails when told to."""

    def __init__(self) -> None:
        self.fail: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.started = asyncio.Event()
        self.cancelled = False

    async def run(self) -> None:
        self.started.set()
        try:
            await self.fail
        except asyncio.CancelledError:
            self.cancelled = True
            raise


async def test_a_stop_ends_every_part():
    parts, stop = [Part(), Part()], asyncio.Event()
    running = asyncio.create_task(runner.supervise({"a": parts[0].run(), "b": parts[1].run()}, stop=stop))
    for part in parts:
        await part.started.wait()
    stop.set()
    await asyncio.wait_for(running, 5)
    assert [part.cancelled for part in parts] == [True, True]


async def test_the_first_error_ends_the_others_and_is_raised_as_it_is():
    parts = [Part(), Part()]
    running = asyncio.create_task(runner.supervise({"a": parts[0].run(), "b": parts[1].run()}, stop=asyncio.Event()))
    await parts[0].started.wait()
    error = errors.FrameInvalid("no frame")
    parts[0].fail.set_exception(error)
    with pytest.raises(errors.FrameInvalid) as caught:
        await running
    assert caught.value is error
    assert parts[1].cancelled


async def test_a_part_that_ends_by_itself_is_an_error_that_names_it():
    async def done() -> None:
        pass

    with pytest.raises(errors.ChaintrueError, match="indexer"):
        await runner.supervise({"indexer": done()}, stop=asyncio.Event())


async def test_a_part_that_does_not_end_is_left_after_the_deadline(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(runner, "STOP_SECONDS", 0.05)
    release, stop = asyncio.Event(), asyncio.Event()

    async def stubborn() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    running = asyncio.create_task(runner.supervise({"stubborn": stubborn()}, stop=stop))
    await asyncio.sleep(0)
    stop.set()
    await asyncio.wait_for(running, 5)
    release.set()
    await asyncio.sleep(0)


async def test_all_of_ends_the_others_with_the_first_error():
    part = Part()

    async def fails() -> None:
        await part.started.wait()
        raise errors.RpcRefused("no")

    with pytest.raises(errors.RpcRefused):
        await ingest.all_of(part.run(), fails())
    assert part.cancelled
