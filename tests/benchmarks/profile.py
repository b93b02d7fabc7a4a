"""Where the time of applying goes: `python -m tests.benchmarks.profile apply [EVENTS] [--calls]`.

The frames of the generated traffic go straight to the applier, in batches as the worker makes them, on a PostgreSQL of its
own; Kafka and Faust are left out, and what the worker does side by side (decoding a batch, writing the one before) is done one
after the other. Each phase is a function that is timed by the wall clock, less the phases within it, so a
phase that asks PostgreSQL has the time of its answer. `--calls` prints what cProfile saw instead, which slows all down.
"""

import argparse
import asyncio
import cProfile
import importlib
import inspect
import pstats
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
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


@dataclass(slots=True)
class Clock:
    """Seconds of each phase, less those of the phases within it; for one task at a time."""

    seconds: dict[str, float] = field(default_factory=dict)
    _inner: list[float] = field(default_factory=lambda: [0.0])

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        self._inner.append(0.0)
        start = time.perf_counter()
        try:
            yield
        finally:
            took = time.perf_counter() - start
            self.seconds[name] = self.seconds.get(name, 0.0) + took - self._inner.pop()
            self._inner[-1] += took

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, its time taken."""
        if inspect.iscoroutinefunction(function):

            async def waited(*arguments: Any, **named: Any) -> Any:
                with self.phase(name):
                    return await function(*arguments, **named)

            return waited
        if inspect.isasyncgenfunction(function):

            async def iterated(*arguments: Any, **named: Any) -> Any:
                with self.phase(name):
                    found = [one async for one in function(*arguments, **named)]
                for one in found:
                    yield one

            return iterated

        return self._called(name, function)

    def _called(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """As `phase`, without its cost: some of these are called for every topic."""
        inner, seconds, now = self._inner, self.seconds, time.perf_counter
        seconds.setdefault(name, 0.0)

        def called(*arguments: Any, **named: Any) -> Any:
            inner.append(0.0)
            start = now()
            try:
                return function(*arguments, **named)
            finally:
                took = now() - start
                seconds[name] += took - inner.pop()
                inner[-1] += took

        return called


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


async def apply(applier: Applier, work: Sequence[Sequence[Record]]) -> tuple[int, float]:
    """Apply all; gives the events and the seconds."""
    start, events = time.perf_counter(), 0
    for batch in work:
        events += (await applier.apply(0, batch)).events
    return events, time.perf_counter() - start


async def profile(events: int, *, calls: bool) -> None:
    traffic = Traffic()
    work = batched(traffic, events=events)
    async with stack.postgres() as server:
        url = SecretStr(await server.create_database("profile"))
        async with database.connect(Database(url=url), section="database") as engine:
            await migrations.upgrade(engine)
            applier = Applier(engine=engine, applications=[StepfiStream(traffic.settings)], network=chain.NETWORK)
            if calls:
                with cProfile.Profile() as profiler:
                    await apply(applier, work)
                pstats.Stats(profiler).sort_stats("tottime").print_stats(45)
                return
            pipeline.tune()
            clock = Clock()
            with watch(clock):
                applied, seconds = await apply(applier, work)
    show(clock, applied, seconds)


def show(clock: Clock, events: int, seconds: float) -> None:
    print(f"{events:,} events in {seconds:.2f} s: {events / seconds:,.0f} events/s, the timing itself included")
    known = {name: clock.seconds[name] for name, _ in PHASES if name in clock.seconds}
    for name, took in {**known, REST: seconds - sum(known.values())}.items():
        print(f"  {name:<34} {took:>7.2f} s {took / seconds:>6.1%} {took / events * 1e6:>7.1f} µs/event")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(":")[0])
    parser.add_argument("what", choices=["apply"])
    parser.add_argument("events", type=int, nargs="?", default=EVENTS)
    parser.add_argument("--calls", action="store_true")
    chosen = parser.parse_args()
    asyncio.run(profile(chosen.events, calls=chosen.calls))


if __name__ == "__main__":
    main()
