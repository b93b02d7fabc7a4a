"""The schedule on real databases: runs are recorded one after the other, whatever happens to one of them."""

import asyncio
import contextlib
import socket
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger
from sqlalchemy import insert, update
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

import migrations
from deploy import localnet, stack
from deploy.commands import schedule as command
from deploy.demo.app import schema
from shared import database as databases
from shared import errors, metrics, recon_tables
from shared.settings import Network, Rpc
from shared.stepfi.settings import Settings
from sweeper import cron, lock, schedule
from sweeper.report import Extent, Report
from tests.integration.stream_parts import database_settings, until

SECOND = IntervalTrigger(seconds=1, timezone=UTC)
NEVER = cron.trigger("0 0 29 2 *")
WAITS = "another run goes on: this sweep waits"


@dataclass
class Place:
    """A deployment that has indexed nothing yet: each sweep ends at once, incomplete."""

    settings: Settings
    engine: AsyncEngine
    reports: list[Report] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)

    @asynccontextmanager
    async def scheduled(self, times: schedule.Timetable, **sections: Any) -> AsyncIterator[None]:
        """The schedule for the length of the block; it has to end well, and soon."""

        async def report(one: Report) -> None:
            self.reports.append(one)

        async def fail(error: BaseException) -> None:
            self.failures.append(error)

        stop = asyncio.Event()
        settings = self.settings.model_copy(update=sections)
        listeners = command.Listeners(on_report=report, on_failure=fail)
        running = asyncio.create_task(command.run(settings, stop, times=times, listeners=listeners))
        try:
            yield
        finally:
            stop.set()
            async with asyncio.timeout(9.5):
                assert await running == 0

    async def runs(self) -> list[tuple[str, str, str, str | None]]:
        """Mode, extent, status and reason, oldest first."""
        table = recon_tables.runs
        async with self.engine.connect() as connection:
            found = await connection.execute(table.select().order_by(table.c.started_at))
            return [(row.mode, row.extent, row.status, row.reason) for row in found]

    async def has_run(self, *, status: str = "complete", extent: str = "full", ago: timedelta = timedelta()) -> None:
        """Record a run that began so long ago."""
        began = datetime.now(UTC) - ago
        row = {
            "run_id": uuid.uuid4(),
            "mode": "dry",
            "extent": extent,
            "status": status,
            "started_at": began,
            "finished_at": began + timedelta(seconds=1),
        }
        async with self.engine.begin() as connection:
            await connection.execute(insert(recon_tables.runs).values(row))

    async def completes(self) -> None:
        """Record that the run that goes on has come to its end."""
        table = recon_tables.runs
        async with self.engine.begin() as connection:
            await connection.execute(update(table).where(table.c.status == "running").values(status="complete"))

    async def until_reports(self, count: int) -> None:
        async def enough() -> bool:
            return len(self.reports) >= count

        await until(enough)

    async def until_failures(self, count: int) -> None:
        async def enough() -> bool:
            return len(self.failures) >= count

        await until(enough)


@pytest.fixture(scope="module")
async def net() -> AsyncIterator[localnet.Localnet]:
    async with localnet.serve() as net:
        yield net


@pytest.fixture
async def place(postgres: stack.Databases, net: localnet.Localnet) -> AsyncIterator[Place]:
    name = uuid.uuid4().hex
    own, app = await postgres.create_database(f"own_{name}"), await postgres.create_database(f"app_{name}")
    await schema.create(app)
    settings = Settings(
        network=Network(passphrase=net.history["networkPassphrase"]),
        rpc=Rpc(urls=(net.url,), requests_per_second=500, max_attempts=1),
        database=database_settings(own),
        app_database=database_settings(app),
    )
    async with databases.connect(settings.database, section="database") as engine:
        await migrations.upgrade(engine)
        yield Place(settings, engine)
    for kind in ("own", "app"):
        await postgres.drop_database(f"{kind}_{name}")


async def test_sweeps_come_again_and_again_and_each_is_recorded(place: Place) -> None:
    await place.has_run()
    async with place.scheduled({Extent.FULL: SECOND}):
        await place.until_reports(2)
    recorded = await place.runs()
    assert len(recorded) >= 3
    assert {one[:2] for one in recorded[1:3]} == {("dry", "full")}
    assert place.failures == []


