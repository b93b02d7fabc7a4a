"""`chaintrue migrate`: the own database to head, the topic created and verified."""

import asyncio
from typing import Any

import migrations
from deploy import application
from shared import database, errors
from shared.stepfi.settings import Settings
from streams import topic

REQUIRED = ("database.url", "kafka.bootstrap_servers")
DEADLINE_SECONDS = 300


async def run(settings: Settings) -> dict[str, Any]:
    """What was done; safe to run again."""
    async with database.connect(settings.database, section="database") as engine:
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                revision = await migrations.upgrade(engine)
        except TimeoutError:
            raise errors.DatabaseUnreachable(
                "the migration of the database in CHAINTRUE_DATABASE__URL did not end in time",
                cure="end what holds locks there (another `chaintrue migrate`, a long transaction), and run it again",
            ) from None
    changed = await topic.ensure(settings.kafka, scopes=len(application.streams(settings)))
    return {"revision": revision, "topic": settings.kafka.topic, "topic_changed": changed}
