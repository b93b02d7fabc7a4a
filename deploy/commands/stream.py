"""`chaintrue stream`: indexer, observer and Faust worker, until it is told to stop."""

import asyncio

import migrations
from deploy import application
from shared import database, pooler
from shared.stepfi.settings import Settings
from streams import runner

_REQUIRED = ("network.passphrase", "kafka.bootstrap_servers", "database.url", *application.CONTRACT_SETTINGS)


def required(only: runner.Only | None) -> tuple[str, ...]:
    """The settings without which it cannot run: a worker alone asks no RPC node."""
    return _REQUIRED if only == "worker" else (*_REQUIRED, "rpc.urls")


async def run(settings: Settings, stop: asyncio.Event, *, only: runner.Only | None) -> int:
    """0 once it was told to stop; raises where it cannot start or go on."""
    async with database.connect(settings.database, section="database") as engine:
        await migrations.check(engine)
    await pooler.require_sessions(settings.database, section="database")
    await runner.run(settings, application.streams(settings), stop=stop, only=only)
    return 0