async def test_the_schedule_may_repair(place: Place) -> None:
    await place.has_run()  # dry: it does not stand for one that repairs
    repairing = place.settings.schedule.model_copy(update={"repair": True})
    async with place.scheduled({Extent.FULL: NEVER}, schedule=repairing):
        await place.until_reports(1)
    assert (await place.runs())[1][:2] == ("repair", "full")


async def test_a_full_sweep_that_was_missed_is_made_at_the_start(place: Place) -> None:
    await place.has_run(ago=timedelta(days=3))
    with capture_logs() as logs:
        async with place.scheduled({Extent.FULL: cron.trigger("0 3 * * *"), Extent.CHANGED: NEVER}):
            await place.until_reports(1)
    assert [one[:2] for one in await place.runs()] == [("dry", "full")] * 2
    (told,) = [line for line in logs if line["event"] == "the schedule is set"]
    assert set(told["next"]) == {"full", "changed"}
    assert told["missed"] is not None
    gauge = metrics.schedule_next_run_timestamp_seconds.labels("full")
    assert gauge._value.get() == datetime.fromisoformat(told["next"]["full"]).timestamp()


async def test_nothing_is_made_up_for_where_nothing_was_missed(place: Place) -> None:
    await place.has_run()
    with capture_logs() as logs:
        async with place.scheduled({Extent.FULL: NEVER, Extent.CHANGED: SECOND}):
            await place.until_reports(1)
    assert [line["missed"] for line in logs if line["event"] == "the schedule is set"] == [None]


async def test_the_last_success_is_known_from_the_record(place: Place) -> None:
    await place.has_run(ago=timedelta(hours=5))
    metrics.sweep_last_success_timestamp_seconds.set(0)
    async with place.scheduled({Extent.FULL: NEVER}):
        pass
    async with place.engine.connect() as connection:
        ended = (await connection.execute(recon_tables.runs.select())).one().finished_at
    assert metrics.sweep_last_success_timestamp_seconds._value.get() == pytest.approx(ended.timestamp())


async def test_a_sweep_that_another_process_has_made_is_left_out(place: Place) -> None:
    due = datetime.now(UTC) - timedelta(minutes=1)
    await place.has_run(ago=timedelta(seconds=30))  # by a replica whose clock is ahead of ours
    with capture_logs() as logs:
        async with place.scheduled({Extent.FULL: DateTrigger(due), Extent.CHANGED: NEVER}):
            await until_logged(logs, "another process has made this sweep")
    assert len(await place.runs()) == 1


async def test_a_sweep_that_another_process_was_making_at_the_start_is_not_made_once_more(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "RETRY", timedelta(seconds=3))
    due = datetime.now(UTC) - timedelta(seconds=1)
    await place.has_run(ago=timedelta(days=1))
    await place.has_run(status="running", ago=timedelta(seconds=1))
    with capture_logs() as logs:
        async with place.scheduled({Extent.FULL: IntervalTrigger(days=1, start_date=due, timezone=UTC)}):
            await until_logged(logs, "the schedule is set")
            await place.completes()
            await until_logged(logs, "another process has made this sweep")
    assert [one[2] for one in await place.runs()] == ["complete", "complete"]


async def test_while_another_run_goes_on_sweeps_of_what_changed_are_left_out_quietly(place: Place) -> None:
    await place.has_run()
    failed = metrics.sweeps_total.labels("dry", "failed")
    before = failed._value.get()
    with capture_logs() as logs:
        async with place.scheduled({Extent.CHANGED: SECOND}):
            async with lock.alone(place.settings.database):
                await until_logged(logs, "another run goes on: this sweep is left out")
                assert len(await place.runs()) == 1
            await place.until_reports(1)
    assert (place.failures, failed._value.get()) == ([], before)
    assert all(line["log_level"] != "error" for line in logs)


