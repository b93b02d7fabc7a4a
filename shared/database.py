"""Connections to PostgreSQL: engines from settings, and errors in words that name the setting.

Sessions run in UTC and with a statement time-out, so that nothing waits for ever (I10).
"""

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import asyncpg
from sqlalchemy import URL, event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from shared import errors, pg_connection, pg_times, tls
from shared.pg_address import Address
from shared.settings import Database, environment_name

STATEMENT_TIMEOUT_SECONDS = 120
CLOSE_SECONDS = 5.0
_OF_THE_DIALECT = ("async_creator_fn", "prepared_statement_cache_size", "prepared_statement_name_func")
"""Arguments that SQLAlchemy takes out before asyncpg sees them."""
MIGRATION_LOCK = 0x636861696E
"""The advisory lock of whoever changes the tables themselves: two of them at once would work on what the other one moves."""


@asynccontextmanager
async def connect(
    settings: Database,
    *,
    section: str,
    statement_seconds: float = STATEMENT_TIMEOUT_SECONDS,
    session: Mapping[str, str] | None = None,
) -> AsyncIterator[AsyncEngine]:
    """An engine for the database of the settings' `section` (`database` or `app_database`), tried before it is handed out.

    Works through a transaction pooler too: no prepared statement outlives its transaction, no session state is relied on.
    But for `session`, PostgreSQL's settings of every connection, which need sessions of our own.
    Raises DatabaseUnreachable, which names the setting and never the password.
    """
    engine = create_async_engine(
        _named(settings.address),
        pool_size=4,
        max_overflow=4,
        pool_timeout=settings.connect_seconds,
        pool_pre_ping=True,  # a connection that a restarted server forgot is made anew, not handed out
        connect_args=_connect_arguments(settings) | {"command_timeout": statement_seconds},
    )
    _understand_times(engine)
    if session:
        _set_in_each(engine, session)
    try:
        await check(engine, settings, section=section)
        yield engine
    finally:
        await engine.dispose()


def single(settings: Database) -> AsyncEngine:
    """An engine without a pool: each connection is its own, for locks that live as long as their session."""
    return create_async_engine(_named(settings.address), poolclass=NullPool, connect_args=_connect_arguments(settings))


def _named(address: Address) -> URL:
    """Return what the engine is called. It connects by the parts in `_connect_arguments`, which take the place of these."""
    hosts = ",".join(host for host, _ in address.hosts)
    return URL.create("postgresql+asyncpg", host=hosts, port=address.hosts[0][1], database=address.database)


def _understand_times(engine: AsyncEngine) -> None:
    @event.listens_for(engine.sync_engine, "connect")
    def understand(connection: Any, _record: object) -> None:
        connection.run_async(pg_times.understand)


