"""Two workers against one, over eight scopes: a scope is a partition, so Kafka's group shares them out, four each.

The same log each time, an empty database each time, in turns. Our workers, PostgreSQL and Kafka share the machine, so what
more workers bring ends where its cores do: the row says how many there are.
"""

import asyncio
import os
import sys
from collections.abc import Sequence
from statistics import median

from shared.settings import Kafka
from streams import topic
from tests.benchmarks import Row, load, parties, scoped_worker, show
from tests.benchmarks.load import Content

SCOPES = 8
EVENTS_PER_SCOPE = 25_000
RUNS = 3


def run() -> list[Row]:
    return asyncio.run(measure())


async def measure(*, runs: int = RUNS) -> list[Row]:
    traffics = scoped_worker.traffics(SCOPES)
    async with parties.servers() as servers:
        log = servers.topic()
        await topic.ensure(log, scopes=SCOPES)
        contents = [
            await load.load(log, traffic, events=EVENTS_PER_SCOPE, partition=partition)
            for partition, traffic in enumerate(traffics)
        ]
        two, one = [], []
        for turn in range(runs):
            two.append(await rate(servers, log, contents, workers=2))
            one.append(await rate(servers, log, contents, workers=1))
            print(f"  turn {turn + 1}: {two[-1]:,.0f} {one[-1]:,.0f}", file=sys.stderr, flush=True)
    events = sum(content.events for content in contents)
    return [
        Row(
            name=f"live apply, {events:,} events, {SCOPES} scopes, 2 workers",
            unit="events/s",
            ours=median(two),
            peer=f"1 worker ({os.cpu_count()} cores for workers, PostgreSQL and Kafka)",
            theirs=median(one),
            ratio=median(both / alone for both, alone in zip(two, one, strict=True)),
        )
    ]


async def rate(servers: parties.Servers, log: Kafka, contents: Sequence[Content], *, workers: int) -> float:
    """Events a second of so many workers of one group."""
    url = await servers.database()
    await parties.migrate(url)
    env = parties.environment(log=log, url=url, traffic=scoped_worker.traffics(1)[0])
    command = (sys.executable, "-m", scoped_worker.__name__, str(len(contents)))
    return await parties.worker_rate(url, contents, *(workers * [env]), command=command)


if __name__ == "__main__":
    show(run())
