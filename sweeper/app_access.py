"""Transactions on the application's database: short, bounded, and unable to mistake a missing right for an empty table.

Where row-level security would hide rows, `row_security = off` makes PostgreSQL refuse the statement instead. Only `SET LOCAL`
is used, so a transaction pooler may hand the connection to somebody else afterwards.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared import errors

_INSUFFICIENT_PRIVILEGE = "42501"
_SETTINGS = text("SET LOCAL row_security = off")
_LOCK_TIMEOUT = text("SET LOCAL lock_timeout = '5s'")


@asynccontextmanager
async def transaction(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """One transaction, committed at the end of the block; raises SettingError where the role lacks a right."""
    try:
        async with engine.begin() as connection:
            await connection.execute(_SETTINGS)
            await connection.execute(_LOCK_TIMEOUT)
            yield connection
    except ProgrammingError as error:
        if getattr(error.orig, "sqlstate", None) != _INSUFFICIENT_PRIVILEGE:
            raise
        words = str(error.orig).partition("\n")[0].rpartition(": ")[2]
        raise errors.SettingError(
            f"the role of CHAINTRUE_APP_DATABASE__URL lacks a right: {words}",
            cure="give it BYPASSRLS (or policies of its own), SELECT on the compared tables and UPDATE on the owned columns",
        ) from None
