"""A sweep judged from outside: what it finds, and each write that reached the application, against what was injected."""

import asyncio
import secrets
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from deploy import localnet, stack
from deploy.demo.app import rows
from deploy.localnet import faults
from tests import services
from tests.acceptance import judge
from tests.acceptance.conftest import Ended, World, deployment

HISTORY = Path(__file__).parents[1] / "vectors" / "random-1.jsonl.gz"
SEED = 20_260_901


@dataclass
class Court:
    """An indexed chain and a drifted application; each case gets copies of both databases."""

    world: World
    charge: judge.Charge
    role: str
    password: str

    @asynccontextmanager
    async def case(self, *, empty_app: bool = False, empty_own: bool = False) -> AsyncIterator["Trial"]:
        name = uuid.uuid4().hex
        admin = await asyncpg.connect(self.world.app_url.rpartition("/")[0] + "/postgres")
        own = self.world.environment["CHAINTRUE_DATABASE__URL"]
        copies = {f"own_{name}": own, f"app_{name}": self.world.app_url}
        for copy, url in copies.items():
            bare = empty_own and url == own
            await admin.execute(f"CREATE DATABASE {copy}" + ("" if bare else f" TEMPLATE {url.rpartition('/')[2]}"))
        own_url, app_url = (url.rpartition("/")[0] + f"/{copy}" for copy, url in copies.items())
        environment = self.world.environment | {
            "CHAINTRUE_DATABASE__URL": own_url,
            "CHAINTRUE_APP_DATABASE__URL": judge.as_role(app_url, self.role, self.password),
            "CHAINTRUE_SWEEP__OBSERVE_SECONDS": "1",
            "CHAINTRUE_RPC__MAX_ATTEMPTS": "2",
        }
        app = await asyncpg.connect(app_url)
        if empty_app:
            await app.execute(f"TRUNCATE {', '.join(judge.TABLES)} CASCADE")
        try:
            yield Trial(replace(self.world, app_url=app_url, environment=environment), self, app)
        finally:
            await app.close()
            self.world.net.fault = None
            for copy in copies:
                await admin.execute(f"DROP DATABASE {copy} WITH (FORCE)")
            await admin.close()


@dataclass
class Trial:
    world: World
    court: Court
    app: asyncpg.Connection

    async def sweep(self, *arguments: str, **changes: str | None) -> Ended:
        return await self.world.run("sweep", "--json", *arguments, **changes)

    async def writes(self) -> list[dict[str, Any]]:
        """All that the sweeper's role wrote."""
        found = await self.app.fetch("SELECT * FROM judge.writes WHERE who = $1 ORDER BY number", self.court.role)
        return [dict(one) | {"old": judge.image(one["old"]), "new": judge.image(one["new"])} for one in found]


@pytest.fixture(scope="module")
async def court(kafka: services.RunningKafka, postgres: stack.Databases, warm: Sequence[str]) -> AsyncIterator[Court]:
    async with deployment(kafka, postgres, HISTORY, command=warm) as world:
        assert (await world.run("migrate")).code == 0
        async with world.streaming():
            reached = await world.run("status", "--json", "--wait-ledger", str(world.truth.ledger), "--timeout", "80")
            assert reached.code == 0, reached.stderr
            await world.until_observed()
            # What the story of a position cost is known once its entry was read.
            await world.until("SELECT NOT EXISTS (SELECT FROM chain.liquidity_positions WHERE asked_at IS NOT NULL)")
        role, password = f"judge_{uuid.uuid4().hex[:12]}", secrets.token_hex(8)
        connection = await asyncpg.connect(world.app_url)
        await connection.execute(f"CREATE ROLE {role} LOGIN BYPASSRLS PASSWORD '{password}'")
        await connection.close()
        charge = await judge.arrange(world.app_url, role, world.truth, seed=SEED)
        yield Court(world, charge, role, password)


def found_by(ended: Ended) -> dict[judge.Key, dict[str, Any]]:
    assert ended.stdout, ended.stderr
    findings = ended.json["findings"]
    found = {(one["class"], one["table"], one["row_id"] or one["entity"]): one for one in findings}
    assert len(found) == len(findings), "one finding a row"
    return found


