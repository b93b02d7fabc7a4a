"""What stands between us and PostgreSQL: nothing, a session pooler or a transaction pooler. Told by facts, never by the port.

Two connections look which backend serves them. One that was given another backend since, or the same backend behind both, is
proof of a transaction pooler. A backend that is not the one that the greeting named is proof of some pooler.
"""

import asyncio
from contextlib import AsyncExitStack
from enum import StrEnum
from typing import Any

import asyncpg

from shared import database, errors
from shared.section import environment_name
from shared.settings import Database

ROUNDS = 4
"""A pooler that deals its backends out in turns, or by chance, may deal the same one twice."""
_BACKEND = "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"
_FAULTS = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError)


class Pooling(StrEnum):
    """UNKNOWN: no second connection was served in time, as behind a session pooler that has no backend left."""

    DIRECT = "direct"
    SESSION = "session"
    TRANSACTION = "transaction"
    UNKNOWN = "unknown"


async def detect(settings: Database, *, section: str) -> Pooling:
    """What stands before the database of the settings' `section`; raises DatabaseUnreachable."""
    try:
        async with asyncio.timeout(settings.connect_seconds), AsyncExitStack() as stack:
            one = await stack.enter_async_context(database.plain(settings))
            other = await stack.enter_async_context(database.plain(settings))
            return await _compare(one, other)
    except TimeoutError:
        return Pooling.UNKNOWN
    except _FAULTS as error:
        raise database.unreachable(error, settings, section=section) from None


async def require_sessions(settings: Database, *, section: str) -> None:
    """Raise SettingError behind a transaction pooler: locks that live as long as their session would be anybody's there."""
    if await detect(settings, section=section) is Pooling.TRANSACTION:
        variable = environment_name(section, "url")
        raise errors.SettingError(
            f"{variable} leads through a transaction pooler, and the locks that keep two processes apart need sessions",
            cure=f"let {variable} name PostgreSQL itself, or a pooler in session mode (of Supabase: port 5432, not 6543)",
        )


async def _compare(one: Any, other: Any) -> Pooling:
    first = await _backend(one)
    for _ in range(ROUNDS):
        async with other.transaction():  # which keeps its backend busy, so that `one` has to be given another
            if await _backend(other) == first or await _backend(one) != first:
                return Pooling.TRANSACTION
    return Pooling.DIRECT if one.get_server_pid() == first[0] else Pooling.SESSION


async def _backend(connection: Any) -> tuple[Any, ...]:
    """The backend's process and its start, for several hosts may use one number."""
    if connection.is_in_transaction():
        return tuple(await connection.fetchrow(_BACKEND))
    async with connection.transaction():  # a statement is prepared and run in two steps, which may go to two backends
        return tuple(await connection.fetchrow(_BACKEND))
