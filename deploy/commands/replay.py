"""`chaintrue replay`: the tables built once more from the log, compared, and exchanged if wanted."""

from collections.abc import Callable

import migrations
from deploy import application
from shared import database, pooler
from shared.stepfi.settings import Settings
from streams import pipeline, replay

REQUIRED = ("network.passphrase", "kafka.bootstrap_servers", "database.url", *application.CONTRACT_SETTINGS)


async def run(
    settings: Settings, *, base: str | None, swap: bool, on_progress: Callable[[str], None] = lambda _: None
) -> replay.Outcome:
    """What the replay found; raises where it cannot be done, and the live tables are then as they were."""
    pipeline.tune()
    async with database.connect(settings.database, section="database") as engine:
        await migrations.check(engine)
    await pooler.require_sessions(settings.database, section="database")
    return await replay.run(settings, application.streams(settings), base=base, swap=swap, on_progress=on_progress)
