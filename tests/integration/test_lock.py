"""One run at a time: the lock between processes, and what becomes of a run whose connection is lost."""

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest

import migrations
from deploy import stack
from shared import database as databases
from shared import errors, session_lock
from shared.settings import Database, EngineSettings, Network, Rpc
from sweeper import lock, records, runs, session
from sweeper.report import Extent, Mode, Report, RunStatus
from tests.integration.stream_parts import database_settings

LOST_SECONDS = 60
_HOLDERS = (
    "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


@pytest.fixture
def settings(database: str) -> Database:
    return database_settings(database)


async def asked(url: str, query: str) -> list[tuple[object, ...]]:
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(query)]
    finally:
        await connection.close()


async def end_holders(url: str) -> None:
    """As a fail-over does."""
    ended = await asked(url, f"SELECT pg_terminate_backend(pid) FROM ({_HOLDERS}) AS holders")
    assert ended == [(True,)]


async def free(settings: Database) -> bool:
    try:
        async with lock.alone(settings):
            return True
    except errors.AlreadyRunning:
        return False


async def waiting(settings: Database, happens: Callable[[], Awaitable[None]]) -> None:
    """A run that is in the middle of something long when it happens."""
    async with asyncio.timeout(LOST_SECONDS), lock.alone(settings) as held, held.watched():
        await happens()
        await asyncio.Event().wait()


def failing(error: type[BaseException]) -> Callable[[], Awaitable[None]]:
    async def fail() -> None:
        raise error

    return fail


