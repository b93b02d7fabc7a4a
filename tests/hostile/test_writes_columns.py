"""Attacks on writes: columns that cannot hold, or may not be given, a part of what belongs together; settings; taking back."""

import uuid
from collections.abc import AsyncIterator, Sequence
from types import SimpleNamespace
from typing import cast

import pytest

from deploy import stack
from sweeper import column_fit, recovery, repair, undo
from sweeper.journal import Journal
from sweeper.model import Finding, Value
from sweeper.session import Session
from tests import app_role
from tests.hostile.test_writes_rows import cache_row
from tests.integration import repair_parts
from tests.integration.repair_parts import EARLIER, NOW, App
from tests.integration.test_write_readback import outcomes, trigger

TRUTH: dict[str, Value] = {"score": 80, "tier": "good", "last_synced_at": NOW, "updated_at": NOW}
TIER = """
ALTER TABLE reputation_cache DROP COLUMN tier;
ALTER TABLE reputation_cache ADD tier text GENERATED ALWAYS AS (CASE WHEN score > 50 THEN 'good' ELSE 'poor' END) STORED"""
MILLISECONDS = "ALTER TABLE {1} ALTER {0} DROP DEFAULT, ALTER {0} TYPE bigint USING extract(epoch FROM {0})::bigint"


@pytest.fixture
async def app(postgres: stack.Databases) -> AsyncIterator[App]:
    async with repair_parts.opened(postgres) as app:
        yield app


def cached(row_id: str, held: dict[str, Value], update: dict[str, Value]) -> Finding:
    return Finding(
        drift_class="stale_value",
        table="reputation_cache",
        row_id=row_id,
        entity="user:G1",
        words="",
        update=update,
        guard=held,
    )


async def planned_and_written(app: App, findings: Sequence[Finding]) -> tuple[list[Finding], list[Finding]]:
    """The findings as a sweep would plan them, and those that it would write with what became of them."""
    await app.read_schema()
    kept = await column_fit.keep(app.context, findings, [])
    return kept, await app.repair([one for one in kept if one.can_be_written])


@pytest.mark.parametrize(
    ("statement", "column"),
    [
        (TIER, "tier"),
        (MILLISECONDS.format("last_synced_at", "reputation_cache"), "last_synced_at"),
        ("ALTER TABLE reputation_cache ALTER tier TYPE varchar(3) USING 'abc'", "tier"),
        (
            "CREATE TYPE tiers AS ENUM ('poor'); ALTER TABLE reputation_cache ALTER tier TYPE tiers USING tier::tiers",
            "tier",
        ),
        ("CREATE DOMAIN low AS integer CHECK (VALUE < 50); ALTER TABLE reputation_cache ALTER score TYPE low", "score"),
    ],
    ids=["generated", "bigint", "varchar(3)", "enum", "domain"],
)
async def test_a_score_is_not_written_without_what_belongs_to_it(app: App, statement: str, column: str) -> None:
    row_id, held = await cache_row(app, "G1")
    loan = await app.loan()
    await app.connection.execute("ALTER TABLE reputation_cache ALTER tier DROP DEFAULT, ALTER score DROP DEFAULT")
    await app.connection.execute(statement)
    before = await app.texts("reputation_cache")
    kept, done = await planned_and_written(
        app, [cached(row_id, held, TRUTH), await app.finding(loan, status="completed")]
    )
    assert kept[0].update == {}
    assert f"reputation_cache.{column}" in kept[0].words
    assert outcomes(done) == ["repaired"]
    assert await app.texts("reputation_cache") == before


async def test_a_time_of_writing_that_its_column_cannot_hold_is_left_out_and_no_more(app: App) -> None:
    row_id, held = await cache_row(app, "G1")
    await app.connection.execute(MILLISECONDS.format("updated_at", "reputation_cache"))
    await trigger(app, "NEW.last_synced_at = clock_timestamp(); RETURN NEW;", table="reputation_cache")
    guard = {name: value for name, value in held.items() if name != "updated_at"}
    _, done = await planned_and_written(app, [cached(row_id, guard, TRUTH)])
    assert outcomes(done) == ["repaired"]
    row = await app.row(row_id, "reputation_cache")
    assert (row["score"], row["tier"], row["updated_at"]) == (80, "good", int(EARLIER.timestamp()) + 1)


@pytest.mark.parametrize(
    ("table", "granted"), [("reputation_cache", "score, last_synced_at, updated_at"), ("loans", "status, updated_at")]
)
async def test_a_role_that_may_write_a_part_writes_nothing_of_it(app: App, table: str, granted: str) -> None:
    """Score but not tier; status but not its time. The other table is repaired."""
    name = f"role_{uuid.uuid4().hex[:12]}"
    row_id, held = await cache_row(app, "G1")
    loan = await app.loan()
    findings = [cached(row_id, held, TRUTH), await app.finding(loan, status="completed", completed_at=NOW)]
    address = await app_role.create(app.url, name=name)
    columns = ", ".join(findings[table == "loans"].update)
    await app.connection.execute(
        f"REVOKE UPDATE ({columns}) ON {table} FROM {name}; GRANT UPDATE ({granted}) ON {table} TO {name}"
    )
    before = await app.texts(table)
    try:
        async with repair_parts.engine(address) as engine:
            app.context.app = engine
            _, done = await planned_and_written(app, findings)
    finally:
        await app_role.drop(app.url, name)
    assert {one.table: one.outcome.value for one in done} == {
        "loans": "repaired", "reputation_cache": "repaired",
    } | {table: "failed"}  # fmt: skip
    assert await app.texts(table) == before


