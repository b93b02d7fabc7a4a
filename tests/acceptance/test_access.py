"""Sweeps with the role that the application's owner gives: under row-level security, through poolers, on PostgreSQL 15."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import asyncpg
import pytest

from deploy import localnet, stack
from deploy.demo.app import drift, rows, schema
from tests import app_role, services
from tests.acceptance.conftest import World, deployment
from tests.pgbouncer import pgbouncer
from tests.postgres15 import postgres15


@pytest.fixture(scope="module")
async def mirror(kafka: services.RunningKafka, postgres: stack.Databases, warm: Sequence[str]) -> AsyncIterator[World]:
    """A deployment whose tables are filled; each test brings an application's database of its own."""
    async with deployment(kafka, postgres, localnet.STORY, command=warm) as world:
        assert (await world.run("migrate")).code == 0
        async with world.streaming():
            reached = await world.run("status", "--wait-ledger", str(world.truth.ledger), "--timeout", "60")
            assert reached.code == 0, reached.stderr
            await world.until_observed()
        yield world


@pytest.fixture(scope="module")
async def server15() -> AsyncIterator[stack.Databases]:
    async with postgres15() as server:
        yield server


@asynccontextmanager
async def application(world: World, server: stack.Databases) -> AsyncIterator[tuple[World, str]]:
    """The world with a drifted application on that server, reached by the role alone; and the name of the role."""
    name = f"app_{uuid.uuid4().hex[:12]}"
    url = await server.create_database(name)
    await schema.create(url)
    connection = await asyncpg.connect(url)
    await rows.insert(connection, rows.build(world.truth))
    await drift.inject(connection, world.truth, available(world))
    await connection.close()
    role = await app_role.create(url, name=name)
    try:
        yield replace(world, app_url=url, environment={**world.environment, "CHAINTRUE_APP_DATABASE__URL": role}), name
    finally:
        await server.drop_database(name)
        await app_role.run(server.admin_url, f"DROP ROLE IF EXISTS {name}")


def available(world: World) -> frozenset[str]:
    return frozenset(drift.CORE - drift.plan(world.truth, drift.CORE).unavailable.keys())


async def swept(world: World) -> dict[str, Any]:
    """Dry, repairing and once more: as with all rights, of which the drift's own plan says what has to come of it."""
    expected = drift.plan(world.truth, available(world)).findings
    before = await world.dump()
    dry = await world.run("sweep", "--json")
    assert dry.code == 2, dry.stderr + dry.stdout
    assert await world.dump() == before
    repaired = await world.run("sweep", "--repair", "--json")
    outcomes = {(one["class"], one["row_id"] or one["entity"]): one["outcome"] for one in repaired.json["findings"]}
    assert outcomes == {(one.drift_class, one.row_id or one.entity): one.outcome for one in expected}, repaired.stderr
    again = await world.run("sweep", "--repair", "--json")
    assert again.json["repaired"] == 0
    assert again.json["status"] == "complete"
    found: dict[str, Any] = repaired.json
    return found


@pytest.mark.parametrize(
    ("version", "mode"), [("15", "direct"), ("15", "transaction"), ("18", "direct"), ("18", "session")]
)
async def test_a_sweep_with_the_role_alone(
    version: str, mode: str, mirror: World, postgres: stack.Databases, server15: stack.Databases
) -> None:
    """The tables have row-level security without a policy, as the application's migrations make them."""
    server = server15 if version == "15" else postgres
    async with AsyncExitStack() as entered:
        world, _ = await entered.enter_async_context(application(mirror, server))
        role = world.environment["CHAINTRUE_APP_DATABASE__URL"]
        if mode != "direct":
            password = unquote(urlsplit(role).password or "")
            users = {unquote(urlsplit(role).username or ""): password}
            size = 2 if mode == "transaction" else 20  # in session mode each connection of ours needs a backend
            before = await entered.enter_async_context(
                pgbouncer(server.admin_url, mode=mode, pool_size=size, users=users)
            )
            world.environment["CHAINTRUE_APP_DATABASE__URL"] = before.url(role)
        assert (await swept(world))["repaired"] > 0


