"""Transactions on the application's database: short, bounded, read-only unless asked otherwise, and unable to mistake a missing
right for an empty table.

Where row-level security would hide rows, `row_security = off` makes PostgreSQL refuse the statement instead; a role that reads
by policies of its own (`SWEEP__ROW_SECURITY`) leaves it on, and `sweeper/app_rights.py` looks at those policies.

All that a statement's meaning depends on is set in each transaction and ends with it: behind a transaction pooler the session
was somebody else's a moment ago, and is again a moment later.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared import errors, transient
from shared.database import STATEMENT_TIMEOUT_SECONDS
from shared.settings import RowSecurity
from sweeper import app_read_only

LOCK_SECONDS = 5
IDLE_SECONDS = 60
_ROW_SECURITY = "chaintrue_row_security"
_INSUFFICIENT_PRIVILEGE = "42501"
_READ_ONLY = "25006"
_NOT_SUPPORTED = "0A000"
_SETTINGS = {
    "timezone": "UTC",
    "datestyle": "ISO, MDY",
    "intervalstyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "lock_timeout": f"{LOCK_SECONDS}s",
    "statement_timeout": f"{STATEMENT_TIMEOUT_SECONDS}s",
    "idle_in_transaction_session_timeout": f"{IDLE_SECONDS}s",
    "jit": "off",  # it compiles anew for each piece of a scan
}


# What the role or the address says of it, whatever a session said since.
_SEARCH_PATH = "(SELECT reset_val FROM pg_catalog.pg_settings WHERE name = 'search_path')"
_MODES = {
    read_only: text(f"SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ {'ONLY' if read_only else 'WRITE'}")
    for read_only in (True, False)
}
"""A statement has to see what was committed while it waited for a lock, whatever the isolation that the role has by default."""


def _set(settings: dict[str, str], *, read_only: bool) -> str:
    """Set what a transaction needs; one that writes also asks what makes the database read-only."""
    values = {name: f"'{value}'" for name, value in settings.items()} | {"search_path": _SEARCH_PATH}
    sets = ", ".join(f"pg_catalog.set_config('{name}', {value}, true)" for name, value in values.items())
    return f"SELECT {'NULL' if read_only else app_read_only.SQL} AS read_only, {sets}"


_SESSIONS = {
    (security, read_only): text(_set(_SETTINGS | {"row_security": word}, read_only=read_only))
    for security, word in ((RowSecurity.BYPASS, "off"), (RowSecurity.POLICIES, "on"))
    for read_only in (True, False)
}


def secured(engine: AsyncEngine, row_security: RowSecurity) -> AsyncEngine:
    """The same engine, all transactions of which read as the setting says."""
    return engine.execution_options(**{_ROW_SECURITY: row_security})


@asynccontextmanager
async def transaction(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """One transaction that reads; PostgreSQL itself refuses a write. Raises RightMissing where the role lacks a right."""
    async with _begun(engine, read_only=True) as connection:
        yield connection


@asynccontextmanager
async def writing(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """One transaction that may write, committed at the end of the block.

    Raises RightMissing where the role lacks a right, DatabaseReadOnly where the database accepts no writes from us.
    """
    async with _begun(engine, read_only=False) as connection:
        yield connection


@asynccontextmanager
async def _begun(engine: AsyncEngine, *, read_only: bool) -> AsyncIterator[AsyncConnection]:
    security = engine.get_execution_options().get(_ROW_SECURITY, RowSecurity.BYPASS)
    try:
        async with engine.begin() as connection:
            await _set_up(connection, security, read_only=read_only)
            yield connection
    except (ProgrammingError, asyncpg.InsufficientPrivilegeError) as error:  # the second of what went past SQLAlchemy
        if isinstance(error, ProgrammingError) and not is_missing_right(error):
            raise
        words = transient.server_words(error)
        raise errors.RightMissing(
            f"the role of CHAINTRUE_APP_DATABASE__URL lacks a right: {words}",
            cure="run the application's script in deploy/roles as the owner of the tables; `chaintrue doctor` names the rights",
        ) from None
    except DBAPIError as error:
        if read_only or _sqlstate(error) != _READ_ONLY:
            raise
        raise app_read_only.refused(transient.server_words(error)) from None


async def _set_up(connection: AsyncConnection, security: RowSecurity, *, read_only: bool) -> None:
    try:
        await connection.execute(_MODES[read_only])  # first: PostgreSQL takes it before any query alone
    except DBAPIError as error:
        if read_only or _sqlstate(error) != _NOT_SUPPORTED:  # what a standby says to READ WRITE
            raise
        raise app_read_only.error("recovery") from None
    by = (await connection.execute(_SESSIONS[security, read_only])).one().read_only
    if by is not None:
        raise app_read_only.error(by)


def is_missing_right(error: DBAPIError) -> bool:
    """Whether PostgreSQL refused the statement for want of a right, row-level security included."""
    return _sqlstate(error) == _INSUFFICIENT_PRIVILEGE


def _sqlstate(error: DBAPIError) -> str | None:
    return getattr(error.orig, "sqlstate", None)