class TestAlone:
    async def test_the_second_is_refused_and_comes_in_as_soon_as_the_first_has_ended(self, settings: Database) -> None:
        for _ in range(10):  # without a pause: the lock is given back, not left to the end of the session
            async with lock.alone(settings) as held:
                await held.ensure()
                assert not await free(settings)
        assert await free(settings)

    async def test_it_is_given_back_when_the_run_ends_by_an_error(self, settings: Database) -> None:
        with pytest.raises(LookupError):
            await waiting(settings, failing(LookupError))
        assert await free(settings)

    async def test_an_error_of_the_block_that_looks_like_ours_stays_its_own(self, settings: Database) -> None:
        with pytest.raises(TimeoutError):
            await waiting(settings, failing(TimeoutError))
        with pytest.raises(asyncio.CancelledError):
            await waiting(settings, failing(asyncio.CancelledError))

    async def test_a_block_that_waits_is_stopped_when_the_session_is_ended(
        self, settings: Database, database: str
    ) -> None:
        with pytest.raises(errors.LockLost) as raised:
            await waiting(settings, lambda: end_holders(database))
        assert "run it again" in (raised.value.cure or "")
        assert await free(settings)

    async def test_a_lost_lock_stays_lost(self, settings: Database, database: str) -> None:
        async with lock.alone(settings) as held:
            await end_holders(database)
            for _ in range(3):
                with pytest.raises(errors.LockLost):
                    await held.ensure()
            assert await free(settings)

    async def test_a_lock_that_somebody_gave_back_is_lost(self, settings: Database) -> None:
        async with lock.alone(settings) as held:
            await held.release()  # the connection is well, and answers
            with pytest.raises(errors.LockLost):
                await held.ensure()

    async def test_heartbeat_and_run_may_ask_at_once(self, settings: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lock, "HEARTBEAT_SECONDS", 0.001)
        async with lock.alone(settings) as held, held.watched():
            await asyncio.gather(*(held.ensure() for _ in range(50)))
            await asyncio.sleep(0.1)
            await held.ensure()
        assert await free(settings)

    async def test_a_server_that_restarts_takes_the_lock_away(self) -> None:
        async with stack.postgres(fsync=False) as server:
            settings = database_settings(await server.create_database("own"))

            async def restart() -> None:
                await server.stop()
                await server.start()
                assert await free(settings)  # another one may have it, before we know

            with pytest.raises(errors.LockLost):
                await waiting(settings, restart)

    async def test_a_network_that_is_cut_is_noticed(
        self, settings: Database, database: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(session_lock, "ANSWER_SECONDS", 0.5)
        async with Cable.to(database) as cable:

            async def cut() -> None:
                cable.cut()

            with pytest.raises(errors.LockLost):
                await waiting(database_settings(cable.url), cut)
            assert not await free(settings)  # its session stands until the server notices: nobody else begins before

    async def test_the_server_notices_a_vanished_holder_in_bounded_time(self, settings: Database) -> None:
        async with session_lock.session(settings) as connection:
            shown = {}
            for name in ("idle", "interval", "count"):
                row = await connection.exec_driver_sql(f"SHOW tcp_keepalives_{name}")
                shown[name] = int(row.scalar_one())
        assert 0 < session_lock.ANSWER_SECONDS < shown["idle"] + shown["interval"] * shown["count"] <= 60


class Cable:
    """A network between us and a server: once it is cut nothing comes through, and nobody is told."""

    def __init__(self, url: str) -> None:
        self._behind = urlsplit(url)
        self._open = asyncio.Event()
        self._open.set()
        self.url = ""

    @classmethod
    @asynccontextmanager
    async def to(cls, url: str) -> AsyncIterator["Cable"]:
        cable, ends = cls(url), set[asyncio.Task[None]]()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            there = await asyncio.open_connection(cable._behind.hostname, cable._behind.port)
            for source, target in ((reader, there[1]), (there[0], writer)):
                ends.add(asyncio.create_task(cable._hand_on(source, target)))

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        user = cable._behind.netloc.rpartition("@")[0]
        port = server.sockets[0].getsockname()[1]
        cable.url = cable._behind._replace(netloc=f"{user}@127.0.0.1:{port}").geturl()
        try:
            yield cable
        finally:
            server.close()
            for end in ends:
                end.cancel()
            await asyncio.gather(*ends, return_exceptions=True)

    def cut(self) -> None:
        self._open.clear()

    async def _hand_on(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                await self._open.wait()
                target.write(data)
        finally:
            target.close()


@dataclass(frozen=True)
class Place:
    """The two databases of a deployment, and a table of the application's."""

    settings: EngineSettings
    own: str
    app: str

    async def written(self) -> list[tuple[object, ...]]:
        return await asked(self.app, "SELECT replica, batch FROM rows ORDER BY number")

    async def recorded(self) -> list[tuple[str, str | None]]:
        """How `status` tells the runs, oldest first."""
        async with databases.connect(self.settings.database, section="database") as engine:
            return [(ran.status, ran.reason) for ran in reversed(await records.last(engine, limit=10))]


@pytest.fixture
async def place(postgres: stack.Databases) -> AsyncIterator[Place]:
    name = uuid.uuid4().hex
    own, app = await postgres.create_database(f"own_{name}"), await postgres.create_database(f"app_{name}")
    settings = EngineSettings(
        network=Network(passphrase="Test"),
        rpc=Rpc(urls=("http://127.0.0.1:1",), max_attempts=1),
        database=database_settings(own),
        app_database=database_settings(app),
    )
    async with databases.connect(settings.database, section="database") as engine:
        await migrations.upgrade(engine)
    await asked(app, "CREATE TABLE rows (number integer GENERATED ALWAYS AS IDENTITY, batch integer, replica text)")
    yield Place(settings, own, app)
    for kind in ("own", "app"):
        await postgres.drop_database(f"{kind}_{name}")


async def replica(place: Place, name: str, *, between: Callable[[int], Awaitable[None]] | None = None) -> None:
    """A run that writes three batches, as the repairs do: it asks for its lock before each."""
    async with session.opened(place.settings, scope="test", subjects=(), mode=Mode.REPAIR, extent=Extent.FULL) as one:
        for batch in range(3):
            if between is not None:
                await between(batch)
            await one.context.lock.ensure()
            await asked(place.app, f"INSERT INTO rows (batch, replica) VALUES ({batch}, '{name}')")
        await runs.finish(one.context.chain, report(one))


def report(one: session.Session) -> Report:
    return Report(
        run_id=one.run.run_id,
        mode=one.run.mode,
        extent=one.run.extent,
        status=RunStatus.COMPLETE,
        started_at=one.run.started_at,
        finished_at=datetime.now(UTC),
        watermark_ledger=None,
        compared={},
        spot_checks=Counter(),
        findings=[],
    )


class TestRuns:
    async def test_a_run_that_lost_its_lock_writes_nothing_more_and_another_takes_over(self, place: Place) -> None:
        others: list[asyncio.Task[None]] = []

        async def between(batch: int) -> None:
            if batch == 1:
                await end_holders(place.own)
                others.append(asyncio.create_task(replica(place, "B")))  # it goes on when A is stopped meanwhile
                await asyncio.wait(others)

        with pytest.raises(errors.LockLost):
            await replica(place, "A", between=between)
        await others[0]
        assert await place.written() == [("A", 0), ("B", 0), ("B", 1), ("B", 2)]
        # A may have noticed before B began; either way it failed.
        assert [status for status, _ in await place.recorded()] == ["failed", "complete"]

    async def test_a_run_that_lost_its_lock_says_so_when_nobody_has_taken_over(self, place: Place) -> None:
        async def between(batch: int) -> None:
            if batch == 1:
                await end_holders(place.own)
                await asyncio.Event().wait()  # in the middle of something long

        with pytest.raises(errors.LockLost):
            async with asyncio.timeout(LOST_SECONDS):
                await replica(place, "A", between=between)
        assert await place.written() == [("A", 0)]
        ((status, reason),) = await place.recorded()
        assert (status, reason) == ("failed", str(errors.LockLost().args[0]))

    async def test_the_end_of_a_run_that_was_declared_over_is_not_recorded(self, place: Place) -> None:
        async with session.opened(
            place.settings, scope="test", subjects=(), mode=Mode.REPAIR, extent=Extent.FULL
        ) as one:
            await asked(place.own, "UPDATE recon.runs SET status = 'failed', reason = 'by another'")
            with pytest.raises(errors.LockLost):
                await runs.finish(one.context.chain, report(one))
            await runs.fail(one.context.chain, one.run.run_id, reason="too late")
        assert await place.recorded() == [("failed", "by another")]

    async def test_who_has_lost_the_lock_cannot_declare_others_over(self, place: Place) -> None:
        database = place.settings.database
        async with lock.alone(database) as late:
            await end_holders(place.own)
            begun, enough = asyncio.Event(), asyncio.Event()

            async def between(_: int) -> None:
                begun.set()
                await enough.wait()

            async with asyncio.TaskGroup() as group:
                group.create_task(replica(place, "B", between=between))
                await begun.wait()
                with pytest.raises(errors.LockLost):
                    await runs.begin(late, run_id=uuid4(), mode="dry", extent="full", started_at=datetime.now(UTC))
                assert await place.recorded() == [("running", None)]
                enough.set()
        assert await place.recorded() == [("complete", None)]

    async def test_a_run_that_is_stopped_is_recorded_so(self, place: Place) -> None:
        begun = asyncio.Event()

        async def between(_: int) -> None:
            begun.set()
            await asyncio.Event().wait()

        running = asyncio.create_task(replica(place, "A", between=between))
        await begun.wait()
        assert await place.recorded() == [("running", None)]
        running.cancel()
        await asyncio.wait({running})
        assert running.cancelled()
        assert await place.recorded() == [("failed", "it was stopped")]

    async def test_a_run_whose_process_died_is_told_as_interrupted_at_once(self, place: Place) -> None:
        async with lock.alone(place.settings.database) as held:
            await runs.begin(held, run_id=uuid4(), mode="dry", extent="full", started_at=datetime.now(UTC))
            assert await place.recorded() == [("running", None)]
        assert await place.recorded() == [("failed", runs.INTERRUPTED)]  # nobody holds the lock
        await replica(place, "B")
        assert await place.recorded() == [("failed", runs.INTERRUPTED), ("complete", None)]
        assert (await asked(place.own, "SELECT count(*) FROM recon.runs WHERE status = 'running'")) == [(0,)]
