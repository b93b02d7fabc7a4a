"""What is struck down and when, drawn from a seed. Pure, but for `strike`."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol

LONGEST_PAUSE_SECONDS = 4.0
LONGEST_DOWN_SECONDS = 3.0


class Victim(Protocol):
    """A server of the local stack, or a process of chaintrue."""

    async def kill(self) -> None: ...
    async def stop(self) -> None: ...
    async def start(self) -> None: ...


@dataclass(frozen=True)
class Blow:
    """`at` seconds after the beginning these are ended, by SIGTERM if `gently`, else by SIGKILL; each is started again after so
    many seconds."""

    at: float
    down: Mapping[str, float]
    gently: bool = False

    def __str__(self) -> str:
        each = ", ".join(f"{name} (back after {seconds:.1f} s)" for name, seconds in self.down.items())
        return f"{self.at:5.1f} s: {'SIGTERM to' if self.gently else 'kill -9'} {each}"


def draw(chance: Random, *, names: Sequence[str], seconds: float, gentle: float = 0.0) -> list[Blow]:
    """Blows over so many seconds, the share `gentle` of them by SIGTERM: mostly at one, at times at several at once, at what just
    started, too."""
    blows: list[Blow] = []
    at = chance.uniform(0.5, LONGEST_PAUSE_SECONDS)
    while at < seconds:
        count = min(len(names), chance.choice([1, 1, 1, 2, 2, 3, len(names)]))
        victims = chance.sample(names, count)
        blows.append(
            Blow(at, {name: chance.choice([0.0, chance.uniform(0, LONGEST_DOWN_SECONDS)]) for name in victims})
        )
        at += chance.uniform(0.3, LONGEST_PAUSE_SECONDS)
    return blows


async def strike(blows: Iterable[Blow], victims: Mapping[str, Victim]) -> None:
    """Carry them out, each at its time; returns when all is up again. Who is down already is struck when it is up."""
    began = asyncio.get_running_loop().time()
    locks = {name: asyncio.Lock() for name in victims}

    async def one(blow: Blow, name: str, down: float) -> None:
        await asyncio.sleep(max(0.0, began + blow.at - asyncio.get_running_loop().time()))
        async with locks[name]:
            await (victims[name].stop() if blow.gently else victims[name].kill())
            await asyncio.sleep(down)
            await victims[name].start()

    async with asyncio.TaskGroup() as group:
        for blow in blows:
            for name, down in blow.down.items():
                group.create_task(one(blow, name, down))
