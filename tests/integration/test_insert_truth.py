"""Inserts: one row a key whatever is lost on the way, and what a trigger of the application makes of them."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text

from deploy import stack
from shared.settings import Sweep
from sweeper import app_access, batch_writer, batches, recovery, repair
from sweeper.journal import Journal
from sweeper.model import Finding, Outcome, Value
from tests.integration import lossy_proxy, repair_parts
from tests.integration.repair_parts import NOW, App
from tests.integration.test_repair_interrupted import until_waiting
from tests.integration.test_write_readback import DROPPED, trigger

ALLOWED = Sweep(insert_without_unique_key=("liquidity_positions",))


@pytest.fixture
async def app(postgres: stack.Databases) -> AsyncIterator[App]:
    async with repair_parts.opened(postgres) as app:
        app.context.settings = ALLOWED
        yield app


def position(wallet: str) -> Finding:
    insert: dict[str, Value] = {"provider_wallet": wallet, "deposited_amount": 5, "updated_at": NOW}
    return Finding(
        drift_class="missing_row",
        table="liquidity_positions",
        row_id=None,
        entity=f"provider:{wallet}",
        words="",
        insert=insert,
    )


def loan(number: int, **columns: Any) -> Finding:
    row = {name: value for name, value in repair_parts.loan_row().items() if name != "id"}
    row |= {"loan_id": str(number), "updated_at": NOW, **columns}
    return Finding(drift_class="missing_row", table="loans", row_id=None, entity=f"loan:{number}", words="", insert=row)


def outcomes(findings: list[Finding]) -> list[str]:
    return [one.outcome.value for one in findings]


async def repaired(app: App, findings: list[Finding], run_id: uuid.UUID | None = None) -> list[Finding]:
    """All that a repair gives, also what it was not asked for."""
    return await repair.repair(app.context, findings, journal=Journal(app.own, run_id or await app.begin()))


async def count(app: App, table: str = "liquidity_positions") -> int:
    return int(await app.connection.fetchval(f"SELECT count(*) FROM {table}"))


async def other_connection(app: App) -> asyncpg.Connection:
    return await asyncpg.connect(app.url)


async def test_a_lost_answer_to_a_commit_that_is_under_way_makes_one_row(app: App) -> None:
    async with (
        lossy_proxy.before(app.url) as (address, proxy),
        repair_parts.engine(address) as engine,
    ):
        app.context.app = engine
        run_id = await app.begin()
        done = await app.repair([position("G1"), position("G2")], run_id=run_id)
        assert proxy.cuts == 0
        await proxy.committed.wait()
    assert outcomes(done) == ["repaired", "repaired"]
    assert await count(app) == 2
    assert {change["outcome"] for change in await app.journal(run_id)} == {"repaired"}


async def test_a_commit_that_stays_under_way_is_unknown_and_settled_by_the_next_run(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_writer, "ATTEMPTS", 2)
    sessions = {of: text(str(one).replace("'5s'", "'300ms'")) for of, one in app_access._SESSIONS.items()}
    monkeypatch.setattr(app_access, "_SESSIONS", sessions)
    async with (
        lossy_proxy.before(app.url, delay=3) as (address, proxy),
        repair_parts.engine(address) as engine,
    ):
        app.context.app = engine
        run_id = await app.begin()
        (done,) = await app.repair([position("G1")], run_id=run_id)
        assert proxy.cuts == 0
        assert done.outcome is Outcome.UNKNOWN
        assert [one["outcome"] for one in await app.journal(run_id)] == ["intended"]
        app.context.app = app.app
        await app.begin()
        async with asyncio.timeout(20):
            while [one["outcome"] for one in await app.journal(run_id)] == ["intended"]:
                await recovery.settle(app.context)
    assert [one["outcome"] for one in await app.journal(run_id)] == ["repaired"]
    assert await count(app) == 1


async def test_an_insert_that_is_still_committing_is_not_called_undone_by_the_next_run(app: App) -> None:
    finding = position("G1")
    batch = repair.batch_of(app.context.tables["liquidity_positions"], "provider_wallet", [finding])
    run_id = await app.begin()
    await Journal(app.own, run_id).intend([finding], batch)
    async with app_access.writing(app.app) as connection:
        await batches.write(connection, batch)
        await app.begin()
        settling = asyncio.create_task(recovery.settle(app.context))
        await until_waiting(app)
    (note,) = await settling
    assert "1 were written" in note
    assert [one["outcome"] for one in await app.journal(run_id)] == ["repaired"]
    assert await count(app) == 1


async def test_a_lock_that_is_held_for_long_leaves_the_insert_open(app: App) -> None:
    finding = position("G1")
    batch = repair.batch_of(app.context.tables["liquidity_positions"], "provider_wallet", [finding])
    run_id = await app.begin()
    await Journal(app.own, run_id).intend([finding], batch)
    async with app_access.writing(app.app) as connection:
        await batches.write(connection, batch)
        await app.begin()
        (note,) = await recovery.settle(app.context)
        assert "cannot be looked at yet" in note
    assert [one["outcome"] for one in await app.journal(run_id)] == ["intended"]
    await recovery.settle(app.context)
    assert [one["outcome"] for one in await app.journal(run_id)] == ["repaired"]


async def test_two_writers_of_one_key_make_one_row(app: App) -> None:
    finding = position("G1")
    batch = repair.batch_of(app.context.tables["liquidity_positions"], "provider_wallet", [finding])
    async with app_access.writing(app.app) as connection:
        await batches.write(connection, batch)
        second = asyncio.create_task(app.repair([finding]))
        await until_waiting(app)
    assert outcomes(await second) == ["skipped_changed"]
    assert await count(app) == 1


async def test_writers_of_many_keys_do_not_deadlock(app: App) -> None:
    wallets = [f"G{number}" for number in range(60)]
    first, second = [position(one) for one in wallets], [position(one) for one in reversed(wallets)]
    done = await asyncio.gather(repaired(app, first, await app.begin("a")), _late(app, second))
    assert await count(app) == 60
    assert sorted(outcomes([*done[0], *done[1]])) == ["repaired"] * 60 + ["skipped_changed"] * 60


async def _late(app: App, findings: list[Finding]) -> list[Finding]:
    """The same writes, without a run of their own."""
    batch = repair.batch_of(app.context.tables["liquidity_positions"], "provider_wallet", findings)
    done = await batch_writer.write(app.context, batch)
    return [replace(finding, outcome=one.outcome) for finding, one in zip(findings, done, strict=True)]


@pytest.mark.parametrize("commits", ["before", "after"])
async def test_an_insert_of_the_application_at_the_same_time_is_reported_at_once(app: App, commits: str) -> None:
    other = await other_connection(app)
    writer = other.transaction()
    await writer.start()
    await other.execute("INSERT INTO liquidity_positions (provider_wallet, deposited_amount) VALUES ('G1', 7)")
    repairing = asyncio.create_task(repaired(app, [position("G1"), position("G2")]))
    if commits == "after":
        async with asyncio.timeout(20):
            while not await count(app):  # noqa: ASYNC110 - of another process
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.3)
    await writer.commit()
    done = await repairing
    await other.close()
    if commits == "before" and outcomes(done) == ["skipped_changed", "repaired"]:
        return  # it committed before we looked: the row came meanwhile, and nothing was doubled
    assert outcomes(done[:2]) == ["repaired", "repaired"]
    ids = await app.connection.fetch(
        "SELECT id::text FROM liquidity_positions WHERE provider_wallet = 'G1' ORDER BY id"
    )
    assert [one.drift_class for one in done[2:]] == ["duplicate_row"] * 2
    assert [one.row_id for one in done[2:]] == [row["id"] for row in ids]
    assert {one.entity for one in done[2:]} == {"provider:G1"}
    assert {one.action.value for one in done[2:]} == {"report"}


async def test_without_a_unique_key_nothing_is_inserted_unless_the_setting_names_the_table(app: App) -> None:
    app.context.settings = Sweep()
    done = await app.repair([position("G1"), loan(7)])
    assert outcomes(done) == ["proposed", "repaired"]
    assert "CHAINTRUE_SWEEP__INSERT_WITHOUT_UNIQUE_KEY" in done[0].evidence["reason"]
    assert await count(app) == 0
    await app.connection.execute("ALTER TABLE loans DROP CONSTRAINT loans_loan_id_key CASCADE")
    await app.connection.execute("CREATE UNIQUE INDEX ON loans (loan_id) WHERE status = 'active'")
    await app.connection.execute("CREATE UNIQUE INDEX ON loans (loan_id, user_wallet)")
    await app.read_schema()
    assert outcomes(await app.repair([loan(8)])) == ["proposed"]
    await app.connection.execute("CREATE UNIQUE INDEX ON loans (loan_id)")
    await app.read_schema()
    assert outcomes(await app.repair([loan(8)])) == ["repaired"]


async def test_a_trigger_that_drops_or_changes_an_inserted_row_is_named(app: App) -> None:
    body = """
