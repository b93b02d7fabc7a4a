"""Finding what differs between two books of loans: the sweep's survey, reladiff, and the hash scan of both sides alone.

Without drift the three take turns; with drift reladiff has one turn, cut at a deadline. Ours reads the tables as they are: the
application's keys are random uuids and texts. Reladiff is given tables of its own with an integer key, the compared columns
alone and their order on disk; the time of making them is not counted. Each party's time is from its first statement to the
last row that differs, and whoever does not find exactly the rows that were changed fails the benchmark.
"""

import asyncio
import sys
from collections.abc import Sequence
from statistics import median

from tests.benchmarks import Row, reladiff_peer, show, sweep_parties
from tests.benchmarks.loanbook.drift import Drift
from tests.benchmarks.sweep_parties import Found, Scene, say
from tests.benchmarks.weighed import MEGABYTE

LENGTHS = (100_000, 1_000_000, 5_000_000)
"""Loans; `python -m tests.benchmarks.sweep 20000` takes others."""
DRIFTS = (0.001, 0.01)
RUNS = 3
DEADLINE_SECONDS = 600
"""What reladiff may take with drift."""


def run() -> list[Row]:
    return asyncio.run(measure())


async def measure(
    lengths: Sequence[int] = LENGTHS, *, runs: int = RUNS, deadline: float = DEADLINE_SECONDS
) -> list[Row]:
    rows, memories = [], []
    for loans in lengths:
        async with sweep_parties.scene(loans=loans, peers=True) as scene:
            drift = Drift(scene.book)
            found, memory = await _without_drift(scene, drift, runs=runs)
            rows += found
            for share in DRIFTS:
                await drift.grow_to(max(1, round(loans * share)))
                found, more = await _with_drift(scene, drift, share, runs=runs, deadline=deadline)
                rows += found
                memory = max(memory, more)
            memories.append((loans, memory))
    return rows + _memory(memories)


async def _without_drift(scene: Scene, drift: Drift, *, runs: int) -> tuple[list[Row], int]:
    ours, peers, bounds = [], [], []
    for turn in range(runs):
        ours.append(await scene.survey())
        bounds.append(await scene.hash_scan())
        peers.append(await scene.reladiff(reladiff_peer.QUIET, deadline=DEADLINE_SECONDS))
        drift.check(ours[-1].entities)
        drift.check(peers[-1].entities)
        say(f"turn {turn + 1}: {ours[-1].seconds:.2f} s, reladiff {peers[-1].seconds:.2f} s, bound {bounds[-1]:.2f} s")
    name = f"full diff, {scene.book.loans:,} loans, no drift"
    seconds = [one.seconds for one in ours]
    return [
        _row(name, seconds, "reladiff, integer key", [one.seconds for one in peers]),
        _row(name, seconds, "hash scan of both sides alone (the bound)", bounds),
    ], max(one.memory for one in ours)


async def _with_drift(scene: Scene, drift: Drift, share: float, *, runs: int, deadline: float) -> tuple[list[Row], int]:
    ours = [await scene.survey() for _ in range(runs)]
    for one in ours:
        drift.check(one.entities)
    peer = await scene.reladiff(reladiff_peer.DRIFTING, deadline=deadline)
    if not peer.cut:
        drift.check(peer.entities)
    say(f"{share:.1%} drift: {ours[-1].seconds:.2f} s, reladiff {_said(peer)}")
    name = f"full diff, {scene.book.loans:,} loans, {share:.1%} drift"
    words = f"reladiff, integer key{f', cut with {len(peer.entities):,} of {drift.rows:,} rows' if peer.cut else ''}"
    return [_row(name, [one.seconds for one in ours], words, [peer.seconds] * runs)], max(one.memory for one in ours)


def _said(peer: Found) -> str:
    return f"{peer.seconds:.2f} s{' (cut)' if peer.cut else ''}"


def _row(name: str, ours: Sequence[float], peer: str, theirs: Sequence[float]) -> Row:
    ratio = median(their / our for our, their in zip(ours, theirs, strict=True))
    return Row(name=name, unit="s", ours=median(ours), peer=peer, theirs=median(theirs), ratio=ratio)


def _memory(memories: Sequence[tuple[int, int]]) -> list[Row]:
    """Each length against the shortest."""
    shortest, least = memories[0]
    return [
        Row(
            name=f"memory of a survey of {loans:,} loans",
            unit="MB",
            ours=memory / MEGABYTE,
            peer=f"of {shortest:,} loans",
            theirs=least / MEGABYTE,
            ratio=memory / least,
        )
        for loans, memory in memories
    ]


if __name__ == "__main__":
    show(asyncio.run(measure(tuple(map(int, sys.argv[1:])) or LENGTHS)))
