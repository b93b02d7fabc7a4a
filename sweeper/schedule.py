"""Sweeps by the clock: what is due, and in which order. One at a time; what comes due meanwhile waits, once.

A full sweep looks at everything, so it takes the place of a `changed` one that waits beside it. Where the run of another process
stands in its way it waits, too: it is tried again until it was made, by whomever, or the next one is due.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from apscheduler.events import EVENT_JOB_SUBMITTED, JobSubmissionEvent
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger

from shared import errors, metrics
from shared.settings import Schedule, environment_name
from sweeper import cron
from sweeper.records import Past
from sweeper.report import Extent

log = structlog.get_logger()

OFF = "off"
RETRY = timedelta(minutes=10)
"""A full sweep that was missed is not tried at every start of a process that ends again and again."""
AGAIN = timedelta(minutes=1)
"""A full sweep that found another run going on is tried again so much later."""

Timetable = Mapping[Extent, BaseTrigger]
Work = Callable[[Extent, datetime], Awaitable[bool]]
"""One sweep, and when it came due; False where another run stands in its way. Whatever goes wrong in it is told by it: the
schedule goes on."""


def timetable(settings: Schedule) -> Timetable:
    """When each kind of sweep comes due; raises SettingError where none ever does."""
    times = check_settings(settings)
    if not times:
        full, changed = environment_name("schedule", "full"), environment_name("schedule", "changed")
        raise errors.SettingError(
            f"{full} and {changed} are both {OFF}: nothing would ever run", cure="set one of them"
        )
    return times


def check_settings(settings: Schedule) -> Timetable:
    """The expressions as they are read; raises SettingError for one that cron does not know."""
    wanted = {Extent.FULL: ("full", settings.full), Extent.CHANGED: ("changed", settings.changed)}
    triggers: dict[Extent, BaseTrigger] = {}
    for extent, (name, expression) in wanted.items():
        if expression.strip().lower() in ("", OFF):
            continue
        try:
            triggers[extent] = cron.trigger(expression)
        except ValueError as error:
            raise errors.SettingError(
                f"{environment_name('schedule', name)}: {expression!r} is no cron expression: {error}",
                cure=f"write five fields in UTC, as 0 3 * * * for each day at 3:00, or {OFF}",
            ) from None
    return triggers


@dataclass(frozen=True, slots=True, kw_only=True)
class Overdue:
    """A full sweep that is still to be made: when to try, and since when one that began (another process's, too) counts as it."""

    at: datetime
    since: datetime


def missed(trigger: BaseTrigger, past: Past, *, now: datetime) -> Overdue | None:
    """A sweep that came due while nobody was there, or was never made; None where none is missing.

    The last one that was tried may go on still, in another process: if it is complete by the time to try, nothing is to be done.
    """
    since = past.tried or now
    if past.complete is not None:
        due = trigger.get_next_fire_time(None, past.complete + timedelta(microseconds=1))
        if due is None or due > now:
            return None
        since = due
    return Overdue(at=now if past.tried is None else max(now, past.tried + RETRY), since=since)


class Due:
    """The sweeps that are due: one of each kind at most, with the latest time at which it came due; and a full one for later."""

    def __init__(self) -> None:
        self._since: dict[Extent, datetime] = {}
        self._any = asyncio.Event()
        self._later: asyncio.TimerHandle | None = None

    def note(self, extent: Extent, at: datetime) -> None:
        if extent is Extent.FULL:
            self.forget()
        self._since[extent] = at
        self._any.set()

    def put_off(self, overdue: Overdue) -> None:
        """Note the full sweep once it is to be tried, unless the next one came due, or comes before that."""
        if Extent.FULL in self._since:
            return
        self.forget()
        seconds = max(0.0, (overdue.at - datetime.now(UTC)).total_seconds())
        self._later = asyncio.get_running_loop().call_later(seconds, self.note, Extent.FULL, overdue.since)

    def forget(self) -> None:
        """Drop what was put off."""
        if self._later is not None:
            self._later.cancel()

    async def take(self) -> tuple[Extent, datetime]:
        """Wait for the next one: the full one first, and alone."""
        await self._any.wait()
        extent = Extent.FULL if Extent.FULL in self._since else Extent.CHANGED
        since = self._since.pop(extent)
        if extent is Extent.FULL:
            self._since.clear()
        if not self._since:
            self._any.clear()
        return extent, since


async def run(times: Timetable, *, work: Work, make_up: Overdue | None, stop: asyncio.Event) -> None:
    """Do the work whenever it is due, until `stop`; what goes on then is cancelled.

    `make_up`: a full sweep that was missed.
    """
    due = Due()
    with _ticking(times, due, make_up=make_up):
        working = asyncio.create_task(_work_off(due, work))
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (working, stopping):
                task.cancel()
            await asyncio.wait({working, stopping})
    if not working.cancelled():
        working.result()  # a mistake of ours: the work tells its own errors


async def _work_off(due: Due, work: Work) -> None:
    while True:
        extent, since = await due.take()
        if not await work(extent, since) and extent is Extent.FULL:
            due.put_off(Overdue(at=datetime.now(UTC) + AGAIN, since=since))


@contextmanager
def _ticking(times: Timetable, due: Due, *, make_up: Overdue | None) -> Iterator[None]:
    """Note what comes due while the block runs. A process that slept for long finds each kind due once."""
    scheduler = AsyncIOScheduler(
        timezone=UTC, job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
    )

    def submitted(event: JobSubmissionEvent) -> None:
        due.note(Extent(event.job_id), event.scheduled_run_times[-1])

    def tell_next() -> dict[str, str]:
        found = {job.id: job.next_run_time for job in scheduler.get_jobs()}
        for extent, at in found.items():
            metrics.schedule_next_run_timestamp_seconds.labels(extent).set(at.timestamp())
        return {extent: at.isoformat() for extent, at in found.items()}

    async def tick() -> None:
        """What is due was noted by the listener: it alone is told for which time."""
        tell_next()

    scheduler.add_listener(submitted, EVENT_JOB_SUBMITTED)
    for extent, trigger in times.items():
        scheduler.add_job(tick, trigger, id=extent.value)
    if make_up is not None:
        due.put_off(make_up)
    scheduler.start()
    try:
        log.info("the schedule is set", next=tell_next(), missed=None if make_up is None else make_up.at.isoformat())
        yield
    finally:
        due.forget()
        scheduler.shutdown(wait=False)