IF NEW.user_wallet = 'dropped' THEN RETURN NULL; END IF;
IF NEW.user_wallet = 'changed' THEN NEW.amount = round(NEW.amount); END IF;
IF NEW.user_wallet = 'renamed' THEN NEW.loan_id = 'x' || NEW.loan_id; END IF; RETURN NEW;"""
    await trigger(app, body, when="BEFORE INSERT")
    words = ["dropped", "changed", "renamed", "free", "dropped", "renamed"]
    findings = [loan(number, user_wallet=word, amount="1.5") for number, word in enumerate(words)]
    run_id = await app.begin()
    done = await app.repair(findings, run_id=run_id)
    assert outcomes(done) == ["failed", "failed", "failed", "repaired", "failed", "failed"]
    assert done[0].evidence["reason"] == done[4].evidence["reason"] == DROPPED
    assert "changed column amount to 2" in done[1].evidence["reason"]
    assert "changed column loan_id" in done[2].evidence["reason"]
    assert await app.connection.fetchval("SELECT array_agg(user_wallet) FROM loans") == ["free"]


async def test_an_after_trigger_that_changes_or_removes_an_inserted_row_is_named(app: App) -> None:
    body = """
IF NEW.user_wallet = 'changed' THEN UPDATE loans SET status = 'pending' WHERE id = NEW.id; END IF;
IF NEW.user_wallet = 'removed' THEN DELETE FROM loans WHERE id = NEW.id; END IF; RETURN NULL;"""
    await trigger(app, body, when="AFTER INSERT", kind="CONSTRAINT")
    done = await app.repair([loan(n, user_wallet=word) for n, word in enumerate(("changed", "removed", "free"))])
    assert outcomes(done) == ["failed", "failed", "repaired"]
    assert "changed column status to pending" in done[0].evidence["reason"]
    assert "removed the row" in done[1].evidence["reason"]
    assert await app.connection.fetchval("SELECT array_agg(user_wallet) FROM loans") == ["free"]


async def test_a_trigger_that_puts_the_row_into_a_child_counts_as_written(app: App) -> None:
    await app.connection.execute("CREATE TABLE part () INHERITS (loans)")
    await trigger(app, "INSERT INTO part SELECT NEW.*; RETURN NULL;", when="BEFORE INSERT")
    app.context.settings = Sweep(insert_without_unique_key=("loans",))  # no index of the parent holds rows of a child
    run_id = await app.begin()
    done = await app.repair([loan(1), loan(2)], run_id=run_id)
    assert outcomes(done) == ["repaired", "repaired"]
    assert await count(app, "part") == 2
    assert all(change["row_id"] for change in await app.journal(run_id))


async def test_a_rule_on_inserts_is_named(app: App) -> None:
    await app.connection.execute("CREATE RULE keep AS ON INSERT TO loans DO INSTEAD NOTHING")
    (done,) = await app.repair([loan(1)])
    assert outcomes([done]) == ["failed"]
    assert "a rule" in done.evidence["reason"]


async def test_an_insert_that_its_type_refuses_fails_alone_and_leaves_no_intent_open(app: App) -> None:
    """Fault 9 b."""
    await app.connection.execute("""
