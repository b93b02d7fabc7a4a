"""Live apply by one worker process, from frames in Kafka to committed facts, state, coverage and offsets.

Against a plain Faust agent that stores one record an event (the peer), and against COPY of the very fact rows that the worker
stored (the bound). The three take turns, each time with an empty database; the rates are of events, so that they compare
although the peer is given fewer.
"""

import asyncio
import sys
from statistics import median

from streams.topic import ensure
from tests.benchmarks import Row, load, parties, show
from tests.benchmarks.traffic.chain import Traffic

EVENTS = 200_000
PEER_EVENTS = 6_000
RUNS = 3


def run() -> list[Row]:
    return asyncio.run(measure())


async def measure(*, events: int = EVENTS, runs: int = RUNS) -> list[Row]:
    traffic = Traffic()
    async with parties.servers() as servers:
        log, plain = servers.topic(), servers.topic()
        for topic in (log, plain):
            await ensure(topic)
        content = await load.load(log, traffic, events=events)
        await load.load_events(plain, traffic, events=PEER_EVENTS)
        ours, copies, peers = [], [], []
        for turn in range(runs):
            url = await servers.database()
            await parties.migrate(url)
            ours.append(
                await parties.worker_rate(url, [content], parties.environment(log=log, url=url, traffic=traffic))
            )
            copies.append(await parties.copy_rate(url, events=content.events))
            peers.append(await parties.plain_rate(await servers.database(), plain, events=PEER_EVENTS))
            print(f"  turn {turn + 1}: {ours[-1]:,.0f} {copies[-1]:,.0f} {peers[-1]:,.0f}", file=sys.stderr, flush=True)
    name = f"live apply, {content.events:,} events, 1 worker"
    return [
        Row(
            name=name,
            unit="events/s",
            ours=median(ours),
            peer="plain Faust agent, stellar-sdk, 1 upsert an event",
            theirs=median(peers),
            ratio=median(our / peer for our, peer in zip(ours, peers, strict=True)),
        ),
        Row(
            name=name,
            unit="events/s",
            ours=median(ours),
            peer="COPY of the same fact rows alone (the bound)",
            theirs=median(copies),
            ratio=median(our / copy for our, copy in zip(ours, copies, strict=True)),
        ),
    ]


if __name__ == "__main__":
    show(run())