async def test_a_status_that_its_enum_lacks_leaves_the_amounts_to_be_repaired(app: App) -> None:
    await app.connection.execute("""
DROP INDEX loans_defaulted_at_idx; CREATE TYPE words AS ENUM ('pending', 'active', 'completed');
ALTER TABLE loans ALTER status DROP DEFAULT, ALTER status TYPE words USING status::words""")
    lacking, control = await app.loan(), await app.loan()
    await app.witness("loans")
    findings = [
        await app.finding(lacking, status="defaulted", remaining_balance=1),
        await app.finding(control, status="completed", remaining_balance=1),
    ]
    kept, done = await planned_and_written(app, findings)
    assert kept[0].update.keys() == {"remaining_balance", "updated_at"}
    assert outcomes(done) == ["repaired", "repaired"]
    writes = {row: columns for _, row, columns in await app.witnessed()}
    assert writes == {
        lacking: {"remaining_balance", "updated_at"}, control: {"status", "remaining_balance", "updated_at"},
    }  # fmt: skip


async def undone(app: App, run_id: uuid.UUID) -> list[Finding]:
    this = SimpleNamespace(run=SimpleNamespace(run_id=await app.begin("undo"), notes=[]), context=app.context)
    return await undo._undo(cast("Session", this), run_id)


async def test_an_undo_puts_back_what_stands_and_nothing_that_a_trigger_or_a_person_changed(app: App) -> None:
    """A trigger that wrote another column with the repair is no hindrance; what came later is."""
    rows = {wallet: await app.loan(user_wallet=wallet) for wallet in ("control", "later", "null", "refused")}
    await trigger(
        app,
        """IF NEW.status = 'completed' THEN NEW.reservation_id = 'closed'; END IF;
IF NEW.user_wallet = 'null' AND NEW.status = 'active' THEN NEW.status = NULL; END IF;
IF NEW.user_wallet = 'refused' AND NEW.status = 'active' THEN RAISE 'closed for good' USING ERRCODE = '40001'; END IF;
RETURN NEW;""",
    )
    await app.connection.execute("ALTER TABLE loans ALTER status DROP NOT NULL")
    run_id = await app.begin()
    done = await app.repair([await app.finding(row, status="completed") for row in rows.values()], run_id=run_id)
    assert outcomes(done) == ["repaired"] * 4
    await app.connection.execute("UPDATE loans SET remaining_balance = 3 WHERE id = $1", rows["later"])
    taken_back = {one.row_id: one.outcome.value for one in await undone(app, run_id)}
    assert {wallet: taken_back[row] for wallet, row in rows.items()} == {
        "control": "repaired", "later": "skipped_changed", "null": "failed", "refused": "failed",
    }  # fmt: skip
    states = {wallet: (await app.row(row))["status"] for wallet, row in rows.items()}
    assert states == {"control": "active", "later": "completed", "null": "completed", "refused": "completed"}


async def test_intents_on_a_database_that_became_read_only_stay_open_and_nothing_is_written(app: App) -> None:
    rows = [await app.loan(), await app.loan()]
    findings = [await app.finding(row, status="completed") for row in rows]
    batch = repair.batch_of(app.context.tables["loans"], "loan_id", findings)
    run_id = await app.begin()
    await Journal(app.own, run_id).intend(findings, batch)
    name = await app.connection.fetchval("SELECT current_database()")
    await app.connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    before = await app.texts()
    await app.begin()
    (note,) = await recovery.settle(app.context)
    assert "read-only" in note
    assert {one["outcome"] for one in await app.journal(run_id)} == {"intended"}
    assert outcomes(await app.repair(findings)) == ["failed", "failed"]
    assert await app.texts() == before
    await app.connection.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    await recovery.settle(app.context)
    assert {one["outcome"] for one in await app.journal(run_id)} == {"failed"}


@pytest.mark.parametrize("index", ["partial", "expression", "two columns", "deferrable"])
async def test_an_index_that_is_not_on_just_the_key_allows_no_insert(app: App, index: str) -> None:
    await app.connection.execute(
        {
            "partial": "CREATE UNIQUE INDEX ON liquidity_positions (provider_wallet) WHERE deposited_amount > 0",
            "expression": "CREATE UNIQUE INDEX ON liquidity_positions (lower(provider_wallet))",
            "two columns": "CREATE UNIQUE INDEX ON liquidity_positions (provider_wallet, deposited_amount)",
            "deferrable": "ALTER TABLE liquidity_positions ADD UNIQUE (provider_wallet) DEFERRABLE INITIALLY DEFERRED",
        }[index]
    )
    await app.read_schema()
    insert: dict[str, Value] = {"provider_wallet": "G1", "deposited_amount": 5, "updated_at": NOW}
    one = Finding(
        drift_class="missing_row",
        table="liquidity_positions",
        row_id=None,
        entity="provider:G1",
        words="",
        insert=insert,
    )
    assert outcomes(await app.repair([one])) == ["repaired" if index == "deferrable" else "proposed"]