CREATE DOMAIN loan_status AS text CHECK (VALUE IN ('pending', 'active', 'completed'));
CREATE DOMAIN loan_key AS text CHECK (VALUE <> '4');
ALTER TABLE loans ALTER status TYPE loan_status, ALTER loan_id TYPE loan_key""")
    await app.read_schema()
    run_id = await app.begin()
    findings = [loan(1), loan(2, status="cancelled"), loan(3), loan(4), loan(5, term=1 << 40)]
    done = await app.repair(findings, run_id=run_id)
    assert outcomes(done) == ["repaired", "failed", "repaired", "failed", "failed"]
    assert "loan_status" in done[1].evidence["reason"]
    assert "loan_key" in done[3].evidence["reason"]
    assert "intended" not in {change["outcome"] for change in await app.journal(run_id)}
    assert await count(app, "loans") == 2


async def test_recovery_settles_what_a_type_refuses_by_now(app: App) -> None:
    findings = [loan(1), loan(2, status="cancelled"), loan(3), loan(4)]
    run_id = await app.begin()
    batch = repair.batch_of(app.context.tables["loans"], "loan_id", findings)
    await Journal(app.own, run_id).intend(findings, batch)
    row_id = await app.loan(status="pending")
    update = await app.finding(row_id, status="cancelled")
    batch = repair.batch_of(app.context.tables["loans"], "loan_id", [update])
    second = await app.begin()
    await Journal(app.own, second).intend([update], batch)
    await app.begin()
    await app.repair([loan(1)])
    await app.connection.execute("""
CREATE DOMAIN loan_status AS text CHECK (VALUE IN ('pending', 'active', 'completed'));
CREATE DOMAIN loan_key AS text CHECK (VALUE <> '4');
ALTER TABLE loans ALTER status TYPE loan_status, ALTER loan_id TYPE loan_key""")
    await app.read_schema()
    await recovery.settle(app.context)
    told = {change["entity"]: change["outcome"] for change in await app.journal(run_id)}
    assert told == {"loan:1": "unknown", "loan:2": "failed", "loan:3": "failed", "loan:4": "failed"}
    assert [change["outcome"] for change in await app.journal(second)] == ["failed"]
