"""What went wrong, in one message for people. Pure: whatever ends a command passes through here."""

from collections.abc import Iterator

import asyncpg
from sqlalchemy.exc import DBAPIError

from deploy.commands.running import DEBUG
from shared import errors, transient

_INSUFFICIENT_PRIVILEGE = "42501"


def explain(error: BaseException) -> str | None:
    """The message, with its cure; None for an error that is a mistake of chaintrue's own.

    Of several errors at once the first that has words of its own is told.
    """
    return next((words for leaf in _leaves(error) if (words := _words(leaf)) is not None), None)


def confess(error: BaseException) -> str:
    """The message for an error that nobody foresaw."""
    leaf = next(_leaves(error))
    said = str(leaf).strip().partition("\n")[0]
    name = f"{type(leaf).__name__}: {said}" if said else type(leaf).__name__
    return f"unexpected {name}\n  This is a bug in chaintrue: please report it with what {DEBUG}=1 shows in addition."


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _words(error: BaseException) -> str | None:
    if isinstance(error, errors.ChaintrueError):
        return str(error)
    if isinstance(error, DBAPIError | asyncpg.PostgresError | asyncpg.InterfaceError):
        return _words_of_database(error)
    if isinstance(error, TimeoutError):
        return "something that was waited for did not answer in time\n  Cure: look at the logs, and run it again"
    if isinstance(error, OSError):
        return str(error)  # the file, the disk, the network: the system's own words name it
    return None


def _words_of_database(error: BaseException) -> str | None:
    said = transient.words(error).rpartition(">: ")[
        2
    ]  # SQLAlchemy puts the class of the driver's error before its words
    state = getattr(error.orig if isinstance(error, DBAPIError) else error, "sqlstate", None)
    if state == _INSUFFICIENT_PRIVILEGE:
        return (
            f"a role in PostgreSQL lacks a right: {said}\n  Cure: grant it to the role of the address in the settings"
        )
    if transient.is_transient(error):
        return f"a connection to PostgreSQL failed: {said}\n  Cure: run it again once PostgreSQL is well"
    return None
