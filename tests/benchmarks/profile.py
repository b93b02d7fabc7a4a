"""Where the time of applying goes: `python -m tests.benchmarks.profile apply [EVENTS] [--calls]`.

The frames of the generated traffic go straight to the applier, in batches as the worker makes them, on a PostgreSQL of its
own; Kafka and Faust are left out. What the worker does side by side (decoding a batch, writing the one before) is done one
after the other here. Each phase is a function, timed less the phases within it; one that asks PostgreSQL has the time of the
answer in its wall time, not in its CPU time. `--calls` prints what cProfile saw instead, which slows all down.
"""

import argparse
import asyncio
import cProfile
import importlib
import inspect
import pstats
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from unittest import mock

from pydantic import SecretStr

import migrations
from deploy import stack
from shared import database, frames
from shared.settings import Database
from streams import pipeline
from streams.apply import Applier, Record
from streams.stepfi.application import StepfiStream
from streams.worker import TAKE_RECORDS, batches
from tests.benchmarks import load
from tests.benchmarks.traffic import chain
from tests.benchmarks.traffic.chain import Traffic

EVENTS = 200_000

PHASES = (
    ("frames: JSON to events", "shared.frames:decode"),
    ("events: base64 and XDR", "shared.scval:read_base64"),
    ("events: values of StepFi", "shared.stepfi.events:decode"),
    ("entries: XDR and values", "streams.stepfi.application:StepfiStream._read"),
    ("facts: merge and sort", "streams.digest:merge"),
    ("facts: the rest of the digest", "streams.apply:digest"),
    ("partitions of facts", "streams.fact_partitions:Known.ensure"),
    ("store facts (PostgreSQL)", "streams.state_store:store_facts"),
    ("read states (PostgreSQL)", "streams.state_store:read_states"),
    ("states: rows to values", "streams.fold:Fold.read"),
    ("states: fold", "streams.fold:advance"),
    ("fold anew (PostgreSQL)", "streams.state_store:_fold_anew"),
    ("upsert states (PostgreSQL)", "streams.state_store:upsert_states"),
    ("states: values to rows", "streams.fold:Fold.write"),
    ("coverage, gaps, scope", "streams.proofs:record"),
    ("commit", "sqlalchemy.dialects.postgresql.asyncpg:AsyncAdapt_asyncpg_connection.commit"),
)
"""A phase's name, and the function that it is."""
REST = "lock, offsets, the rest"


class Spent(NamedTuple):
    """Seconds by the wall clock, and of our own CPU: the difference is PostgreSQL's, and of whoever shares the machine."""

    wall: float = 0.0
    cpu: float = 0.0

    def plus(self, other: "Spent") -> "Spent":
        return Spent(self.wall + other.wall, self.cpu + other.cpu)

    def minus(self, other: "Spent") -> "Spent":
        return Spent(self.wall - other.wall, self.cpu - other.cpu)


def now() -> Spent:
    return Spent(time.perf_counter(), time.thread_time())


@dataclass(slots=True)
class Clock:
    """What each phase took, less the phases within it; for one task of one thread at a time."""

    phases: dict[str, Spent] = field(default_factory=dict)
    _inner: list[Spent] = field(default_factory=lambda: [Spent()])

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, its time taken."""
        if inspect.isasyncgenfunction(function):
            return self._iterated(name, function)
        if inspect.iscoroutinefunction(function):

            async def waited(*arguments: Any, **named: Any) -> Any:
                start = self._begin()
                try:
                    return await function(*arguments, **named)
                finally:
                    self._end(name, start)

            return waited

        def called(*arguments: Any, **named: Any) -> Any:
            start = self._begin()
            try:
                return function(*arguments, **named)
            finally:
                self._end(name, start)

        return called

    def _iterated(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        async def iterated(*arguments: Any, **named: Any) -> Any:
            start = self._begin()
            try:
                found = [one async for one in function(*arguments, **named)]
            finally:
                self._end(name, start)
            for one in found:
                yield one

        return iterated

    def _begin(self) -> Spent:
        self._inner.append(Spent())
        return now()

    def _end(self, name: str, start: Spent) -> None:
        took = now().minus(start)
        self.phases[name] = self.phases.get(name, Spent()).plus(took.minus(self._inner.pop()))
        self._inner[-1] = self._inner[-1].plus(took)


def watch(clock: Clock) -> ExitStack:
    """Time the phases; those whose function this version has not are left out."""
    watching = ExitStack()
    for name, place in PHASES:
        module, _, path = place.partition(":")
        owner: Any = importlib.import_module(module)
        *outer, attribute = path.split(".")
        for part in outer:
            owner = getattr(owner, part)
        if hasattr(owner, attribute):
            watching.enter_context(mock.patch.object(owner, attribute, clock.timed(name, getattr(owner, attribute))))
    return watching


def batched(traffic: Traffic, *, events: int) -> list[list[Record]]:
    """The frames in the batches that a worker with a full buffer makes."""
    values = [frames.encode(frame) for frame in load.frames_of(traffic, events=events)]
    records = [Record(offset, value) for offset, value in enumerate(values)]
    taken = [records[start : start + TAKE_RECORDS] for start in range(0, len(records), TAKE_RECORDS)]
    return [batch for part in taken for batch in batches(part)]


async def apply(applier: Applier, work: Sequence[Sequence[Record]]) -> tuple[int, Spent]:
    """Apply all; gives the events, and what they took."""
    start, events = now(), 0
    for batch in work:
        events += (await applier.apply(0, batch)).events
    return events, now().minus(start)


async def profile(events: int, *, calls: bool) -> None:
    traffic = Traffic()
    work = batched(traffic, events=events)
    async with stack.postgres() as server:
        url = SecretStr(await server.create_database("profile"))
        async with database.connect(Database(url=url), section="database") as engine:
            await migrations.upgrade(engine)
            applier = Applier(engine=engine, applications=[StepfiStream(traffic.settings)], network=chain.NETWORK)
            pipeline.tune()
            if calls:
                with cProfile.Profile() as profiler:
                    await apply(applier, work)
                pstats.Stats(profiler).sort_stats("tottime").print_stats(45)
                return
            clock = Clock()
            with watch(clock):
                applied, whole = await apply(applier, work)
    show(clock, applied, whole)


def show(clock: Clock, events: int, whole: Spent) -> None:
    print(f"{events:,} events in {whole.wall:.2f} s, {whole.cpu:.2f} s of them our CPU, the timing itself included")
    known = {name: clock.phases[name] for name, _ in PHASES if name in clock.phases}
    rest = whole
    for took in known.values():
        rest = rest.minus(took)
    print(f"  {'phase':<34} {'wall':>9} {'share':>6} {'µs/event':>9} {'CPU':>9} {'µs/event':>9}")
    for name, took in {**known, REST: rest}.items():
        each = took.wall / events * 1e6, took.cpu / events * 1e6
        print(
            f"  {name:<34} {took.wall:>7.2f} s {took.wall / whole.wall:>6.1%} {each[0]:>9.1f} {took.cpu:>7.2f} s {each[1]:>9.1f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(":")[0])
    parser.add_argument("what", choices=["apply"])
    parser.add_argument("events", type=int, nargs="?", default=EVENTS)
    parser.add_argument("--calls", action="store_true", help="what cProfile saw, by function")
    chosen = parser.parse_args()
    asyncio.run(profile(chosen.events, calls=chosen.calls))


if __name__ == "__main__":
    main()
