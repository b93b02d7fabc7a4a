"""`chaintrue sweep`: one sweep."""

from collections.abc import Callable, Sequence

import migrations
from deploy import application
from shared import database, metrics
from shared.stepfi.settings import Settings
from sweeper import sweep
from sweeper.report import Report

REQUIRED = ("network.passphrase", "rpc.urls", "database.url", "app_database.url", *application.CONTRACT_SETTINGS)


async def run(
    settings: Settings,
    *,
    repair: bool,
    tables: Sequence[str] = (),
    changed: bool = False,
    on_progress: Callable[[str], None] = lambda _: None,
) -> Report:
    """Sweep; `deploy.commands.ending` tells of it."""
    async with database.connect(settings.database, section="database") as engine:
        await migrations.check(engine)
    return await sweep.run(
        settings,
        scope=application.stream(settings).scope,
        subjects=application.sweep(settings),
        repairing=repair,
        tables=tables,
        changed_only=changed,
        on_progress=on_progress,
        on_request=lambda method, outcome: metrics.rpc_requests_total.labels(method, outcome).inc(),
    )
