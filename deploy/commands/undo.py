"""`chaintrue undo RUN`: a run's updates, taken back where nobody touched the rows since."""

from collections.abc import Callable

import migrations
from deploy import application
from shared import database
from shared.stepfi.settings import Settings
from sweeper import undo
from sweeper.report import Report

REQUIRED = ("database.url", "app_database.url", *application.CONTRACT_SETTINGS)


async def run(settings: Settings, *, named: str, on_progress: Callable[[str], None] = lambda _: None) -> Report:
    """Undo the run of that id, or of that beginning of an id; raises PlanRefused where there is none."""
    async with database.connect(settings.database, section="database") as engine:
        await migrations.check(engine)
    return await undo.run(
        settings,
        named,
        scope=application.stream(settings).scope,
        subjects=application.sweep(settings),
        on_progress=on_progress,
    )
