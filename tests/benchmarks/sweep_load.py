"""What a sweep asks of others: requests to the chain for what it found, and work of the application's database.

`chaintrue sweep --table loans` as a user runs it, dry. Requests are compared with one for each entry that was asked for; the
load is measured with the default share and with a quarter, by the server's CPU time and by looking at its sessions.
"""

import asyncio
import sys

from tests.benchmarks import Row, server_load, show, sweep_parties
from tests.benchmarks.loanbook.drift import Drift
from tests.benchmarks.sweep_parties import Scene, say

LOANS = 1_000_000
"""`python -m tests.benchmarks.sweep_load 20000` takes others."""
DRIFT = 0.01
SHARES = ("1", "0.25")


def run() -> list[Row]:
    return asyncio.run(measure())


async def measure(loans: int = LOANS) -> list[Row]:
    async with sweep_parties.scene(loans=loans) as scene:
        rows = [row for share in SHARES for row in await _load(scene, share)]
        drift = Drift(scene.book)
        await drift.grow_to(round(loans * DRIFT), peer=False)
        return rows + await _requests(scene, drift)


async def _load(scene: Scene, share: str) -> list[Row]:
    async with server_load.watched(scene.app_server, scene.book.app_url) as load:
        report = await scene.sweep(sweep__database_share=share, sweep__spot_checks="0")
    if report["findings"]:
        raise ValueError("rows differ of a book without drift: a figure would be worthless")
    say(f"share {share}: {load}")
    name = f"sweep of {scene.book.loans:,} loans, SWEEP__DATABASE_SHARE={share}"
    return [
        Row(name=name, unit="s", ours=load.seconds, peer="time in all"),
        Row(name=name, unit="% of time", ours=100 * load.busy_share, peer="the application's database at work for us"),
        Row(name=name, unit="% of a core", ours=100 * load.cpu_share, peer="CPU of the application's database"),
    ]


async def _requests(scene: Scene, drift: Drift) -> list[Row]:
    scene.node.requests.clear()
    scene.node.keys = 0
    report = await scene.sweep()
    drift.check([finding["entity"] for finding in report["findings"]])
    confirmed, requests = report["spot_checks"]["confirmed"], scene.node.requests["getLedgerEntries"]
    if confirmed < drift.rows:
        raise ValueError(f"{confirmed} of {drift.rows} findings were confirmed by the chain")
    say(f"{scene.node.keys:,} entries in {requests:,} requests")
    return [
        Row(
            name=f"chain confirmations, {drift.rows:,} findings",
            unit="requests",
            ours=requests,
            peer="one request a key",
            theirs=scene.node.keys,
            ratio=scene.node.keys / requests,
        )
    ]


if __name__ == "__main__":
    show(asyncio.run(measure(*map(int, sys.argv[1:]))))