async def test_a_plan_applied_and_taken_back_with_the_role_alone(
    mirror: World, server15: stack.Databases, tmp_path: Path
) -> None:
    """Inserts too; and everything that can be taken back is as it was."""
    async with application(mirror, server15) as (world, _):
        before = await world.dump()
        file = str(tmp_path / "plan.yaml")
        assert (await world.run("sweep", "--plan", file)).code == 2
        applied = await world.run("apply", file, "--json")
        assert applied.json["repaired"] > 0, applied.stderr
        outcomes = {one["class"]: one["outcome"] for one in applied.json["findings"]}
        assert outcomes["missing_row"] == "repaired"
        undone = await world.run("undo", applied.json["run_id"], "--json")
        assert undone.code in (0, 2), undone.stderr
        after = await world.dump()
        assert all(set(rows) <= set(after[table]) for table, rows in before.items())


async def test_a_role_with_policies_of_its_own(mirror: World, postgres: stack.Databases) -> None:
    async with application(mirror, postgres) as (world, name):
        await app_role.run(world.app_url, f"ALTER ROLE {name} NOBYPASSRLS")
        refused = await world.run("sweep", "--repair")
        assert refused.code == 1
        assert "row-level security" in refused.stderr
        policies = "CHAINTRUE_SWEEP__ROW_SECURITY"
        hidden = await world.run("sweep", "--repair", **{policies: "policies"})
        assert hidden.code == 1
        assert "row-level security hides all rows of" in hidden.stderr
        for table in (
            "loans",
            "vendors",
            "transactions",
            "reputation_cache",
            "reputation_history",
            "liquidity_positions",
        ):
            await app_role.run(world.app_url, f"CREATE POLICY all_of_it ON {table} TO {name} USING (true)")
        await app_role.run(world.app_url, f"CREATE POLICY all_of_it ON users FOR SELECT TO {name} USING (true)")
        world.environment[policies] = "policies"
        if "default_detection_results" in schema.TABLES:
            await app_role.run(
                world.app_url, f"CREATE POLICY all_of_it ON default_detection_results FOR SELECT TO {name} USING (true)"
            )
        await swept(world)


async def test_several_sweeps_share_two_backends(mirror: World, postgres: stack.Databases) -> None:
    """Others use the pooler, too, and leave their settings in the sessions."""
    async with AsyncExitStack() as entered:
        world, _ = await entered.enter_async_context(application(mirror, postgres))
        role = world.environment["CHAINTRUE_APP_DATABASE__URL"]
        users = {unquote(urlsplit(role).username or ""): unquote(urlsplit(role).password or "")}
        before = await entered.enter_async_context(pgbouncer(postgres.admin_url, pool_size=2, users=users))
        world.environment["CHAINTRUE_APP_DATABASE__URL"] = before.url(role)
        stop = asyncio.Event()

        async def disturb() -> None:
            while not stop.is_set():
                connection = await asyncpg.connect(before.url(role), statement_cache_size=0)
                await connection.execute("SET timezone = 'Asia/Kathmandu'; SET datestyle = 'German, DMY'")
                async with connection.transaction():
                    await connection.fetch(
                        "SELECT pg_sleep(0.01), count(*) FROM public.loans WHERE status = $1", "active"
                    )
                await connection.execute("SET search_path = pg_catalog; SET default_transaction_read_only = on")
                await connection.close()

        async with asyncio.TaskGroup() as group:
            crowd = [group.create_task(disturb()) for _ in range(3)]
            try:
                await swept(world)
            finally:
                stop.set()
            assert len(crowd) == 3


@pytest.mark.parametrize("command", ["stream", "sweep", "replay"])
async def test_the_own_database_behind_a_transaction_pooler_is_refused(
    command: str, mirror: World, postgres: stack.Databases
) -> None:
    async with pgbouncer(postgres.admin_url) as before:
        url = before.url(mirror.environment["CHAINTRUE_DATABASE__URL"])
        ended = await mirror.run(command, CHAINTRUE_DATABASE__URL=url)
    assert ended.code == 1
    assert "CHAINTRUE_DATABASE__URL leads through a transaction pooler" in ended.stderr
    assert "session mode" in ended.stderr
