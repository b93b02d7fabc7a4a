"""One active indexer per topic and scope: a session lock of PostgreSQL, held on a connection of its own.

The lock goes with its session, so a process that dies gives it back at once. A holder that lost its connection without noticing
may still write a frame after another has taken over. That is harmless (I2): both read the same chain, a page that stands twice in
the log folds to the same tables, and each cut proves only what it holds. The lock saves requests and room, it protects no data.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import errors, metrics, session_lock, transient
from shared.settings import Database
from streams import waiting

log = structlog.get_logger()

POLL_SECONDS = 1.0
ANSWER_SECONDS = 5.0
"""A holder that hears nothing for this long takes the lock for lost."""
PAUSE_SECONDS = 2.0


def lock_key(*, topic: str, scope: str) -> int:
    """The lock's number: 64 bits, signed, of the names."""
    digest = hashlib.sha256(f"chaintrue\0{topic}\0{scope}".encode()).digest()
    return int.from_bytes(digest[:8], signed=True)


async def lead(work: Callable[[], Awaitable[None]], *, settings: Database, topic: str, scope: str) -> None:
    """Run `work` while we hold the lock, again each time that we get it and after each error that passes.

    `work` is cancelled as soon as the lock is lost. Ends by cancellation, or by an error of `work` that no waiting mends.
    """
    key = lock_key(topic=topic, scope=scope)
    trouble = waiting.Waiting("the indexer cannot go on now; trying on", first=PAUSE_SECONDS)
    clock = asyncio.get_running_loop().time
    while True:
        began = clock()
        try:
            async with session_lock.session(settings) as connection:
                await _acquire(connection, key)
                began = clock()
                await _while_held(work, connection, key)
        except (errors.ChaintrueError, DBAPIError, OSError, TimeoutError) as error:
            if clock() - began > waiting.LONGEST_SECONDS:
                trouble.over()  # it had gone on in between
            if isinstance(error, errors.ChaintrueError) and not error.retryable:
                if not waiting.is_waited_for(error):
                    raise
                await trouble.pause(error)
                continue
            if not isinstance(error, errors.ChaintrueError) and not transient.is_transient(error):
                raise
            trouble.tell(error if isinstance(error, errors.ChaintrueError) else transient.words(error))
        await asyncio.sleep(PAUSE_SECONDS)


async def _acquire(connection: AsyncConnection, key: int) -> None:
    """Try until the lock is ours: a waiting statement would end by the statement time-out, and hold a snapshot until then."""
    waiting = False
    while True:
        async with asyncio.timeout(ANSWER_SECONDS):
            if await session_lock.take(connection, key):
                break
        if not waiting:
            log.info("another indexer is active; waiting")
        waiting = True
        await asyncio.sleep(POLL_SECONDS)
    log.info("this indexer is active")


async def _while_held(work: Callable[[], Awaitable[None]], connection: AsyncConnection, key: int) -> None:
    working = asyncio.ensure_future(work())
    watching = asyncio.ensure_future(_watch(connection, key))
    metrics.indexer_active.set(1)
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        metrics.indexer_active.set(0)
        for task in (working, watching):
            task.cancel()
        await asyncio.wait({working, watching})
    if not working.cancelled():
        working.result()
    elif not watching.cancelled():
        watching.result()


async def _watch(connection: AsyncConnection, key: int) -> None:
    """Return, or raise, when the lock is no longer ours."""
    while True:
        await asyncio.sleep(POLL_SECONDS)
        async with asyncio.timeout(ANSWER_SECONDS):
            if await session_lock.holder(connection, key) is None:
                log.warning("the indexer's lock is lost")
                return
