"""From a ledger's close to its rows: how long until what happened on the chain is committed in our tables.

A localnet closes a ledger of some 100 events each second; `chaintrue stream` (indexer, observer and worker in one process of its
own) follows it. The clock starts before the localnet shows the ledger, and stops at the commit of the fact's row, whose time
PostgreSQL itself keeps (`track_commit_timestamp`): one machine, one clock, no poll between them. The stream polls the RPC node,
so half of that period is in every figure; it is set shorter than the default here, as whoever wants low latency would.
"""

import asyncio
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import quantiles

import asyncpg

from deploy import localnet, stack
from streams import topic
from tests.benchmarks import Row, parties, show
from tests.benchmarks.traffic import chain, history
from tests.benchmarks.traffic.chain import Traffic

LEDGERS = 100
"""Events of a ledger are committed together, so the hundredths are of so many moments."""
WARM_UP = 10
"""Ledgers that are not counted: imports, caches, the first observations."""
RPC_POLL_SECONDS = 0.2
CATCH_UP_SECONDS = 30

_COMMITS = """
SELECT DISTINCT ON (position) left(position, 19)::bigint >> 32 AS ledger,
  extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8 AS at
FROM chain.facts WHERE tx_hash IS NOT NULL ORDER BY position, at
"""


def run() -> list[Row]:
    return asyncio.run(measure())


async def measure(*, ledgers: int = LEDGERS) -> list[Row]:
    """The distribution over all events of the ledgers that count."""
    traffic = Traffic()
    closes = ledgers + WARM_UP
    with tempfile.TemporaryDirectory(prefix="chaintrue-") as directory:
        recording = Path(directory) / "traffic.jsonl"
        history.write(recording, traffic, ledgers=closes + 1)
        async with parties.servers() as servers, localnet.serve(history=recording, tip=chain.FIRST_LEDGER) as net:
            await keep_commit_times(servers.postgres)
            url, log = await servers.database(), servers.topic()
            await parties.migrate(url)
            await topic.ensure(log)
            rpc = {"rpc__poll_seconds": str(RPC_POLL_SECONDS), "rpc__requests_per_second": "200", "rpc__urls": net.url}
            env = parties.environment(log=log, url=url, traffic=traffic, **rpc)
            async with parties.process(*parties.chaintrue("stream"), env=env):
                await committed(url, chain.FIRST_LEDGER)
                closed = await close(net, closes)
                await committed(url, net.latest_ledger)
            delays = await read_delays(
                url, {ledger: at for ledger, at in closed.items() if ledger > chain.FIRST_LEDGER + WARM_UP}
            )
    return rows(delays, traffic=traffic)


async def keep_commit_times(server: stack.Postgres) -> None:
    """Let PostgreSQL keep the time of each commit, which takes a start."""
    connection = await asyncpg.connect(server.databases.admin_url)
    await connection.execute("ALTER SYSTEM SET track_commit_timestamp = on")
    await connection.close()
    await server.stop()
    await server.start()


async def close(net: localnet.Localnet, ledgers: int) -> Mapping[int, float]:
    """Close so many ledgers, one a second; gives when each was about to be shown."""
    closed = {}
    loop = asyncio.get_running_loop()
    due = loop.time()
    for _ in range(ledgers):
        due += 1.0
        await asyncio.sleep(due - loop.time())
        closed[net.latest_ledger + 1] = time.time()
        await net.advance_to(net.latest_ledger + 1)
    return closed


async def committed(url: str, ledger: int) -> None:
    """Wait until events of this ledger are there."""
    there = "SELECT max(position) >= $1 FROM chain.facts"
    connection = await asyncpg.connect(url)
    try:
        async with asyncio.timeout(CATCH_UP_SECONDS):
            while not await connection.fetchval(there, f"{ledger << 32:019d}"):  # noqa: ASYNC110 - another process does it
                await asyncio.sleep(0.2)
    finally:
        await connection.close()


async def read_delays(url: str, closed: Mapping[int, float]) -> list[float]:
    """Seconds from close to commit, of each event of these ledgers."""
    connection = await asyncpg.connect(url)
    try:
        return [
            row["at"] - closed[row["ledger"]] for row in await connection.fetch(_COMMITS) if row["ledger"] in closed
        ]
    finally:
        await connection.close()


def rows(delays: list[float], *, traffic: Traffic) -> list[Row]:
    hundredths = quantiles(delays, n=100, method="inclusive")
    shown = {"p50": hundredths[49], "p90": hundredths[89], "p99": hundredths[98], "largest": max(delays)}
    words = f"1 ledger/s of {traffic.events_per_ledger} events, RPC polled each {RPC_POLL_SECONDS:g} s"
    return [
        Row(name=f"ledger close to commit, {name} of {len(delays):,}", unit="ms", ours=seconds * 1000, peer=words)
        for name, seconds in shown.items()
    ]


if __name__ == "__main__":
    show(run())
