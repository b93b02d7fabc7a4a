"""`chaintrue sweep`: one sweep, its report, its metrics."""

import importlib.metadata
import math
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

import migrations
from deploy import application
from shared import database, metrics, recon_tables
from shared.stepfi.settings import Settings
from sweeper import classes, plan_file, sweep
from sweeper.model import Outcome
from sweeper.plan_origin import PlanTo
from sweeper.report import Mode, Report, RunStatus

REQUIRED = ("network.passphrase", "rpc.urls", "database.url", "app_database.url", *application.CONTRACT_SETTINGS)


async def run(
    settings: Settings,
    *,
    repair: bool,
    tables: Sequence[str] = (),
    changed: bool = False,
    plan: Path | None = None,
    on_progress: Callable[[str], None] = lambda _: None,
) -> Report:
    """Sweep and set the metrics of it; `shared.metrics.publish` sends them. `plan`: where to write the plan."""
    if plan is not None:
        plan_file.check_writable(plan)
    async with database.connect(settings.database, section="database") as engine:
        await migrations.check(engine)
        before = await _last_complete(engine)
    stream = application.stream(settings)
    made_by = f"chaintrue {importlib.metadata.version('chaintrue')}"
    report = await sweep.run(
        settings,
        scope=stream.scope,
        subjects=application.sweep(settings),
        repairing=repair,
        tables=tables,
        changed_only=changed,
        plan_to=None if plan is None else PlanTo(path=plan, made_by=made_by, contracts=stream.contracts),
        on_progress=on_progress,
        on_request=lambda method, outcome: metrics.rpc_requests_total.labels(method, outcome).inc(),
    )
    measure(report, last_complete=before)
    return report


async def remember_success(engine: AsyncEngine) -> None:
    """Set the metric of the last success from the record: a process that begins anew has not seen it itself."""
    if (before := await _last_complete(engine)) is not None:
        metrics.sweep_last_success_timestamp_seconds.set(before.timestamp())


async def _last_complete(engine: AsyncEngine) -> datetime | None:
    """The end of the last complete sweep: a run of today that is none must not make the metrics forget it."""
    runs = recon_tables.runs.c
    query = select(func.max(runs.finished_at)).where(runs.status == RunStatus.COMPLETE.value)
    async with engine.connect() as connection:
        ended: datetime | None = (await connection.execute(query)).scalar_one()
    return ended


def measure(report: Report, *, last_complete: datetime | None) -> None:
    """Set the metrics from the report. A class without a finding is 0, so that a row's end is seen as well as its begin."""
    found = Counter((finding.drift_class, finding.table) for finding in report.findings)
    for table, one in report.compared.items():
        metrics.sweep_compared_rows.labels(table, "expected").set(one.expected_rows)
        metrics.sweep_compared_rows.labels(table, "app").set(one.app_rows)
        for drift_class in classes.CLASSES:
            metrics.drift_rows.labels(drift_class, table).set(found[drift_class, table])
    if report.mode is Mode.REPAIR:
        for finding in report.findings:
            metrics.repairs_total.labels(finding.drift_class, finding.outcome.value).inc()
    left = sum(finding.outcome is not Outcome.REPAIRED for finding in report.findings)
    metrics.drift_age_seconds.set(math.nan if left else 0)  # since when it is there was not recorded
    metrics.sweeps_total.labels(report.mode.value, report.status.value).inc()
    metrics.sweep_duration_seconds.set((report.finished_at - report.started_at).total_seconds())
    success = report.finished_at if report.status is RunStatus.COMPLETE else last_complete
    if success is not None:
        metrics.sweep_last_success_timestamp_seconds.set(success.timestamp())
    if report.watermark_ledger is not None:
        metrics.watermark_ledger.set(report.watermark_ledger)