async def test_a_dry_run_finds_exactly_what_was_injected_and_writes_nothing(court: Court) -> None:
    async with court.case() as trial:
        ended = await trial.sweep()
        assert await trial.app.fetchval("SELECT count(*) FROM judge.writes") == 0
    found, wanted = found_by(ended), court.charge.outcomes
    told = judge.scores(found, wanted)
    for name, (precision, recall) in told.items():
        print(f"{name:32} precision {precision:.3f} recall {recall:.3f} of {sum(key[0] == name for key in wanted)}")  # noqa: T201 - what a judge reads
    assert found.keys() - wanted.keys() == set()
    assert wanted.keys() - found.keys() == set()
    assert set(told.values()) == {(1.0, 1.0)}
    assert (ended.code, ended.json["status"]) == (2, "complete")


async def test_a_repair_writes_what_is_allowed_and_a_second_one_nothing(court: Court) -> None:
    true = rows.build(court.world.truth)
    async with court.case() as trial:
        before = await trial.world.dump()
        ended = await trial.sweep("--repair")
        outcomes = {key: one["outcome"] for key, one in found_by(ended).items()}
        assert outcomes == court.charge.outcomes
        writes = await trial.writes()
        assert {write["operation"] for write in writes} == {"UPDATE"}
        assert sorted((write["table"], str(write["old"]["id"])) for write in writes) == sorted(court.charge.repaired)
        for write in writes:
            table, old, new = write["table"], write["old"], write["new"]
            row_id = str(old["id"])
            changed = {column for column in new if new[column] != old[column]} - {"updated_at"}
            allowed = court.charge.repaired[table, row_id]
            assert changed, write
            assert changed <= allowed, write
            for column in allowed - {"error", "last_synced_at"}:
                if (wanted := true[table].get(row_id)) is not None:
                    _agrees(column, new[column], wanted[column], was=old[column])
        assert await trial.app.fetchval("SELECT count(*) FROM judge.writes WHERE operation <> 'UPDATE'") == 0
        after = await trial.world.dump()
        touched = {row_id for _, row_id in court.charge.repaired}
        for table, lines in before.items():
            assert len(lines) == len(after[table])
            moved = [line for line, now in zip(lines, after[table], strict=True) if line != now]
            assert all(any(row_id in line for row_id in touched) for line in moved)
        again = await trial.sweep("--repair")
        assert again.json["repaired"] == 0
        assert len(await trial.writes()) == len(writes)
        assert await trial.world.dump() == after


def _agrees(column: str, now: Any, wanted: Any, *, was: Any) -> None:
    """What the chain owns is the chain's; a time that the application wrote down stands, where the status has one."""
    if column in ("completed_at", "defaulted_at") and wanted is not None and was is not None:
        assert now == was
    else:
        assert str(now) == str(wanted) or now == wanted, (column, now, wanted)


async def test_what_others_write_during_a_sweep_is_never_overwritten(court: Court) -> None:
    """Each write of the sweeper stands on exactly the row that it recorded as read before."""
    repaired = [row_id for table, row_id in court.charge.repaired if table == "loans"]
    async with court.case() as trial:
        stop = asyncio.Event()
        writers = [asyncio.create_task(_write(trial.world.app_url, repaired[number::4], stop)) for number in range(4)]
        ended = await trial.sweep("--repair", CHAINTRUE_SWEEP__SETTLE_SECONDS="1")
        stop.set()
        last: dict[str, int] = {}
        for one in await asyncio.gather(*writers):
            last |= one
        assert last
        for row_id, term in last.items():
            assert await trial.app.fetchval("SELECT term FROM loans WHERE id = $1", row_id) == term
        writes = [write for write in await trial.writes() if write["table"] == "loans"]
        before = {
            row_id: judge.image(told)
            for row_id, told in await trial.world.own(
                "SELECT row_id, before::text FROM recon.changes WHERE table_name = 'loans'"
            )
        }
        for write in writes:
            read = before[str(write["old"]["id"])]
            for column, told in read.items():
                assert str(write["old"][column]) == str(told), (column, write["old"], read)
            allowed = court.charge.repaired["loans", str(write["old"]["id"])] | {"updated_at"}
            assert {column for column in write["new"] if write["new"][column] != write["old"][column]} <= allowed
        outcomes = {one["row_id"]: one["outcome"] for one in found_by(ended).values() if one["table"] == "loans"}
        written = {str(write["old"]["id"]) for write in writes}
        assert written == {row_id for row_id, outcome in outcomes.items() if outcome == "repaired"}


async def _write(url: str, ids: list[str], stop: asyncio.Event) -> dict[str, int]:
    """Change the application's own columns of the rows until told to stop; returns the last value of each."""
    connection = await asyncpg.connect(url)
    last: dict[str, int] = {}
    try:
        number = 1
        while not stop.is_set():
            for row_id in ids:
                await connection.execute(
                    "UPDATE loans SET term = $2, updated_at = clock_timestamp() WHERE id = $1", row_id, number
                )
                last[row_id] = number
            number += 1
            await asyncio.sleep(0.02)
    finally:
        await connection.close()
    return last


