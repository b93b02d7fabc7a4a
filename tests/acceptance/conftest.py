"""The command as a user runs it: in processes of its own, against a chain, a Kafka and a PostgreSQL."""

import asyncio
import json
import os
import signal
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from deploy import localnet, stack
from deploy.demo import processes
from deploy.demo.app import chain, chain_truth, drift, rows, schema
from tests import services
from tests import warm as warm_start

FINISH_SECONDS = 90


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


@dataclass
class World:
    """Everything a deployment needs, and the environment that says where it is."""

    net: localnet.Localnet
    truth: chain.ChainTruth
    app_url: str
    environment: dict[str, str] = field(default_factory=dict)
    command: Sequence[str] = (processes.command(),)

    async def start(self, *arguments: str, **changes: str | None) -> asyncio.subprocess.Process:
        """`chaintrue …` with the environment changed: None takes a variable away."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("CHAINTRUE_")}
        wanted = self.environment | changes
        return await asyncio.create_subprocess_exec(
            *self.command,
            *arguments,
            env=inherited | {name: value for name, value in wanted.items() if value is not None},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def run(self, *arguments: str, **changes: str | None) -> Ended:
        """The command to its end."""
        process = await self.start(*arguments, **changes)
        async with asyncio.timeout(FINISH_SECONDS):
            stdout, stderr = await process.communicate()
        return Ended(process.returncode or 0, stdout.decode(), stderr.decode())

    async def dump(self) -> dict[str, list[str]]:
        """Every row of the application, as text."""
        connection = await asyncpg.connect(self.app_url)
        try:
            return {
                table: [row[0] for row in await connection.fetch(f"SELECT t::text FROM {table} AS t ORDER BY id::text")]
                for table in ("loans", "transactions", "reputation_cache", "reputation_history", "vendors", "users")
            }
        finally:
            await connection.close()

    async def until_observed(self) -> None:
        """Until every loan's entry was read."""
        connection = await asyncpg.connect(self.environment["CHAINTRUE_DATABASE__URL"])
        statement = "SELECT count(*) FROM chain.loans WHERE observed_at IS NOT NULL AND asked_at IS NULL"
        try:
            async with asyncio.timeout(30):
                while await connection.fetchval(statement) < self.truth.loan_counter:  # noqa: ASYNC110 - of another process
                    await asyncio.sleep(0.1)
        finally:
            await connection.close()

    @asynccontextmanager
    async def streaming(self, **changes: str | None) -> AsyncIterator[asyncio.subprocess.Process]:
        """`chaintrue stream` for the length of the block; it has to end well."""
        process = await self.start("stream", **changes)
        try:
            yield process
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(15):
                _, said = await process.communicate()
        assert process.returncode == 0, said.decode()

    @asynccontextmanager
    async def started(self, *arguments: str, **changes: str | None) -> AsyncIterator[asyncio.subprocess.Process]:
        """A command that is to end by itself within the block; else it is killed."""
        process = await self.start(*arguments, **changes)
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()

    async def own(self, statement: str) -> list[Any]:
        """The rows of a query on chaintrue's own database."""
        connection = await asyncpg.connect(self.environment["CHAINTRUE_DATABASE__URL"])
        try:
            return [tuple(row) for row in await connection.fetch(statement)]
        finally:
            await connection.close()

    async def until(self, statement: str, *, seconds: float = 60) -> None:
        """Until the query on the own database gives a true value."""
        async with asyncio.timeout(seconds):
            while not (await self.own(statement))[0][0]:  # noqa: ASYNC110 - of another process
                await asyncio.sleep(0.2)


@asynccontextmanager
async def deployment(
    kafka: services.RunningKafka,
    postgres: stack.Databases,
    history: Path,
    *,
    command: Sequence[str] = (processes.command(),),
    retention: int | None = None,
    tip: int | None = None,
) -> AsyncIterator[World]:
    """A history played to `tip` (its end), an application whose rows agree with its end; nothing of chaintrue has run yet.

    `command` is what is run as `chaintrue` (the installed one); `retention`: how many ledgers the node keeps (all).
    """
    name = uuid.uuid4().hex
    own, app = await postgres.create_database(f"own_{name}"), await postgres.create_database(f"app_{name}")
    truth = chain_truth.truth_at(history)
    await schema.create(app)
    connection = await asyncpg.connect(app)
    await rows.insert(connection, rows.build(truth))
    await connection.close()
    async with localnet.serve(history=history, retention=retention, tip=tip) as net:
        contracts = truth.contracts
        yield World(
            net,
            truth,
            app,
            {
                "CHAINTRUE_NETWORK__PASSPHRASE": truth.passphrase,
                "CHAINTRUE_RPC__URLS": net.url,
                "CHAINTRUE_RPC__REQUESTS_PER_SECOND": "200",
                "CHAINTRUE_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
                "CHAINTRUE_KAFKA__TOPIC": f"facts-{name}",
                "CHAINTRUE_KAFKA__GROUP": f"group-{name}",
                "CHAINTRUE_DATABASE__URL": own,
                "CHAINTRUE_APP_DATABASE__URL": app,
                "CHAINTRUE_SWEEP__SETTLE_SECONDS": "0",
                "CHAINTRUE_SWEEP__MAX_TIP_AGE_SECONDS": "0",  # the recorded ledgers closed long ago
                "CHAINTRUE_SWEEP__FLAP_LIMIT": "1000",  # tests put the same rows back again and again
                "CHAINTRUE_STEPFI__CREDITLINE": contracts["creditline"],
                "CHAINTRUE_STEPFI__LIQUIDITY_POOL": contracts["pool"],
                "CHAINTRUE_STEPFI__REPUTATION": contracts["reputation"],
                "CHAINTRUE_STEPFI__VENDOR_REGISTRY": contracts["vendors"],
                "CHAINTRUE_STEPFI__PARAMETERS": contracts["parameters"],
            },
            command,
        )


@asynccontextmanager
async def drifted(
    kafka: services.RunningKafka, postgres: stack.Databases, *, command: Sequence[str]
) -> AsyncIterator[World]:
    """The story, indexed to its end by a stream that has ended; the application drifted since."""
    async with deployment(kafka, postgres, localnet.STORY, command=command) as world:
        assert (await world.run("migrate")).code == 0
        async with world.streaming():
            reached = await world.run("status", "--wait-ledger", str(world.truth.ledger), "--timeout", "80")
            assert reached.code == 0, reached.stderr
            await world.until_observed()
        wanted = drift.CORE | drift.TRAPS
        available = wanted - drift.plan(world.truth, wanted).unavailable.keys() - {"other_time_zone"}
        connection = await asyncpg.connect(world.app_url)
        await drift.inject(connection, world.truth, available)
        await connection.close()
        yield world


@pytest.fixture(scope="session")
async def warm() -> AsyncIterator[Sequence[str]]:
    """What stands for `chaintrue` where its start is not what is tested."""
    async with warm_start.command() as argv:
        yield argv
