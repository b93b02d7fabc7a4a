"""Where the tests' Kafka and PostgreSQL come from: the environment, else Docker, else the local stack.

`CHAINTRUE_TEST_KAFKA` (bootstrap servers) and `CHAINTRUE_TEST_POSTGRES` (an address that may create databases) name servers
that run already. Otherwise containers are used where a Docker engine answers, and the local stack where none does.
"""

import asyncio
import os
import sys
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from deploy import stack

ENGINE_SECONDS = 3
KAFKA_IMAGE = "confluentinc/cp-kafka:8.0.0"
POSTGRES_IMAGE = "postgres:18-alpine"


@dataclass(frozen=True)
class RunningKafka:
    """A Kafka that somebody else runs: what tests may use of it."""

    bootstrap_servers: str


@asynccontextmanager
async def kafka() -> AsyncIterator[RunningKafka]:
    """The Kafka for a whole test run."""
    if named := os.environ.get("CHAINTRUE_TEST_KAFKA"):
        yield RunningKafka(named)
    elif await engine_answers():
        async with _kafka_container() as servers:
            yield RunningKafka(servers)
    else:
        async with stack.kafka() as broker:
            yield RunningKafka(broker.bootstrap_servers)


@asynccontextmanager
async def postgres() -> AsyncIterator[stack.Databases]:
    """The PostgreSQL for a whole test run; tests make their own databases in it."""
    if named := os.environ.get("CHAINTRUE_TEST_POSTGRES"):
        yield stack.Databases(named)
    elif await engine_answers():
        async with _postgres_container() as url:
            yield stack.Databases(url)
    else:
        async with stack.postgres(fsync=False) as server:
            yield server.databases


async def engine_answers() -> bool:
    """Whether a Docker engine answers; the client alone does not count.

    Asked in a process of its own: the client leaves its socket open when nobody answers, which would be a warning here.
    """
    ping = f"import docker; docker.from_env(timeout={ENGINE_SECONDS}).ping()"
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", ping, stdin=quiet, stdout=quiet, stderr=quiet)
    try:
        return await asyncio.wait_for(process.wait(), 5 * ENGINE_SECONDS) == 0
    except TimeoutError:
        process.kill()
        await process.wait()
        return False


@asynccontextmanager
async def _kafka_container() -> AsyncIterator[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library's own, about itself
        from testcontainers.community.kafka import KafkaContainer

        container = KafkaContainer(KAFKA_IMAGE).with_kraft().with_env("KAFKA_AUTO_CREATE_TOPICS_ENABLE", "false")
        for name in ("TRANSACTION_STATE_LOG_REPLICATION_FACTOR", "TRANSACTION_STATE_LOG_MIN_ISR"):
            container.with_env(f"KAFKA_{name}", "1")
        await asyncio.to_thread(container.start, timeout=120)
    try:
        yield container.get_bootstrap_server()
    finally:
        await asyncio.to_thread(container.stop)


@asynccontextmanager
async def _postgres_container() -> AsyncIterator[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library's own, about itself
        from testcontainers.community.postgres import PostgresContainer

        container = PostgresContainer(POSTGRES_IMAGE, driver=None)
        await asyncio.to_thread(container.start)
    try:
        yield container.get_connection_url()
    finally:
        await asyncio.to_thread(container.stop)
