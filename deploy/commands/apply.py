"""`chaintrue apply PLAN`: a reviewed plan, written where it still holds."""

from collections.abc import Callable
from pathlib import Path

import migrations
from deploy import application
from shared import database, metrics
from shared.stepfi.settings import Settings
from sweeper import apply, plan_reading
from sweeper.report import Report

REQUIRED = ("network.passphrase", "rpc.urls", "database.url", "app_database.url", *application.CONTRACT_SETTINGS)


async def run(settings: Settings, *, path: Path, on_progress: Callable[[str], None] = lambda _: None) -> Report:
    """Apply the plan in the file; raises PlanRefused when it is not for this place and moment."""
    reviewed = plan_reading.read(path)
    async with database.connect(settings.database, section="database") as engine:
        await migrations.check(engine)
    stream = application.stream(settings)
    return await apply.run(
        settings,
        reviewed,
        scope=stream.scope,
        contracts=stream.contracts,
        subjects=application.sweep(settings),
        on_progress=on_progress,
        on_request=lambda method, outcome: metrics.rpc_requests_total.labels(method, outcome).inc(),
    )
