"""One active indexer: PostgreSQL's session lock between processes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import text

from shared import database as databases
from shared import errors, metrics
from shared.settings import Database
from streams import leadership
from tests.integration import stream_parts as parts

TOPIC = "leadership"


class Work:
    """What a leader does: it counts how often it leads."""

    def __init__(self) -> None:
        self.begun = 0
        self.active = False
        self.error: errors.ChaintrueError | None = None

    async def __call__(self) -> None:
        self.begun += 1
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        self.active = True
        try:
            await asyncio.Event().wait()
        finally:
            self.active = False


@pytest.fixture
def settings(database: str) -> Database:
    return parts.database_settings(database)


@asynccontextmanager
async def leading(work: Callable[[], Awaitable[None]], settings: Database, *, scope: str = "s") -> AsyncIterator[None]:
    task = asyncio.create_task(leadership.lead(work, settings=settings, topic=TOPIC, scope=scope))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task}, timeout=10)
        assert task.done()


async def is_active(work: Work) -> bool:
    return work.active


async def end_sessions_of_lock_holders(settings: Database) -> None:
    """As a fail-over does, or a process that dies."""
    engine = databases.single(settings)
    async with engine.connect() as connection:
        await connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            )
        )
    await engine.dispose()


async def test_the_second_waits_and_takes_over_when_the_first_ends(settings: Database):
    first, second = Work(), Work()
    async with asyncio.TaskGroup() as group:
        leader = group.create_task(leadership.lead(first, settings=settings, topic=TOPIC, scope="s"))
        await parts.until(lambda: is_active(first))
        async with leading(second, settings):
            await asyncio.sleep(2 * leadership.POLL_SECONDS)  # time in which a broken lock would let the second in
            assert not second.active
            leader.cancel()
            await parts.until(lambda: is_active(second), seconds=5)
            assert not first.active


async def test_other_scopes_do_not_wait(settings: Database):
    first, second = Work(), Work()
    async with leading(first, settings, scope="a"), leading(second, settings, scope="b"):
        await parts.until(lambda: is_active(first))
        await parts.until(lambda: is_active(second))


async def test_a_holder_that_lost_its_session_stops_and_tries_anew(settings: Database):
    work = Work()
    async with leading(work, settings):
        await parts.until(lambda: is_active(work))
        await end_sessions_of_lock_holders(settings)

        async def stopped() -> bool:
            return work.begun == 2 or not work.active

        await parts.until(stopped, seconds=leadership.POLL_SECONDS + leadership.ANSWER_SECONDS + 1)

        async def again() -> bool:
            return work.begun == 2 and work.active

        await parts.until(again)
        assert metrics.indexer_active._value.get() == 1
    assert metrics.indexer_active._value.get() == 0


async def test_an_error_that_passes_is_tried_again(settings: Database, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(leadership, "PAUSE_SECONDS", 0.05)
    work = Work()
    work.error = errors.KafkaUnreachable("gone for a moment")
    async with leading(work, settings):
        await parts.until(lambda: is_active(work))
    assert work.begun == 2


async def test_an_error_that_stays_ends_it_and_gives_the_lock_back(settings: Database):
    work, next_one = Work(), Work()
    work.error = errors.SettingError("wrong")
    with pytest.raises(errors.SettingError, match="wrong"):
        await leadership.lead(work, settings=settings, topic=TOPIC, scope="s")
    async with leading(next_one, settings):
        await parts.until(lambda: is_active(next_one), seconds=5)
