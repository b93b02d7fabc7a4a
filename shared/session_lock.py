"""A session lock of PostgreSQL on a connection of its own: it goes with its session, however the process ended.

Whoever holds one asks again and again on that very connection whether it still does (`holder`): a session that was lost, or was
made anew behind our back, holds nothing. Time passes between the answer and what is done on it, so whatever must not be done
twice has a guard of its own.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import database
from shared.settings import Database

ANSWER_SECONDS = 10.0
"""A holder that hears nothing for this long takes its lock for lost: sooner than the server does, see `_KEEPALIVE`."""

_OURS = "locktype = 'advisory' AND granted AND objsubid = 1 AND (classid::bigint << 32 | objid::bigint) = :key"
_TRY = text("SELECT pg_try_advisory_lock(:key)")
_RELEASE = text("SELECT pg_advisory_unlock(:key)")
_HOLDER = text(f"SELECT pid FROM pg_locks WHERE {_OURS} AND pid = pg_backend_pid()")
_HELD = text(
    f"SELECT EXISTS (SELECT FROM pg_locks WHERE {_OURS}"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"
)
# A holder whose machine vanished leaves a session that nobody ends: let the server notice in 20 s, not in two hours.
_KEEPALIVE = text(
    "SELECT set_config('tcp_keepalives_idle', '5', false), set_config('tcp_keepalives_interval', '5', false),"
    " set_config('tcp_keepalives_count', '3', false), set_config('tcp_user_timeout', '20s', false)"
)


@asynccontextmanager
async def session(settings: Database) -> AsyncIterator[AsyncConnection]:
    """A session of its own, outside of transactions; ended with the block."""
    engine = database.single(settings)
    try:
        async with engine.connect() as plain:
            connection = await plain.execution_options(isolation_level="AUTOCOMMIT")
            async with asyncio.timeout(ANSWER_SECONDS):
                await connection.execute(_KEEPALIVE)
            yield connection
    finally:
        await engine.dispose()


async def take(connection: AsyncConnection, key: int) -> bool:
    """Whether the lock is ours now; it does not wait, for a waiting statement holds a snapshot."""
    return bool((await connection.execute(_TRY, {"key": key})).scalar_one())


async def holder(connection: AsyncConnection, key: int) -> int | None:
    """The number of this session at the server if it holds the lock."""
    pid: int | None = (await connection.execute(_HOLDER, {"key": key})).scalar_one_or_none()
    return pid


async def release(connection: AsyncConnection, key: int) -> None:
    """Give it back now: a session that is closed ends a moment after, and who comes next would find it held."""
    await connection.execute(_RELEASE, {"key": key})


async def is_held(connection: AsyncConnection, key: int) -> bool:
    """Whether any session of this database holds the lock."""
    return bool((await connection.execute(_HELD, {"key": key})).scalar_one())
