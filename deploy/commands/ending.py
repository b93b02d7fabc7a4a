"""How every run of the sweeper ends: its report shown, its page written, its webhook told, its metrics sent.

None of these keeps the report from whoever asked for it, and a webhook or a database that is gone by then costs a line on
standard error, never the exit code.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from deploy import terminal, terminal_report
from deploy.commands import report as pages
from deploy.commands import running
from shared import database, errors, metrics, publishing
from shared.stepfi.settings import Settings
from sweeper import gauges, records, session, told, webhook, words
from sweeper.report import Mode, Report, RunStatus

LAST_WORDS_SECONDS = 8.0
"""What a run that failed may take to tell of it: less than a command has to end in."""
JUST_NOW = timedelta(minutes=1)
_GONE = (errors.ChaintrueError, SQLAlchemyError, OSError, TimeoutError)


async def see_through(
    settings: Settings,
    run: Callable[..., Awaitable[Report]],
    *,
    mode: Mode,
    doing: str,
    as_json: bool,
    html: Path | None = None,
    strict: bool = False,
) -> int:
    """A one-shot run from its first word to its exit code. `run` takes `on_progress`; `doing` is what the terminal says first."""
    async with watched(settings, mode=mode):
        with terminal.err().status(doing) as status:
            report = await run(on_progress=status.update)
    await tell(settings, report, as_json=as_json, html=html)
    return int(report.exit_code(strict=strict))


@asynccontextmanager
async def watched(settings: Settings, *, mode: Mode) -> AsyncIterator[None]:
    """Around a run: where it ends by an error, or is stopped, the webhook is told, and the metrics keep the last success and
    the drift that is known."""
    began = datetime.now(UTC)
    try:
        yield
    except errors.AlreadyRunning:
        raise  # that is the run of another
    except BaseException as error:
        metrics.sweeps_total.labels(mode.value, RunStatus.FAILED.value).inc()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_SECONDS):
                await note_failure(settings, error, since=began)
        raise


async def note(settings: Settings, report: Report) -> None:
    """Set the metrics of a run that has its report, and tell the webhook."""
    known = None
    try:
        async with database.connect(settings.database, section="database") as engine:
            known = await gauges.recall(engine)
    except _GONE as error:
        running.complain(f"what earlier runs found could not be looked up for the metrics: {type(error).__name__}")
    gauges.measure(report, known=known)
    await webhook.tell(settings.webhook, report.to_json(), complain=running.complain)


async def note_failure(settings: Settings, error: BaseException, *, since: datetime | None = None) -> None:
    """The same for a run that ended by an error, just now or `since` then.

    Whatever fails here is no more than a line: the error of the run is the one to be seen.
    """
    now = datetime.now(UTC)
    failed = None
    with contextlib.suppress(*_GONE):
        async with database.connect(settings.database, section="database") as engine:
            gauges.measure_known(await gauges.recall(engine))
            failed = await records.failed_since(engine, since or now - JUST_NOW)
    try:
        publishing.publish(settings.metrics)
    except errors.SettingError as refused:
        running.complain(str(refused))
    run = {"started_at": words.iso(since or now)} if failed is None else failed.to_json()
    await webhook.tell_failure(settings.webhook, run, reason=session.reason(error), complain=running.complain)


async def tell(settings: Settings, report: Report, *, as_json: bool, html: Path | None = None) -> None:
    """All that a one-shot command owes of its report. Raises SettingError, at last, for a place that takes no page or metrics."""
    if as_json:
        terminal.show_json(report.to_json())
    else:
        terminal_report.show(told.read(report.to_json()), console=terminal.out())
    await note(settings, report)
    try:
        if html is not None:
            async with database.connect(settings.database, section="database") as engine:
                record = await records.find(engine, str(report.run_id))
                pages.write(await pages.html(engine, record), html, option="--html")
    finally:
        publishing.publish(settings.metrics)
