"""What is struck down, how and when, drawn from a seed."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import Protocol

PAUSE_SECONDS = (0.3, 4.0)
LONGEST_DOWN_SECONDS = 3.0
SERVERS = ("kafka", "postgresql")
"""They are killed or stopped, and never frozen."""
FROZEN_SECONDS = (7.0, 9.0)
"""Longer than a worker's session: its partitions go to others, and it wakes up without knowing."""


class How(Enum):
    KILL = "kill -9"
    TERM = "SIGTERM to"
    STOP = "SIGSTOP to"


class Server(Protocol):
    """A server of the local stack, or a process of chaintrue."""

    async def kill(self) -> None: ...
    async def stop(self) -> None: ...
    async def start(self) -> None: ...


class Victim(Server, Protocol):
    """A process, which can be frozen, too."""

    def freeze(self) -> None: ...
    def thaw(self) -> None: ...


@dataclass(frozen=True)
class Blow:
    """`at` seconds after the beginning these are struck; each is up again after so many seconds. If `aimed`, not before a worker
    is in the middle of a transaction."""

    at: float
    down: Mapping[str, float]
    how: How = How.KILL
    aimed: bool = False

    def __str__(self) -> str:
        each = ", ".join(f"{name} (up after {seconds:.1f} s)" for name, seconds in self.down.items())
        return f"{self.at:5.1f} s: {self.how.value} {each}{', in a transaction' * self.aimed}"


def draw(
    chance: Random,
    *,
    names: Sequence[str],
    seconds: float,
    pause: tuple[float, float] = PAUSE_SECONDS,
    hows: Sequence[How] = (How.KILL,),
) -> list[Blow]:
    """Blows over so many seconds: mostly at one, at times at several at once, at what just started, too."""
    blows: list[Blow] = []
    at = chance.uniform(*pause)
    while at < seconds:
        how = chance.choice(hows)
        count = 1 if how is How.STOP else min(len(names), chance.choice([1, 1, 1, 2, 2, 3, len(names)]))
        struck = [name for name in names if name not in SERVERS] if how is How.STOP else names
        victims = chance.sample(struck, count)
        longest = chance.choice([0.0, LONGEST_DOWN_SECONDS])
        down = {
            name: chance.uniform(*FROZEN_SECONDS) if how is How.STOP else chance.uniform(0, longest) for name in victims
        }
        blows.append(Blow(at, down, how=how, aimed=chance.random() < 0.5))
        at += chance.uniform(*pause)
    return blows


async def strike(
    blows: Iterable[Blow],
    *,
    processes: Mapping[str, Victim],
    servers: Mapping[str, Server],
    aim: Callable[[], Awaitable[None]],
) -> None:
    """Carry them out, each at its time; returns when all is up again. Who is down already is struck when it is up.

    `aim` returns when a worker is in a transaction, or will not be soon.
    """
    began = asyncio.get_running_loop().time()
    locks = {name: asyncio.Lock() for name in (*processes, *servers)}

    async def one(blow: Blow, name: str, down: float) -> None:
        async with locks[name]:
            if blow.how is How.STOP and name in processes:
                processes[name].freeze()
                await asyncio.sleep(down)
                processes[name].thaw()
            else:
                victim = processes.get(name) or servers[name]
                await (victim.stop() if blow.how is How.TERM else victim.kill())
                await asyncio.sleep(down)
                await victim.start()

    async def all_of(blow: Blow) -> None:
        await asyncio.sleep(max(0.0, began + blow.at - asyncio.get_running_loop().time()))
        if blow.aimed:
            await aim()
        await asyncio.gather(*(one(blow, name, down) for name, down in blow.down.items()))

    async with asyncio.TaskGroup() as group:
        for blow in blows:
            group.create_task(all_of(blow))
