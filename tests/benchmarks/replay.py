"""`chaintrue replay` as a user runs it, against live apply by one worker process, on the same log and in the same run.

A worker fills empty tables, then the replay rebuilds them and compares all of it: its rate is of the whole, from the first
record to the comparison's end. Its memory is measured at two lengths of the history: it is to be the same at both.
"""

import asyncio
import json
import sys
from dataclasses import dataclass
from typing import Any

from streams.topic import ensure
from tests.benchmarks import Row, load, parties, show, weighed
from tests.benchmarks.load import Content
from tests.benchmarks.traffic.chain import Traffic
from tests.benchmarks.weighed import MEGABYTE

LENGTHS = (100_000, 1_000_000)
"""Events of the two histories; `python -m tests.benchmarks.replay 100000 2000000` takes others."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Events a second of both, and the most memory that the replay's process held (bytes)."""

    events: int
    live: float
    replay: float
    memory: int


def run() -> list[Row]:
    return asyncio.run(measure())


async def measure(lengths: tuple[int, ...] = LENGTHS) -> list[Row]:
    found = [await _measure(length) for length in lengths]
    rows = [
        Row(
            name=f"replay, {one.events:,} events",
            unit="events/s",
            ours=one.replay,
            peer="live apply of the same log, 1 worker",
            theirs=one.live,
            ratio=one.replay / one.live,
        )
        for one in found
    ]
    first, last = found[0], found[-1]
    rows.append(
        Row(
            name=f"memory of a replay of {last.events:,} events",
            unit="MB",
            ours=last.memory / MEGABYTE,
            peer=f"of {first.events:,} events",
            theirs=first.memory / MEGABYTE,
            ratio=last.memory / first.memory,
        )
    )
    return rows


async def _measure(events: int) -> Measured:
    traffic = Traffic()
    async with parties.servers() as servers:
        log = servers.topic()
        await ensure(log)
        content = await load.load(log, traffic, events=events)
        url = await servers.database()
        await parties.migrate(url)
        env = parties.environment(log=log, url=url, traffic=traffic)
        live = await parties.worker_rate(url, [content], env)
        outcome, memory = await asyncio.to_thread(_replay, content, env)
        rate = outcome["events"] / outcome["seconds"]
        print(
            f"  {events:,}: live {live:,.0f}, replay {rate:,.0f} events/s, {memory / MEGABYTE:,.0f} MB", file=sys.stderr
        )
        return Measured(content.events, live, rate, memory)


def _replay(content: Content, env: dict[str, str]) -> tuple[dict[str, Any], int]:
    """What the command printed, and the most memory that it held (bytes). Waits for its end."""
    ended = weighed.run(parties.chaintrue("replay", "--json"), env=env)
    outcome: dict[str, Any] = json.loads(ended.output)
    if outcome["events"] != content.events:
        raise ValueError(f"the replay is not of this log: {outcome}")
    return outcome, ended.memory


if __name__ == "__main__":
    show(asyncio.run(measure(tuple(map(int, sys.argv[1:])) or LENGTHS)))