def _set_in_each(engine: AsyncEngine, session: Mapping[str, str]) -> None:
    """Set them in every new connection, outside of a transaction: they stay."""
    chosen = ", ".join(f"set_config('{name}', ${number}, false)" for number, name in enumerate(session, start=1))

    @event.listens_for(engine.sync_engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        connection.run_async(lambda driver: driver.execute(f"SELECT {chosen}", *session.values()))


def _connect_arguments(settings: Database) -> dict[str, Any]:
    """Return every part for the driver, so that it reads no text of an address and no `PGSSLMODE` of the environment."""
    address = settings.address
    options = address.options
    return {
        "async_creator_fn": partial(pg_connection.open_connection, address),
        "host": [host for host, _ in address.hosts],
        "port": [port for _, port in address.hosts],
        "user": address.user,
        "password": address.password,  # None: PGPASSWORD or ~/.pgpass, as with libpq
        "database": address.database,
        "ssl": pg_connection.encryption(address),
        "direct_tls": options.tls.direct,
        "target_session_attrs": options.target_session_attrs,
        "timeout": settings.connect_seconds,
        "command_timeout": STATEMENT_TIMEOUT_SECONDS,
        "statement_cache_size": 0,
        "prepared_statement_cache_size": 0,
        "prepared_statement_name_func": lambda: "",  # unnamed: a name would outlive its transaction behind a pooler
        "server_settings": {"application_name": "chaintrue", **options.server_settings, "timezone": "UTC"},
    }


@asynccontextmanager
async def plain(settings: Database) -> AsyncIterator[Any]:
    """One asyncpg connection of its own, without SQLAlchemy. Behind a transaction pooler only its transactions hang together."""
    arguments = _connect_arguments(settings)
    for name in _OF_THE_DIALECT:
        del arguments[name]
    connection = await pg_connection.open_connection(settings.address, **arguments)
    try:
        yield connection
    finally:
        await connection.close(timeout=CLOSE_SECONDS)


async def check(engine: AsyncEngine, settings: Database, *, section: str) -> None:
    """Connect once; raises DatabaseUnreachable in the words of the setting."""
    try:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
    except (DBAPIError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        raise unreachable(error, settings, section=section) from None


def unreachable(error: BaseException, settings: Database, *, section: str) -> errors.DatabaseUnreachable:
    """The error for what kept us from the database of that section, in the words of its setting."""
    variable = environment_name(section, "url")
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return errors.DatabaseUnreachable(
        f"{variable}: PostgreSQL at {settings.address.place} refuses or does not answer ({_words(cause)})",
        cure=_cure(variable, cause),
    )


def _words(cause: BaseException) -> str:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {tls.distrust(cause)}"
    return str(cause).strip().partition("\n")[0] or type(cause).__name__


_OPTIONS = "correct the options behind the ? in {}: sslrootcert, sslcert and sslkey name files in PEM form"
_CURES = (
    ("target_session_attrs", "correct target_session_attrs or the hosts in {}"),
    ("not encrypted", "let the host and port in {} be those of a server or pooler with TLS"),
    ("rejected ssl", "switch TLS on in PostgreSQL; or take sslmode out of {}, if the way there is safe without"),
    ("no encryption", "PostgreSQL lets nobody in without TLS: add ?sslmode=verify-full&sslrootcert=FILE to {}"),
    ("ssl off", "PostgreSQL lets nobody in without TLS: add ?sslmode=verify-full&sslrootcert=FILE to {}"),
    ("certificate", _OPTIONS),
    ("sslmode", _OPTIONS),
    ("unrecognized configuration parameter", _OPTIONS),
    ("password", "correct the user or the password in {}"),
    ("role", "correct the user or the password in {}"),
    ("does not exist", "create that database, or correct its name in {}"),
)
"""Words of PostgreSQL or the driver, in lower case, and the cure; the first that fits."""


def _cure(variable: str, cause: BaseException) -> str:
    if isinstance(cause, ssl.SSLError):
        return _cure_of_tls(variable, cause)
    said = str(cause).lower()
    cures = (cure.format(variable) for words, cure in _CURES if words in said)
    return next(cures, f"start PostgreSQL there, or correct the host and port in {variable}")


def _cure_of_tls(variable: str, cause: ssl.SSLError) -> str:
    if not isinstance(cause, ssl.SSLCertVerificationError):
        return f"let sslcert and sslkey in {variable} name a certificate that PostgreSQL trusts, if it asks for one"
    if cause.verify_code in tls.HOSTNAME_MISMATCH:
        return f"let {variable} name the host as its certificate does"
    if cause.verify_code == tls.EXPIRED:
        return "renew the certificate of PostgreSQL"
    return f"let sslrootcert in {variable} name the PEM file of the authority that signed PostgreSQL's certificate"


def raw(connection: AsyncConnection) -> Any:
    """The asyncpg connection beneath, for COPY and for arrays; it shares the transaction that is open."""
    fairy = connection.sync_connection.connection  # type: ignore[union-attr]  # an entered AsyncConnection always has one
    return fairy.driver_connection
