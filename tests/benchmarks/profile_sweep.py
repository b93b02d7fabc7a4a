"""Where the time of a survey goes: `python -m tests.benchmarks.profile_sweep [LOANS] [--calls]`.

CPU seconds of each party, for a survey without drift and for the hash scan alone, in the same databases: what the survey takes
beyond the scan is the shipping of the hashes, their keeping and their matching. The wall time is between what the busiest party
took and what all took together, by how many cores are free. `--calls` prints what cProfile saw of our own process instead.
"""

import argparse
import asyncio
import cProfile
import os
import pstats
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from unittest import mock

from deploy import application
from sweeper.report import Mode
from tests.benchmarks import server_load, surveying, sweep_parties
from tests.benchmarks.sweep_parties import Scene

LOANS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Seconds: by the wall clock, and of CPU by party. Ours are with the start of the process."""

    wall: float
    ours: float
    app: float
    chain: float


async def spent(scene: Scene, work: Callable[[], Awaitable[float]]) -> Spent:
    """What the work took, which tells its wall time itself."""
    before = os.times(), server_load.cpu_seconds(scene.app_server), server_load.cpu_seconds(scene.own_server)
    wall = await work()
    after = os.times(), server_load.cpu_seconds(scene.app_server), server_load.cpu_seconds(scene.own_server)
    ours = sum(after[0][2:4]) - sum(before[0][2:4])
    return Spent(wall=wall, ours=ours, app=after[1] - before[1], chain=after[2] - before[2])


async def calls(scene: Scene) -> None:
    """The functions of our own process that took the most."""
    with mock.patch.dict(os.environ, scene.environment()):
        async with surveying.opened(application.load(None), mode=Mode.DRY) as one:
            with cProfile.Profile() as profiler:
                await surveying.survey(one)
    pstats.Stats(profiler).sort_stats("tottime").print_stats(30)


async def profile(loans: int, *, by_calls: bool) -> None:
    async with sweep_parties.scene(loans=loans) as scene:
        if by_calls:
            await calls(scene)
            return

        async def survey() -> float:
            return (await scene.survey()).seconds

        print(f"{'':<12} {'wall':>8} {'ours':>8} {'app':>8} {'chain':>8}   CPU seconds of each, {loans:,} loans")
        for name, work in (("hash scan", scene.hash_scan), ("survey", survey)) * 2:
            one = await spent(scene, work)
            print(f"{name:<12} {one.wall:>8.2f} {one.ours:>8.2f} {one.app:>8.2f} {one.chain:>8.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(":")[0])
    parser.add_argument("loans", type=int, nargs="?", default=LOANS)
    parser.add_argument("--calls", action="store_true", help="what cProfile saw, by function")
    chosen = parser.parse_args()
    asyncio.run(profile(chosen.loans, by_calls=chosen.calls))


if __name__ == "__main__":
    main()
