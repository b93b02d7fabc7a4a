"""One ahead: while one item is worked on, the next one is on its way."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

T = TypeVar("T")


@asynccontextmanager
async def ahead(items: AsyncIterator[T]) -> AsyncIterator[AsyncIterator[T]]:
    """The items, in their order; the next one is asked for as soon as one is given. Nothing is left running after the block."""
    waiting: asyncio.Task[T] | None = None

    async def ask() -> T:
        return await anext(items)

    async def each() -> AsyncIterator[T]:
        nonlocal waiting
        waiting = asyncio.create_task(ask())
        while True:
            try:
                item = await waiting
            except StopAsyncIteration:
                return
            waiting = asyncio.create_task(ask())
            yield item

    try:
        yield each()
    finally:
        if waiting is not None:
            waiting.cancel()
            await asyncio.wait({waiting})
            _ = waiting.cancelled() or waiting.exception()  # looked at: whoever asked has had it, or has given up
