"""Which errors of PostgreSQL pass."""

import asyncpg
import pytest
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, ProgrammingError

from shared import transient


class _Adapted(Exception):
    """As SQLAlchemy's asyncpg dialect hands on what the driver raised."""

    def __init__(self, sqlstate: str | None) -> None:
        self.sqlstate = sqlstate
        super().__init__("words\nmore words")


def wrapped(sqlstate: str | None, kind: type[DBAPIError] = DBAPIError, *, invalidated: bool = False) -> DBAPIError:
    return kind("SELECT secret", {"a": "secret"}, _Adapted(sqlstate), connection_invalidated=invalidated)


@pytest.mark.parametrize("state", ["40001", "40P01", "08006", "57P01", "53300", "25006"])
def test_a_lost_connection_a_restart_or_a_deadlock_passes(state: str):
    assert transient.is_transient(wrapped(state))


@pytest.mark.parametrize("state", ["42P01", "23505", "42501", "22003"])
def test_what_was_asked_wrongly_does_not_pass(state: str):
    assert not transient.is_transient(wrapped(state, ProgrammingError))


def test_an_invalidated_connection_passes():
    assert transient.is_transient(wrapped("42P01", invalidated=True))


@pytest.mark.parametrize("kind", [InterfaceError, OperationalError])
def test_errors_of_the_driver_without_a_state_pass(kind: type[DBAPIError]):
    assert transient.is_transient(wrapped(None, kind))


@pytest.mark.parametrize(
    "error", [ConnectionResetError(), TimeoutError(), asyncpg.InterfaceError("closed"), asyncpg.DeadlockDetectedError()]
)
def test_bare_errors_pass(error: Exception):
    assert transient.is_transient(error)


@pytest.mark.parametrize("error", [ValueError(), asyncpg.UndefinedTableError(), KeyError("x")])
def test_other_errors_do_not(error: Exception):
    assert not transient.is_transient(error)


def test_the_words_are_one_line_without_statement_and_values():
    assert transient.words(wrapped("08006")) == "words"
    assert transient.words(TimeoutError()) == "TimeoutError"
