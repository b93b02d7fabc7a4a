"""`chaintrue backfill`: a range of ledgers from RPC, through the log."""

from collections.abc import Callable
from typing import Any

import migrations
from deploy import application
from shared import database
from shared.stepfi.settings import Settings
from streams import backfill, withdrawal
from streams.ingest import client as rpc_client

REQUIRED = (
    "network.passphrase",
    "rpc.urls",
    "kafka.bootstrap_servers",
    "database.url",
    *application.CONTRACT_SETTINGS,
)


async def run(
    settings: Settings, *, first: int, last: int, on_progress: Callable[[int], None] = lambda _: None
) -> dict[str, Any]:
    """What was read and applied."""
    async with database.connect(settings.database, section="database") as engine, rpc_client(settings) as client:
        await migrations.check(engine)
        await client.check()
        done = await backfill.run(
            settings,
            application.stream(settings),
            engine=engine,
            client=client,
            first=first,
            last=last,
            on_progress=on_progress,
        )
    return {"from_ledger": done.from_ledger, "to_ledger": done.to_ledger, "events": done.events}


async def withdraw(settings: Settings) -> dict[str, Any]:
    """Withdraw the gaps that claim more ledgers than the chain has; return them, and where the stream goes on."""
    async with database.connect(settings.database, section="database") as engine, rpc_client(settings) as client:
        await migrations.check(engine)
        await client.check()
        done = await withdrawal.run(settings, application.stream(settings), engine=engine, client=client)
    ledgers = [gap.ledgers for gap in done.gaps]
    return {
        "withdrawn": [{"from_ledger": first, "to_ledger": last} for first, last in ledgers],
        "behind_ledger": done.behind_ledger,
    }
