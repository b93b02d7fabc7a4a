"""What stands before PostgreSQL is found out, and all that we send works there: tried on a real pgbouncer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from deploy import stack
from shared import database, errors, pooler
from shared.settings import Database, RowSecurity
from sweeper import app_access
from tests.pgbouncer import PgBouncer, pgbouncer


def settings(url: str, *, seconds: float = 10.0) -> Database:
    return Database(url=SecretStr(url), connect_timeout_seconds=seconds)


@pytest.fixture(scope="module")
async def transactions(postgres: stack.Databases) -> AsyncIterator[PgBouncer]:
    async with pgbouncer(postgres.admin_url, mode="transaction", pool_size=2) as running:
        yield running


@asynccontextmanager
async def app(url: str) -> AsyncIterator[AsyncEngine]:
    async with database.connect(settings(url), section="app_database") as engine:
        yield engine


async def test_a_connection_of_our_own_is_direct(database: str) -> None:
    assert await pooler.detect(settings(database), section="database") is pooler.Pooling.DIRECT


@pytest.mark.parametrize("mode", ["transaction", "session"])
async def test_the_mode_of_a_pooler_is_found_out(mode: str, postgres: stack.Databases, database: str) -> None:
    async with pgbouncer(postgres.admin_url, mode=mode) as running:
        found = await pooler.detect(settings(running.url(database)), section="database")
    assert found is pooler.Pooling(mode)


async def test_a_pooler_that_deals_in_turns_is_found_out(postgres: stack.Databases, database: str) -> None:
    """Several backends are idle there, and the next one to be dealt is never the last one used."""
    async with pgbouncer(postgres.admin_url, options={"server_round_robin": 1}) as running:
        url = running.url(database)
        crowd = [await asyncpg.connect(url, statement_cache_size=0) for _ in range(4)]
        begun = [one.transaction() for one in crowd]
        for one in begun:
            await one.start()
        for one in begun:
            await one.rollback()
        found = await pooler.detect(settings(url), section="database")
        for one in crowd:
            await one.close()
    assert found is pooler.Pooling.TRANSACTION


async def test_a_transaction_pooler_with_one_backend_is_found_out(postgres: stack.Databases, database: str) -> None:
    async with pgbouncer(postgres.admin_url, pool_size=1) as running:
        assert await pooler.detect(settings(running.url(database)), section="database") is pooler.Pooling.TRANSACTION


async def test_a_session_pooler_without_a_backend_left_is_not_guessed_at(
    postgres: stack.Databases, database: str
) -> None:
    async with pgbouncer(postgres.admin_url, mode="session", pool_size=1) as running:
        found = await pooler.detect(settings(running.url(database), seconds=2), section="database")
    assert found is pooler.Pooling.UNKNOWN


async def test_nobody_answers(database: str) -> None:
    away = settings("postgresql://u:s3cret-pw@127.0.0.1:1/x")
    with pytest.raises(errors.DatabaseUnreachable, match=r"APP_DATABASE__URL: PostgreSQL at 127\.0\.0\.1:1") as caught:
        await pooler.detect(away, section="app_database")
    assert "s3cret-pw" not in str(caught.value)


async def test_locks_of_sessions_are_refused_behind_a_transaction_pooler(
    transactions: PgBouncer, database: str
) -> None:
    await pooler.require_sessions(settings(database), section="database")
    with pytest.raises(
        errors.SettingError, match="CHAINTRUE_DATABASE__URL leads through a transaction pooler"
    ) as caught:
        await pooler.require_sessions(settings(transactions.url(database)), section="database")
    assert "session mode" in (caught.value.cure or "")


async def test_many_at_once_through_two_backends(transactions: PgBouncer, database: str) -> None:
    """Engines, pings, parameters of every kind, arrays, cursors and COPY, with more clients than backends."""
    connection = await asyncpg.connect(database)
    await connection.execute("CREATE TYPE mood AS ENUM ('good', 'bad')")
    await connection.execute(
        "CREATE TABLE thing (id int PRIMARY KEY, body jsonb, amount numeric, mood mood, tags text[])"
    )
    await connection.execute(
        "INSERT INTO thing SELECT n, jsonb_build_object('n', n), n / 7.0, 'good', ARRAY[n::text] FROM generate_series(1, 500) n"
    )
    await connection.close()

    async def client(number: int) -> None:
        async with app(transactions.url(database)) as engine:
            for turn in range(10):
                async with app_access.transaction(engine) as one:
                    found = await one.execute(
                        text("SELECT id, body, amount, mood, tags FROM thing WHERE id = ANY(:ids) ORDER BY id"),
                        {"ids": [number, number + turn + 10]},
                    )
                    assert [row.body["n"] for row in found] == [number, number + turn + 10]
                    lines: list[bytes] = []

                    async def take(data: bytes, into: list[bytes] = lines) -> None:
                        into.append(data)

                    await app_access_copy(one, number, take)
                    assert b"".join(lines).decode().split() == [str(number + 1)]
                async with app_access.transaction(engine) as one, one.stream(text("SELECT id FROM thing")) as rows:
                    assert len([row async for row in rows]) == 500
                async with app_access.writing(engine) as one:
                    await one.execute(text("UPDATE thing SET amount = amount + 1 WHERE id = :id"), {"id": number})

    await asyncio.gather(*(client(number) for number in range(1, 7)))
    connection = await asyncpg.connect(database)
    assert await connection.fetchval("SELECT count(*) FROM thing WHERE id < 7 AND amount > 10") == 6
    await connection.close()


async def app_access_copy(connection: object, number: int, take: object) -> None:
    driver = database.raw(connection)  # type: ignore[arg-type]  # as the scan of digests takes it
    await driver.copy_from_query("SELECT id FROM thing WHERE id = $1", number + 1, output=take)


async def test_what_others_left_in_a_session_changes_no_statement(transactions: PgBouncer, database: str) -> None:
    url = transactions.url(database)
    for _ in range(2):
        other = await asyncpg.connect(url, statement_cache_size=0)
        await other.execute("SET timezone = 'Asia/Kathmandu'; SET datestyle = 'German'; SET search_path = pg_catalog")
        await other.execute("SET default_transaction_read_only = on")
        await other.close()
    async with app(url) as engine, app_access.transaction(engine) as one:
        said = await one.execute(
            text("SELECT to_timestamp(0)::text, current_setting('search_path'), current_setting('lock_timeout')")
        )
        assert said.one() == ("1970-01-01 00:00:00+00", '"$user", public', "5s")
    async with app(url) as engine, app_access.writing(engine) as one:
        await one.execute(text("CREATE TABLE written (n int)"))


@pytest.mark.parametrize("through", ["direct", "pooler"])
async def test_a_transaction_that_reads_cannot_write(through: str, transactions: PgBouncer, database: str) -> None:
    async with app(database if through == "direct" else transactions.url(database)) as engine:
        async with app_access.writing(engine) as one:
            await one.execute(text("CREATE TABLE thing (n int)"))
        with pytest.raises(DBAPIError, match="read-only transaction"):
            async with app_access.transaction(engine) as one:
                await one.execute(text("INSERT INTO thing VALUES (1)"))
        async with app_access.writing(engine) as one:
            await one.execute(text("INSERT INTO thing VALUES (1)"))


async def test_row_security_is_as_the_engine_was_told(database: str) -> None:
    async with app(database) as engine:
        for security, wanted in ((RowSecurity.BYPASS, "off"), (RowSecurity.POLICIES, "on")):
            async with app_access.transaction(app_access.secured(engine, security)) as one:
                assert (await one.execute(text("SHOW row_security"))).scalar_one() == wanted
        async with app_access.transaction(engine) as one:
            assert (await one.execute(text("SHOW row_security"))).scalar_one() == "off"
