"""Which errors of PostgreSQL pass: the same transaction may succeed when it is tried again."""

import hashlib

import asyncpg
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

_CLASSES = (
    "08",
    "53",
    "57",
)  # connection, resources, operator intervention (a restart, a fail-over, a statement time-out)
_STATES = {
    "40001",  # serialization_failure
    "40P01",  # deadlock_detected
    "25006",  # read_only_sql_transaction: connected to what was the primary
    "55P03",  # lock_not_available
}

LONGEST_WORDS = 1024
"""Bytes of a message that is quoted whole."""
_KEPT = 256


def is_transient(error: BaseException) -> bool:
    """Whether the error says that the connection, the server or a lock failed, and not what was asked of it."""
    if isinstance(error, DBAPIError):
        if error.connection_invalidated:
            return True
        cause = error.orig.__cause__ if error.orig is not None else None
        if cause is not None and is_transient(cause):
            return True
        state = getattr(error.orig, "sqlstate", None)
        return _passes(state) if state else isinstance(error, InterfaceError | OperationalError)
    if isinstance(error, asyncpg.PostgresError):
        return _passes(error.sqlstate)
    return isinstance(error, OSError | TimeoutError | asyncpg.InterfaceError)


def words(error: BaseException) -> str:
    """One line for a log: what the server or the driver said, without the statement and its values, cut where it is long."""
    return _cut(_line(error))


def server_words(error: BaseException) -> str:
    """Return the line of `words` without the name that the driver gives to the error."""
    return _cut(_line(error).rpartition(">: ")[2])


def _line(error: BaseException) -> str:
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return str(cause).strip().partition("\n")[0] or type(cause).__name__


def _cut(line: str) -> str:
    """The line, which a trigger may have made as long as it likes; of a long one the beginning, its length and hash."""
    body = line.encode(errors="surrogatepass")
    if len(body) <= LONGEST_WORDS:
        return line
    digest = hashlib.md5(body, usedforsecurity=False).hexdigest()
    return f"{line[:_KEPT]}… [{len(body)} bytes, md5 {digest}]"


def _passes(state: str | None) -> bool:
    return state is not None and (state in _STATES or state.startswith(_CLASSES))
