"""The lock of the runs behind a real pgbouncer: a session is what it needs."""

import asyncio

import pytest
from sqlalchemy import text

from shared import errors, session_lock
from sweeper import lock
from tests.integration.stream_parts import database_settings
from tests.integration.test_lock import waiting
from tests.pgbouncer import pgbouncer


@pytest.mark.parametrize("pool_size", [1, 2, 5])
async def test_a_transaction_pooler_is_refused_before_anything_is_locked(database: str, pool_size: int) -> None:
    async with pgbouncer(database, mode="transaction", pool_size=pool_size) as pooler:
        for _ in range(3):
            with pytest.raises(errors.SettingError, match="CHAINTRUE_DATABASE__URL leads through a transaction pooler"):
                async with lock.alone(database_settings(pooler.url(database))):
                    pass
        async with session_lock.session(database_settings(database)) as connection:
            assert not await session_lock.is_held(connection, lock.LOCK)


async def test_a_session_pooler_keeps_two_runs_apart(database: str) -> None:
    async with pgbouncer(database, mode="session", pool_size=5) as pooler:
        through, direct = database_settings(pooler.url(database)), database_settings(database)
        async with lock.alone(through) as held, held.watched():
            await asyncio.sleep(2 * lock.HEARTBEAT_SECONDS)
            await held.ensure()
            for settings in (through, direct):
                with pytest.raises(errors.AlreadyRunning):
                    async with lock.alone(settings):
                        pass
        async with lock.alone(direct) as held:
            await held.ensure()


async def test_a_session_pooler_that_ends_takes_the_lock_away(database: str) -> None:
    async with pgbouncer(database, mode="session", pool_size=5) as pooler:
        with pytest.raises(errors.LockLost):
            await waiting(database_settings(pooler.url(database)), pooler.stop)
    async with session_lock.session(database_settings(database)) as connection:
        await connection.execute(text("SELECT 1"))
        async with asyncio.timeout(30):
            while await session_lock.is_held(connection, lock.LOCK):  # noqa: ASYNC110 - of another process
                await asyncio.sleep(0.1)
