"""Writing repairs: batches of one statement, against one guarded UPDATE a row.

Both write the same rows with the same guards, from findings in memory to the last commit. Ours records intent and outcome of
each row in its own database and reads every row back; the peer does neither, has its statements prepared, and is tried with a
transaction a row and with one for 500. They take turns, each on rows that the others left, and the peers on fewer: the rates
are of rows. Ours writes the rest, and all of them are made to differ again.
"""

import asyncio
import sys
from statistics import median

from tests.benchmarks import Row, repairing, show, sweep_parties
from tests.benchmarks.loanbook.drift import Drift
from tests.benchmarks.sweep_parties import say

REPAIRS = 100_000
"""Rows; `python -m tests.benchmarks.sweep_repairs 5000` takes others."""
RUNS = 3
PEERS = {
    "1": ("one guarded UPDATE a row, a transaction each", 25),
    "500": ("one guarded UPDATE a row, 500 a transaction", 5),
}
"""By rows a transaction: in words, and which part of the rows the peer is given."""


def run() -> list[Row]:
    return asyncio.run(measure())


async def measure(repairs: int = REPAIRS, *, runs: int = RUNS) -> list[Row]:
    rates: dict[str, list[float]] = {how: [] for how in (*PEERS, repairing.BATCHES)}
    rows = {how: max(1, repairs // part) for how, (_, part) in PEERS.items()} | {repairing.BATCHES: repairs}
    async with sweep_parties.scene(loans=2 * repairs) as scene:
        drift = Drift(scene.book)
        for turn in range(runs):
            await (drift.again() if drift.rows else drift.grow_to(sum(rows.values()), peer=False))
            for how, measured in rates.items():
                measured.append(await scene.repair(how, rows=rows[how]))
            say(f"turn {turn + 1}: {', '.join(f'{how} {measured[-1]:,.0f}' for how, measured in rates.items())} rows/s")
    ours = rates[repairing.BATCHES]
    return [
        Row(
            name=f"repairs, {repairs:,} rows",
            unit="rows/s",
            ours=median(ours),
            peer=words,
            theirs=median(rates[how]),
            ratio=median(our / their for our, their in zip(ours, rates[how], strict=True)),
        )
        for how, (words, _) in PEERS.items()
    ]


if __name__ == "__main__":
    show(asyncio.run(measure(*map(int, sys.argv[1:]))))
