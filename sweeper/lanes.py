"""Pieces of work one behind the other, a few under way at once: while one waits for its database, the next is made ready."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

Piece = TypeVar("Piece")
Result = TypeVar("Result")

LANES = 2


async def each(pieces: Iterable[Piece], work: Callable[[Piece], Awaitable[Result]]) -> list[Result]:
    """The results in the order of the pieces. After an error no piece is begun, and those under way end before it is raised."""
    running: deque[asyncio.Future[Result]] = deque()
    results: list[Result] = []
    try:
        for piece in pieces:
            if len(running) == LANES:
                results.append(await running[0])
                running.popleft()
            running.append(asyncio.ensure_future(work(piece)))
        while running:
            results.append(await running[0])
            running.popleft()
    except BaseException as error:
        await _end(running, stopped=isinstance(error, asyncio.CancelledError))
        raise
    return results


async def _end(running: Iterable["asyncio.Future[Result]"], *, stopped: bool) -> None:
    """Wait for all of them; where we are to stop ourselves, they are, too."""
    left = list(running)
    for one in left:
        if stopped:
            one.cancel()
    if left:
        await asyncio.wait(left)
    for one in left:
        _ = one.cancelled() or one.exception()  # looked at: the first error is the one that is raised
