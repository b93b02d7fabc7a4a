"""`chaintrue schedule`: sweeps by the clock until it is told to stop.

What goes wrong in one of them is logged, counted and told, and the next one comes; only what is wrong at the start ends it.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

import migrations
from deploy.commands import failures, sweep
from shared import database, errors, metrics
from shared.stepfi.settings import Settings
from sweeper import gauges, records, schedule
from sweeper.report import Extent, Mode, Report, RunStatus

log = structlog.get_logger()

REQUIRED = sweep.REQUIRED
TELL_SECONDS = 60.0

T = TypeVar("T")

OnReport = Callable[[Report], Awaitable[None]]
OnFailure = Callable[[BaseException], Awaitable[None]]


async def _nobody(_: object) -> None:
    """Whom nothing is to be told."""


@dataclass(frozen=True, kw_only=True)
class Listeners:
    """Who else hears how each sweep ended. An error of theirs is logged."""

    on_report: OnReport = _nobody
    on_failure: OnFailure = _nobody


async def run(
    settings: Settings,
    stop: asyncio.Event,
    *,
    times: schedule.Timetable | None = None,
    listeners: Listeners | None = None,
) -> int:
    """0 once it was told to stop; raises where it cannot start. `times` stand in the place of the settings' expressions."""
    times = schedule.timetable(settings.schedule) if times is None else times
    with metrics.serve(settings.metrics.port, host=settings.metrics.host):
        async with database.connect(settings.database, section="database") as engine:
            await migrations.check(engine)
            gauges.measure_known(await gauges.recall(engine))
            sweeps = _Sweeps(settings, engine, listeners or Listeners())
            make_up = await sweeps.missed(times)
            await schedule.run(times, work=sweeps.work, make_up=make_up, stop=stop)
    log.info("the schedule has stopped")
    return 0


class _Sweeps:
    """The sweeps of the schedule, one at a time."""

    def __init__(self, settings: Settings, engine: AsyncEngine, listeners: Listeners) -> None:
        self._settings = settings
        self._engine = engine
        self._listeners = listeners
        self._mode = Mode.REPAIR if settings.schedule.repair else Mode.DRY
        # A dry sweep by hand does not stand for one that repairs; one that repairs has looked as well.
        self._modes = {self._mode, Mode.REPAIR}
        self._waiting: datetime | None = None
        """When the full sweep came due that waits for the run of another process."""

    async def missed(self, times: schedule.Timetable) -> schedule.Overdue | None:
        """A full sweep that came due while no process was there."""
        if Extent.FULL not in times:
            return None
        past = await records.past(self._engine, extents={Extent.FULL}, modes=self._modes)
        return schedule.missed(times[Extent.FULL], past, now=datetime.now(UTC))

    async def work(self, extent: Extent, since: datetime) -> bool:
        """One sweep, unless another process has made it since it came due; False where a run of another one goes on."""
        try:
            if extent is Extent.FULL:
                await self._give_up_before(since)
            report = await self._sweep(extent, since)
        except errors.AlreadyRunning:
            self._stopped_by_another(extent, since)
            return False
        except Exception as error:  # noqa: BLE001 - whatever it was: it is told, and the next sweep comes
            await self._failed(extent, error)
        else:
            if report is not None:
                await self._ended(report)
        if extent is Extent.FULL:
            self._waiting = None
        return True

    async def _sweep(self, extent: Extent, since: datetime) -> Report | None:
        if await self._was_made(extent, since):
            log.info("another process has made this sweep", extent=extent.value)
            return None
        self._tell(extent, since)("a sweep begins", extent=extent.value, mode=self._mode.value)
        return await sweep.run(
            self._settings,
            repair=self._mode is Mode.REPAIR,
            tables=(),
            changed=extent is Extent.CHANGED,
        )

    def _tell(self, extent: Extent, since: datetime) -> Callable[..., None]:
        """One that is tried again each minute would fill the log."""
        tell: Callable[..., None] = log.debug if extent is Extent.FULL and since == self._waiting else log.info
        return tell

    def _stopped_by_another(self, extent: Extent, since: datetime) -> None:
        what = "waits" if extent is Extent.FULL else "is left out"
        self._tell(extent, since)(f"another run goes on: this sweep {what}", extent=extent.value, due=since.isoformat())
        if extent is Extent.FULL:
            self._waiting = since

    async def _give_up_before(self, since: datetime) -> None:
        """Say of the full sweep that waited that it was not made, now that the next one is due."""
        due = self._waiting
        if due is None or due == since:
            return
        self._waiting = None
        if not await self._was_made(Extent.FULL, due):
            log.warning("a full sweep was not made: other runs went on until the next one was due", due=due.isoformat())

    async def _was_made(self, extent: Extent, since: datetime) -> bool:
        past = await records.past(self._engine, extents={extent, Extent.FULL}, modes=self._modes)
        return past.complete is not None and past.complete >= since

    async def _ended(self, report: Report) -> None:
        tell = log.info if report.status is RunStatus.COMPLETE else log.warning
        tell(
            "the sweep has ended",
            run_id=str(report.run_id),
            extent=report.extent.value,
            mode=report.mode.value,
            status=report.status.value,
            reasons=list(report.reasons),
            drift=dict(Counter(finding.drift_class for finding in report.findings)),
            outcomes=dict(Counter(finding.outcome.value for finding in report.findings)),
            seconds=round((report.finished_at - report.started_at).total_seconds(), 3),
        )
        await _tell(self._listeners.on_report, report)

    async def _failed(self, extent: Extent, error: Exception) -> None:
        metrics.sweeps_total.labels(self._mode.value, RunStatus.FAILED.value).inc()
        mistake = error if failures.explain(error) is None else None  # of ours: where it was made has to be found
        log.error("the sweep has failed", extent=extent.value, error=_words(error), exc_info=mistake)
        await _tell(self._listeners.on_failure, error)


async def _tell(listener: Callable[[T], Awaitable[None]], what: T) -> None:
    try:
        async with asyncio.timeout(TELL_SECONDS):
            await listener(what)
    except Exception as error:  # noqa: BLE001 - who listens does not stop the sweeps
        log.error("how the sweep ended could not be told", error=_words(error))  # noqa: TRY400 - words, not a traceback


def _words(error: Exception) -> str:
    return failures.explain(error) or failures.confess(error)
