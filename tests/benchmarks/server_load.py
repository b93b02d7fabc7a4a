"""How much a PostgreSQL server works for a sweep: its CPU time, and how often a session of ours is at work when one looks."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from deploy import stack

LOOK_SECONDS = 0.02
_SESSIONS = """
SELECT count(*) AS all, count(*) FILTER (WHERE state = 'active' AND wait_event_type IS DISTINCT FROM 'Client') AS busy
FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'chaintrue'
"""
"""A session that waits for us to take its rows is not at work."""


@dataclass(slots=True)
class Load:
    """Between the first look that met a session of ours and the last one."""

    looks: int = 0
    busy: int = 0
    seconds: float = 0.0
    cpu: float = 0.0

    @property
    def busy_share(self) -> float:
        """In how many of the looks the server was at work for us."""
        return self.busy / self.looks if self.looks else 0.0

    @property
    def cpu_share(self) -> float:
        """Of one core."""
        return self.cpu / self.seconds if self.seconds else 0.0


@asynccontextmanager
async def watched(server: stack.Postgres, url: str) -> AsyncIterator[Load]:
    """The load of the server while the block runs; nobody else may use it then."""
    load = Load()
    connection = await asyncpg.connect(url)
    looking = asyncio.create_task(_look(connection, load))
    before = cpu_seconds(server)
    try:
        yield load
    finally:
        looking.cancel()
        await asyncio.wait([looking])
        load.cpu = cpu_seconds(server) - before
        await connection.close()


async def _look(connection: asyncpg.Connection, load: Load) -> None:
    began = 0.0
    while True:
        seen = await connection.fetchrow(_SESSIONS)
        if seen["all"]:
            began = began or time.perf_counter()
            load.looks += 1
            load.busy += seen["busy"] > 0
            load.seconds = time.perf_counter() - began
        await asyncio.sleep(LOOK_SECONDS)


def cpu_seconds(server: stack.Postgres) -> float:
    """Of the server and all of its processes, those that ended included."""
    postmaster = int((server.data / "postmaster.pid").read_text().split()[0])
    mine = _stat(postmaster)
    ticks = sum(mine[11:15])  # utime, stime, and the same of the children that ended
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))) and fields[1] == postmaster:
            ticks += sum(fields[11:13])
    return ticks / os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[int]:
    """The numbers of /proc/PID/stat behind the name, the state as 0; empty for a process that is no more."""
    try:
        told = (Path("/proc") / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    _state, *numbers = told.rpartition(")")[2].split()
    return [0, *map(int, numbers)]
