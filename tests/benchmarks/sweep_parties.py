"""Who is measured in the benchmarks of the sweep, each in a process of its own, on a book of loans in two servers.

Chaintrue's database and the application's are two PostgreSQL servers, as in a deployment, with their defaults.
"""

import asyncio
import json
import logging
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from deploy import stack
from shared.log import configure
from shared.settings import Kafka, LogFormat
from tests.benchmarks import hash_scan, parties, reladiff_peer, repairing, surveying, weighed
from tests.benchmarks.loanbook import book, node
from tests.benchmarks.loanbook.book import Book
from tests.benchmarks.loanbook.node import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a party found (`loan:NUMBER`), in what time, and the most memory (bytes) that it held. `cut`: not to the end."""

    seconds: float
    entities: list[str]
    memory: int
    cut: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A book, the servers that hold it, and the node that knows it."""

    book: Book
    node: Node
    own_server: stack.Postgres
    app_server: stack.Postgres

    def environment(self, **more: str) -> dict[str, str]:
        """The settings of a `chaintrue` process, nothing of them waiting."""
        values = {
            "rpc__urls": self.node.url,
            "app_database__url": self.book.app_url,
            "sweep__settle_seconds": "0",
            "sweep__max_tip_age_seconds": "0",
            "sweep__database_share": "1",
            "sweep__max_findings": str(2 * self.book.loans),
            "sweep__max_repairs": str(2 * self.book.loans),
        }
        traffic, url = self.book.traffic, self.book.chain_url
        return parties.environment(log=Kafka(), url=url, traffic=traffic, **(values | more))

    async def survey(self, **more: str) -> Found:
        """Ours: the sweep's survey of `loans`, from its first statement to the list of rows that differ."""
        command = (sys.executable, "-m", surveying.__name__)
        ended = await asyncio.to_thread(weighed.run, command, env=self.environment(**more))
        told = json.loads(ended.output)
        self._check_rows(told["rows"])
        return Found(seconds=told["seconds"], entities=told["entities"], memory=ended.memory)

    async def reladiff(self, settings: reladiff_peer.Settings, *, deadline: float) -> Found:
        """The peer on the tables that were made for it."""
        command = (sys.executable, "-m", reladiff_peer.__name__, self.book.chain_url, self.book.app_url)
        arguments = map(
            str, (settings.threads, settings.pool, settings.factor, settings.threshold, settings.table, deadline)
        )
        ended = await asyncio.to_thread(weighed.run, (*command, *arguments), env=self.environment())
        told = json.loads(ended.output)
        entities = [f"loan:{key}" for key in told["keys"]]
        return Found(seconds=told["seconds"], entities=entities, memory=ended.memory, cut=told["cut"])

    async def hash_scan(self) -> float:
        """The bound: seconds in which both databases, side by side, compute the hashes and ship none of them."""
        command = (sys.executable, "-m", hash_scan.__name__)
        ended = await asyncio.to_thread(weighed.run, command, env=self.environment())
        told = json.loads(ended.output)
        self._check_rows(told["rows"])
        seconds: float = told["seconds"]
        return seconds

    def _check_rows(self, rows: Sequence[int]) -> None:
        """Raise ValueError for a party that did not look at all rows, of the chain's side and the application's."""
        there = [self.book.loans, self.book.rows]
        if list(rows) != there:
            raise ValueError(f"{rows} rows were looked at, where {there} are: a figure would be worthless")

    async def sweep(self, **more: str) -> dict[str, Any]:
        """The report of `chaintrue sweep`, as a user runs it. Raises RuntimeError for a run that is not complete."""
        command = parties.chaintrue("sweep", "--table", surveying.TABLE, "--json")
        ended = await asyncio.to_thread(weighed.run, command, env=self.environment(**more), codes=(0, 2))
        report: dict[str, Any] = json.loads(ended.output)
        return report

    async def repair(self, how: str, *, rows: int) -> float:
        """Rows a second, where so many of those that differ are written; `how` is an argument of `repairing`."""
        command = (sys.executable, "-m", repairing.__name__, how, str(rows))
        ended = await asyncio.to_thread(weighed.run, command, env=self.environment())
        told = json.loads(ended.output)
        if told["written"] != rows:
            raise ValueError(f"{how}: {told['written']} of {rows} rows were written: a figure would be worthless")
        seconds: float = told["seconds"]
        return rows / seconds


@asynccontextmanager
async def scene(*, loans: int, peers: bool = False) -> AsyncIterator[Scene]:
    """A new book of so many loans, without drift; with the peer's tables or without."""
    configure(LogFormat.CONSOLE, level=logging.WARNING)
    async with AsyncExitStack() as running:
        async with asyncio.TaskGroup() as group:
            starting = [group.create_task(running.enter_async_context(stack.postgres())) for _ in range(2)]
        own, app = (task.result() for task in starting)
        chain_url, app_url = await own.create_database("chaintrue"), await app.create_database("app")
        await parties.migrate(chain_url)
        start = time.perf_counter()
        written = await book.write(chain_url=chain_url, app_url=app_url, loans=loans)
        if peers:
            await book.add_peers(written)
        say(f"{loans:,} loans written in {time.perf_counter() - start:.0f} s")
        serving = await running.enter_async_context(node.serve(written))
        yield Scene(book=written, node=serving, own_server=own, app_server=app)


def say(words: str) -> None:
    """For whoever waits."""
    print(f"  {words}", file=sys.stderr, flush=True)
