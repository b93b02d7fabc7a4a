"""`chaintrue sweep`: one sweep."""

import importlib.metadata
from collections.abc import Callable, Sequence
from pathlib import Path

import migrations
from deploy import application
from shared import database, metrics
from shared.stepfi.settings import Settings
from sweeper import plan_file, sweep
from sweeper.plan_origin import PlanTo
from sweeper.report import Report

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
    """Sweep; `deploy.commands.ending` tells of it. `plan`: where to write the plan."""
    if plan is not None:
        plan_file.check_writable(plan)
    async with database.connect(settings.database, section="database") as engine:
        await migrations.check(engine)
    stream = application.stream(settings)
    made_by = f"chaintrue {importlib.metadata.version('chaintrue')}"
    return await sweep.run(
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
