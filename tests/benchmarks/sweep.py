"""Finding what differs between two books of loans: the sweep's survey, reladiff, and the hash scan of both sides alone.

Without drift the parties take turns; with drift reladiff has one turn, cut at a deadline. Ours reads the tables as they are:
the application's keys are random uuids and texts. Reladiff is given views of the same tables with an integer key (and the index
for it); and then tables of its own, the compared columns alone in the order of that key, the making of which is not counted, on
which it is run as it comes and at its best. Each time is from a party's first statement to the last row that differs; whoever
does not find exactly the rows that were changed has no figure.
"""

import asyncio
import sys
from collections.abc import Mapping, Sequence
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

BOUND = "hash scan of both sides alone (the bound)"
SAME = "reladiff on views of the same tables"
AS_IT_COMES, TUNED = "reladiff on tables made for it", "reladiff on tables made for it, tuned"
_PEERS_WITHOUT_DRIFT = {
    SAME: reladiff_peer.ON_THE_SAME,
    AS_IT_COMES: reladiff_peer.AS_IT_COMES,
    TUNED: reladiff_peer.TUNED_WITHOUT_DRIFT,
}
_PEERS_WITH_DRIFT = {
    SAME: reladiff_peer.ON_THE_SAME,
    AS_IT_COMES: reladiff_peer.AS_IT_COMES,
    TUNED: reladiff_peer.TUNED_WITH_DRIFT,
}


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
    ours: list[Found] = []
    bounds: list[float] = []
    peers: dict[str, list[float]] = {words: [] for words in _PEERS_WITHOUT_DRIFT}
    for turn in range(runs):
        ours.append(await scene.survey())
        drift.check(ours[-1].entities)
        bounds.append(await scene.hash_scan())
        for words, settings in _PEERS_WITHOUT_DRIFT.items():
            peer = await scene.reladiff(settings, deadline=DEADLINE_SECONDS)
            drift.check(peer.entities)
            peers[words].append(peer.seconds)
        say(f"turn {turn + 1}: {ours[-1].seconds:.2f} s, bound {bounds[-1]:.2f} s, {_last(peers)}")
    name = f"full diff, {scene.book.loans:,} loans, no drift"
    seconds = [one.seconds for one in ours]
    return [
        _row(name, seconds, BOUND, bounds),
        *(_row(name, seconds, words, theirs) for words, theirs in peers.items()),
    ], max(one.memory for one in ours)


async def _with_drift(scene: Scene, drift: Drift, share: float, *, runs: int, deadline: float) -> tuple[list[Row], int]:
    ours = [await scene.survey() for _ in range(runs)]
    for one in ours:
        drift.check(one.entities)
    name = f"full diff, {scene.book.loans:,} loans, {share:.1%} drift"
    seconds, rows = [one.seconds for one in ours], []
    say(f"{share:.1%} drift: {', '.join(f'{one:.2f} s' for one in seconds)}")
    for words, settings in _PEERS_WITH_DRIFT.items():
        peer = await scene.reladiff(settings, deadline=deadline)
        if not peer.cut:
            drift.check(peer.entities)
        cut = f", cut with {len(peer.entities):,} of {drift.rows:,} rows" if peer.cut else ""
        say(f"{words}: {peer.seconds:.2f} s{cut}")
        rows.append(_row(name, seconds, words + cut, [peer.seconds] * runs))
    return rows, max(one.memory for one in ours)


def _last(peers: Mapping[str, Sequence[float]]) -> str:
    return ", ".join(f"{words} {seconds[-1]:.2f} s" for words, seconds in peers.items())


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