class TestAFullSweepWaits:
    """Another run goes on when it comes due."""

    @pytest.fixture(autouse=True)
    def quickly(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(schedule, "AGAIN", timedelta(milliseconds=300))

    @pytest.fixture
    async def other(self, place: Place) -> AsyncIterator[contextlib.AsyncExitStack]:
        """The run of another process, until it is closed."""
        await place.has_run(ago=timedelta(hours=1))
        async with contextlib.AsyncExitStack() as other:
            await other.enter_async_context(lock.alone(place.settings.database))
            yield other

    async def test_and_is_made_after_it(self, place: Place, other: contextlib.AsyncExitStack) -> None:
        failed = metrics.sweeps_total.labels("dry", "failed")
        before = failed._value.get()
        with capture_logs() as logs:
            async with place.scheduled({Extent.FULL: once()}):
                await until_logged(logs, WAITS, count=3)
                assert len(await place.runs()) == 1
                await other.aclose()
                await place.until_reports(1)
        assert [one[:2] for one in await place.runs()] == [("dry", "full")] * 2
        assert (place.failures, failed._value.get()) == ([], before)
        loudness = [line["log_level"] for line in logs if line["event"] in (WAITS, "a sweep begins")]
        assert loudness[:2] == ["info", "info"]
        assert set(loudness[2:]) == {"debug"}

    async def test_and_is_left_out_where_the_other_run_was_one(
        self, place: Place, other: contextlib.AsyncExitStack
    ) -> None:
        with capture_logs() as logs:
            async with place.scheduled({Extent.FULL: once()}):
                await until_logged(logs, WAITS)
                await place.has_run()  # it began since this one came due
                await other.aclose()
                await until_logged(logs, "another process has made this sweep")
        assert len(await place.runs()) == 2

    @pytest.mark.usefixtures("other")
    async def test_and_is_given_up_aloud_once_the_next_one_is_due(self, place: Place) -> None:
        with capture_logs() as logs:
            async with place.scheduled({Extent.FULL: SECOND}):
                await until_logged(logs, "a full sweep was not made: other runs went on until the next one was due")
        assert len(await place.runs()) == 1


def once() -> DateTrigger:
    return DateTrigger(datetime.now(UTC))


async def test_what_goes_wrong_is_told_counted_and_does_not_end_the_schedule(
    place: Place, postgres: stack.Databases
) -> None:
    await place.has_run()
    name = f"late_{uuid.uuid4().hex}"
    failed = metrics.sweeps_total.labels("dry", "failed")
    before = failed._value.get()
    with capture_logs() as logs:
        missing = database_settings(postgres.url(name))
        async with place.scheduled({Extent.FULL: SECOND}, app_database=missing):
            await place.until_failures(2)
            await schema.create(await postgres.create_database(name))
            await place.until_reports(1)
    await postgres.drop_database(name)
    assert {type(error) for error in place.failures} == {errors.DatabaseUnreachable}
    assert failed._value.get() - before == len(place.failures)
    told = [line["error"] for line in logs if line["event"] == "the sweep has failed"]
    assert len(told) == len(place.failures)
    assert all("CHAINTRUE_APP_DATABASE__URL" in words and "Cure: " in words for words in told)
    assert ("dry", "full", "failed") in {one[:3] for one in await place.runs()}


async def test_a_listener_that_fails_does_not_end_the_schedule(place: Place) -> None:
    stop, told = asyncio.Event(), []

    async def report(one: Report) -> None:
        told.append(one)
        raise OSError("the webhook is gone")

    listeners = command.Listeners(on_report=report)
    with capture_logs() as logs:
        running = asyncio.create_task(
            command.run(place.settings, stop, times={Extent.FULL: SECOND}, listeners=listeners)
        )
        await until_logged(logs, "how the sweep ended could not be told", count=2)
        stop.set()
        assert await running == 0
    assert len(told) >= 2


async def test_a_stop_in_the_middle_of_a_run_is_recorded(place: Place) -> None:
    async with deaf() as url:
        rpc = place.settings.rpc.model_copy(update={"urls": (url,), "timeout_seconds": 60.0})
        async with place.scheduled({Extent.FULL: NEVER}, rpc=rpc):

            async def goes_on() -> bool:
                return any(one[2] == "running" for one in await place.runs())

            await until(goes_on)
    assert await place.runs() == [("dry", "full", "failed", "it was stopped")]
    async with lock.alone(place.settings.database):
        pass  # nobody has it any more


async def test_a_database_that_is_not_migrated_ends_it_at_the_start(place: Place, database: str) -> None:
    settings = place.settings.model_copy(update={"database": database_settings(database)})
    with pytest.raises(errors.NotMigrated):
        await command.run(settings, asyncio.Event())


async def until_logged(logs: list[Any], event: str, *, count: int = 1) -> None:
    async def logged() -> bool:
        return [line["event"] for line in logs].count(event) >= count

    await until(logged)


@asynccontextmanager
async def deaf() -> AsyncIterator[str]:
    """The address of a node that takes connections and never answers."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
