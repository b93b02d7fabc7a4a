"""Who is measured, each in a process of its own, on servers that all of them share: our worker, the plain agent, COPY.

The servers are the local stack with its defaults: Kafka 4.4, PostgreSQL 18 with fsync, on the same machine as the parties.
"""

import asyncio
import logging
import os
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
from pydantic import SecretStr

import migrations
from deploy import stack
from shared import database, errors, kafka
from shared.log import configure
from shared.settings import PREFIX, Database, Kafka, LogFormat, environment_name
from tests.benchmarks import plain_agent
from tests.benchmarks.load import Content
from tests.benchmarks.traffic import chain
from tests.benchmarks.traffic.chain import Traffic

POLL_SECONDS = 0.02
DEADLINE_SECONDS = 900
STOP_SECONDS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    kafka: stack.Kafka
    postgres: stack.Postgres

    def topic(self) -> Kafka:
        """Settings for a topic of its own, with a group that nobody is in."""
        return Kafka(bootstrap_servers=self.kafka.bootstrap_servers, topic=f"bench-{uuid.uuid4().hex[:12]}")

    async def database(self) -> str:
        """The address of an empty database."""
        return await self.postgres.create_database(f"bench_{uuid.uuid4().hex[:12]}")


@asynccontextmanager
async def servers(*, fsync: bool = True) -> AsyncIterator[Servers]:
    """Kafka and PostgreSQL, side by side; what they and we say of the ordinary is not shown."""
    configure(LogFormat.CONSOLE, level=logging.WARNING)
    async with AsyncExitStack() as running:
        async with asyncio.TaskGroup() as group:
            broker = group.create_task(running.enter_async_context(stack.kafka()))
            server = group.create_task(running.enter_async_context(stack.postgres(fsync=fsync)))
        yield Servers(kafka=broker.result(), postgres=server.result())


async def migrate(url: str) -> None:
    """Our tables, as `chaintrue migrate` makes them."""
    async with database.connect(Database(url=SecretStr(url)), section="database") as engine:
        await migrations.upgrade(engine)


def environment(*, log: Kafka, url: str, traffic: Traffic, **more: str) -> dict[str, str]:
    """The settings of a `chaintrue` process as environment variables; `more` as `section__name`."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    values = {
        ("network", "passphrase"): chain.NETWORK,
        ("kafka", "bootstrap_servers"): log.bootstrap_servers or "",
        ("kafka", "topic"): log.topic,
        ("kafka", "group"): f"group-{uuid.uuid4().hex[:12]}",
        ("database", "url"): url,
    }
    values |= {("stepfi", role.value): str(address) for role, address in traffic.contracts.items()}
    values |= {tuple(name.split("__")): value for name, value in more.items()}  # type: ignore[misc]  # two parts
    return inherited | {environment_name(*path): value for path, value in values.items()}


@asynccontextmanager
async def process(
    *argv: str, env: Mapping[str, str] | None = None, pipe: bool = False
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process for the length of the block; its words are shown when it ends by itself with an error."""
    with tempfile.TemporaryFile() as words:
        output = asyncio.subprocess.PIPE if pipe else words
        running = await asyncio.create_subprocess_exec(*argv, env=env, stdout=output, stderr=words)
        try:
            yield running
        finally:
            if running.returncode is None:
                running.terminate()
                try:
                    await asyncio.wait_for(running.wait(), STOP_SECONDS)
                except TimeoutError:
                    running.kill()
                    await running.wait()
            if running.returncode and running.returncode > 0:
                words.seek(0)
                sys.stderr.write(words.read().decode(errors="replace")[-4000:])


def chaintrue(*arguments: str) -> tuple[str, ...]:
    """The command beside this Python."""
    return (str(Path(sys.executable).parent / "chaintrue"), *arguments)


WORKER = chaintrue("stream", "--only", "worker")


async def worker_rate(
    url: str, contents: Sequence[Content], *environments: Mapping[str, str], command: Sequence[str] = WORKER
) -> float:
    """Events a second that workers (one for each environment) apply, from when all of them are at work to the last commit.

    `contents[p]` is what partition p holds. Startup is apart; the poll's 20 ms are the error at either end.
    """
    connection = await asyncpg.connect(url)
    try:
        async with asyncio.timeout(DEADLINE_SECONDS), AsyncExitStack() as workers:
            for env in environments:
                await workers.enter_async_context(process(*command, env=env))
            await _applied(connection, contents, least=1)
            await _joined(environments)
            begun, start = await _applied(connection, contents, least=0), time.perf_counter()
            total = sum(content.events for content in contents)
            await _applied(connection, contents, least=total)
            return (total - begun) / (time.perf_counter() - start)
    finally:
        await connection.close()


async def _joined(environments: Sequence[Mapping[str, str]]) -> None:
    """Wait until every worker has its partitions; they are of one group."""
    if len(environments) == 1:
        return
    names = ("bootstrap_servers", "group")
    settings = Kafka(**{name: environments[0][environment_name("kafka", name)] for name in names})
    async with kafka.admin(settings) as admin:
        while True:
            (response,) = await admin.describe_consumer_groups([settings.group])
            (group,) = response.to_object()["groups"]
            if group["state"] == "Stable" and len(group["members"]) == len(environments):
                return
            await asyncio.sleep(POLL_SECONDS)


async def _applied(connection: asyncpg.Connection, contents: Sequence[Content], *, least: int) -> int:
    """Wait until so many events are committed; says how many are."""
    while True:
        rows = await connection.fetch("SELECT partition, next_offset FROM chain.offsets")
        applied: int = sum(contents[row["partition"]].events_before(row["next_offset"]) for row in rows)
        if applied >= least:
            return applied
        await asyncio.sleep(POLL_SECONDS)


async def copy_rate(url: str, *, events: int) -> float:
    """Events a second whose stored fact rows COPY alone writes: the same rows into the same table, emptied."""
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch("SELECT * FROM chain.facts ORDER BY position, key")
        columns = list(rows[0].keys())
        records = [tuple(row) for row in rows]
        await connection.execute("TRUNCATE chain.facts")
        await connection.execute("CHECKPOINT")
        start = time.perf_counter()
        await connection.copy_records_to_table("facts", schema_name="chain", records=records, columns=columns)
        return events / (time.perf_counter() - start)
    finally:
        await connection.close()


async def plain_rate(url: str, topic: Kafka, *, events: int) -> float:
    """Events a second that the plain agent stores."""
    connection = await asyncpg.connect(url)
    await connection.execute(plain_agent.TABLE)
    await connection.close()
    with tempfile.TemporaryDirectory(prefix="chaintrue-") as directory:
        arguments = (topic.bootstrap_servers or "", topic.topic, url, str(events), directory)
        command = (sys.executable, "-m", plain_agent.__name__, *arguments)
        async with asyncio.timeout(DEADLINE_SECONDS), process(*command, pipe=True) as running:
            if running.stdout is None:
                raise TypeError("the plain agent was started without a pipe")
            async for line in running.stdout:
                word, *seconds = line.decode().split()
                if word == plain_agent.ANSWER:
                    return events / float(seconds[0])
            raise errors.ChaintrueError("the plain agent ended without an answer")