async def test_of_two_runners_one_works_and_the_other_says_so(court: Court) -> None:
    async with court.case() as trial:
        changes = {"CHAINTRUE_SWEEP__SETTLE_SECONDS": "600"}
        async with trial.world.started("sweep", "--repair", "--json", **changes):
            await trial.world.until("SELECT count(*) > 0 FROM recon.runs WHERE status = 'running'")
            second = await trial.sweep("--repair")
            assert second.code == 1
            assert "another sweep is running" in second.stderr
        assert await trial.writes() == []


def _silent(*methods: str) -> Callable[[str], faults.Fault | None]:
    return lambda method: faults.unavailable() if not methods or method in methods else None


@pytest.mark.parametrize(
    "methods", [(), ("getLedgerEntries", "getTransaction")], ids=["from the start", "after the survey"]
)
async def test_a_chain_that_cannot_be_asked_repairs_nothing(court: Court, methods: tuple[str, ...]) -> None:
    async with court.case() as trial:
        court.world.net.fault = _silent(*methods)
        ended = await trial.sweep("--repair")
        assert (ended.code, ended.json["status"]) == (3, "incomplete")
        assert any("chain" in reason for reason in ended.json["reasons"])
        assert await trial.writes() == []


async def test_a_node_that_is_behind_repairs_nothing(court: Court) -> None:
    async with (
        court.case() as trial,
        localnet.serve(history=HISTORY, retention=None, tip=court.world.truth.ledger - 2_000) as net,
    ):
        ended = await trial.sweep("--repair", CHAINTRUE_RPC__URLS=net.url)
        assert ended.code == 3, ended.stderr
        assert [write for write in await trial.writes() if write["table"] != "transactions"] == []


async def test_another_network_is_an_error(court: Court) -> None:
    async with court.case() as trial:
        court.world.net.fault = lambda _: faults.another_network("Some other network ; 2026")
        ended = await trial.sweep("--repair")
        assert ended.code == 1
        assert await trial.writes() == []


async def test_nothing_indexed_is_no_clean_run(court: Court) -> None:
    async with court.case(empty_own=True) as trial:
        assert (await trial.world.run("migrate")).code == 0
        ended = await trial.sweep("--repair")
        assert ended.code == 3
        assert any("chaintrue stream" in reason for reason in ended.json["reasons"])
        assert await trial.writes() == []


async def test_of_an_empty_application_all_is_missing_and_nothing_is_brought_unasked(court: Court) -> None:
    async with court.case(empty_app=True) as trial:
        ended = await trial.sweep("--repair")
        assert (ended.code, set(ended.json["drift"])) == (2, {"missing_row"})
        assert await trial.writes() == []


async def test_without_the_right_to_write_each_repair_is_named_with_the_cure(court: Court) -> None:
    async with court.case() as trial:
        await trial.app.execute(f"REVOKE UPDATE ON ALL TABLES IN SCHEMA public FROM {court.role}")
        ended = await trial.sweep("--repair")
        assert (ended.code, ended.json["status"], ended.json["repaired"]) == (2, "complete", 0), ended.stderr
        failed = [one for one in ended.json["findings"] if one["outcome"] == "failed"]
        assert {"loans", "vendors"} <= {one["table"] for one in failed}
        refused = [one for one in failed if f"permission denied for table {one['table']}" in one["evidence"]["reason"]]
        assert all("deploy/roles" in one["evidence"]["reason"] for one in refused)
        assert {one["table"] for one in refused} == {one["table"] for one in failed}
        assert await trial.writes() == []


@pytest.mark.parametrize("right", ["SELECT", "BYPASSRLS"])
async def test_a_right_to_read_that_is_missing_ends_the_run(court: Court, right: str) -> None:
    async with court.case() as trial:
        if right == "BYPASSRLS":
            await trial.app.execute(f"ALTER ROLE {court.role} NOBYPASSRLS")
        else:
            await trial.app.execute(f"REVOKE {right} ON ALL TABLES IN SCHEMA public FROM {court.role}")
        try:
            ended = await trial.sweep("--repair")
        finally:
            await trial.app.execute(f"ALTER ROLE {court.role} BYPASSRLS")
        assert ended.code == 1, ended.stdout
        assert "loans" in ended.stderr or "vendors" in ended.stderr
        assert await trial.writes() == []
