"""Attacks on writes: races, ids and keys that are there twice, domains, policies, sessions of other kinds, and views."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from deploy import stack
from shared.settings import RowSecurity, Sweep
from sweeper import app_access, batch_sql, batch_writer, batches, repair, undo
from sweeper.journal import Journal
from sweeper.model import Finding, Value
from sweeper.session import Session
from tests import app_role
from tests.hostile.test_writes_triggers import missing
from tests.integration import repair_parts
from tests.integration.repair_parts import EARLIER, NOW, App
from tests.integration.test_repair_interrupted import until_waiting
from tests.integration.test_write_readback import outcomes, trigger


@pytest.fixture
async def app(postgres: stack.Databases) -> AsyncIterator[App]:
    async with repair_parts.opened(postgres) as app:
        yield app


async def test_a_row_that_came_back_while_it_was_waited_for_is_repaired(app: App) -> None:
    """The snapshot of the statement shows the row as it was for a moment, its lock shows it as planned."""
    row_id, control = await app.loan(), await app.loan()
    findings = [await app.finding(one, status="completed") for one in (row_id, control)]
    await app.connection.execute("UPDATE loans SET status = 'pending' WHERE id = $1", row_id)
    writer = app.connection.transaction()
    await writer.start()
    await app.connection.execute("UPDATE loans SET status = 'active' WHERE id = $1", row_id)
    repairing = asyncio.create_task(app.repair(findings))
    await until_waiting(app)
    await writer.commit()
    assert outcomes(await repairing) == ["repaired", "repaired"]
    assert (await app.row(row_id))["status"] == "completed"


async def test_a_row_that_changed_while_it_was_waited_for_is_left(app: App) -> None:
    row_id, control = await app.loan(), await app.loan()
    findings = [await app.finding(one, status="completed") for one in (row_id, control)]
    writer = app.connection.transaction()
    await writer.start()
    await app.connection.execute("UPDATE loans SET status = 'pending' WHERE id = $1", row_id)
    repairing = asyncio.create_task(app.repair(findings))
    await until_waiting(app)
    await writer.commit()
    assert outcomes(await repairing) == ["skipped_changed", "repaired"]
    assert (await app.row(row_id))["status"] == "pending"


async def test_an_id_that_two_rows_have_is_not_written_and_shifts_no_other_row(app: App) -> None:
    """A child table has no key in common with its parent."""
    await app.connection.execute("CREATE TABLE part () INHERITS (loans)")
    rows = [repair_parts.loan_row() | {"id": uuid.UUID(int=number)} for number in range(1, 5)]
    for row in rows:
        await repair_parts.insert(app.connection, "loans", row)
    await repair_parts.insert(app.connection, "part", rows[0])
    findings = [await app.finding(str(row["id"]), status="completed") for row in rows]
    await app.connection.execute("UPDATE loans SET status = 'defaulted' WHERE id = $1", rows[3]["id"])
    before = await app.texts()
    done = await app.repair(findings)
    assert outcomes(done) == ["failed", "repaired", "repaired", "skipped_changed"]
    assert "several rows" in done[0].evidence["reason"]
    changed = sorted({*before} - {*await app.texts()})
    assert len(changed) == 2
    assert all(str(row["id"]) in line for row, line in zip(rows[1:3], changed, strict=True))


async def test_a_unique_index_of_a_parent_keeps_no_key_of_its_children_out(app: App) -> None:
    await app.connection.execute("CREATE TABLE part () INHERITS (loans)")
    await app.read_schema()
    done = await app.repair([missing(801)])
    assert outcomes(done) == ["proposed"]
    assert "CHAINTRUE_SWEEP__INSERT_WITHOUT_UNIQUE_KEY" in done[0].evidence["reason"]
    app.context.settings = Sweep(insert_without_unique_key=("loans",))
    assert outcomes(await app.repair([missing(801)])) == ["repaired"]


async def test_an_old_value_that_its_domain_forbids_by_now_is_no_hindrance(app: App) -> None:
    await app.connection.execute("""
CREATE DOMAIN word AS text; ALTER TABLE loans ALTER status TYPE word;""")
    rows = [await app.loan(status="actve") for _ in range(2)]
    await app.connection.execute("ALTER DOMAIN word ADD CHECK (VALUE IN ('active', 'completed')) NOT VALID")
    await app.read_schema()
    findings = [
        await app.finding(rows[0], status="completed"),
        await app.finding(rows[1], status="defaulted"),
    ]
    assert outcomes(await app.repair(findings)) == ["repaired", "failed"]


async def test_a_row_that_a_policy_keeps_from_the_update_blames_nobody(app: App) -> None:
    name = f"role_{uuid.uuid4().hex[:12]}"
    rows = [await app.loan(user_wallet=wallet) for wallet in ("hidden", "control", "changed")]
    findings = [await app.finding(one, status="completed") for one in rows]
    await app.connection.execute("UPDATE loans SET status = 'pending' WHERE id = $1", rows[2])
    address = await app_role.create(app.url, name=name)
    await app.connection.execute(f"""
ALTER ROLE {name} NOBYPASSRLS; ALTER TABLE loans ENABLE ROW LEVEL SECURITY;
CREATE POLICY seen ON loans FOR SELECT TO {name} USING (true);
CREATE POLICY written ON loans FOR UPDATE TO {name} USING (user_wallet <> 'hidden')""")
    try:
        async with repair_parts.engine(address) as engine:
            app.context.app = app_access.secured(engine, RowSecurity.POLICIES)
            done = await app.repair(findings)
    finally:
        await app_role.drop(app.url, name)
    assert outcomes(done) == ["failed", "repaired", "skipped_changed"]
    assert done[0].evidence["reason"] == batch_writer.OUT_OF_REACH


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
async def test_a_default_isolation_of_the_role_does_not_hide_what_was_waited_for(app: App, level: str) -> None:
    app.context.settings = Sweep(insert_without_unique_key=("liquidity_positions",))
    name = await app.connection.fetchval("SELECT current_database()")
    await app.connection.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = '{level}'")
    finding = position("G1")
    batch = repair.batch_of(app.context.tables["liquidity_positions"], "provider_wallet", [finding])
    async with repair_parts.engine(app.url) as engine:
        app.context.app = engine
        async with app_access.writing(engine) as connection:
            await batches.write(connection, batch)
            second = asyncio.create_task(app.repair([finding, position("G2")]))
            await until_waiting(app)
        assert outcomes(await second) == ["skipped_changed", "repaired"]
    assert await app.connection.fetchval("SELECT count(*) FROM liquidity_positions") == 2


def position(wallet: str, **columns: Value) -> Finding:
    insert: dict[str, Value] = {"provider_wallet": wallet, "deposited_amount": 5, "updated_at": NOW, **columns}
    return Finding(
        drift_class="missing_row",
        table="liquidity_positions",
        row_id=None,
        entity=f"provider:{wallet}",
        words="",
        insert=insert,
    )


async def test_a_row_of_the_application_that_came_between_look_and_insert_is_not_called_ours(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds just what would have been inserted, as it does where the application does its work late."""
    app.context.settings = Sweep(insert_without_unique_key=("liquidity_positions",))
    sql, other, execute = batch_sql.insert, await asyncpg.connect(app.url), AsyncConnection.execute
    monkeypatch.setattr(batch_sql, "insert", lambda batch: f"/* here */ {sql(batch)}")

    async def late(self: AsyncConnection, statement: Any, *args: Any, **options: Any) -> Any:
        if str(statement).startswith("/* here */"):
            into = "INSERT INTO liquidity_positions (provider_wallet, deposited_amount, updated_at)"
            await other.execute(f"{into} VALUES ('G1', 5, $1)", NOW)
        return await execute(self, statement, *args, **options)

    monkeypatch.setattr(AsyncConnection, "execute", late)
    done = await app.repair([position("G1"), position("G2")])
    await other.close()
    assert outcomes(done) == ["skipped_changed", "repaired"]
    assert await app.connection.fetchval("SELECT count(*) FROM liquidity_positions") == 2


async def test_a_writer_to_the_table_beneath_a_view_is_waited_for(app: App) -> None:
    """The application inserts into the table beneath; the sweep sees the view alone."""
    app.context.settings = Sweep(insert_without_unique_key=("liquidity_positions",))
    await app.connection.execute("""
ALTER TABLE liquidity_positions RENAME TO positions_v2; CREATE VIEW liquidity_positions AS SELECT * FROM positions_v2""")
    await app.read_schema()
    writer = await asyncpg.connect(app.url)
    transaction = writer.transaction()
    await transaction.start()
    await writer.execute("INSERT INTO positions_v2 (provider_wallet, deposited_amount) VALUES ('G1', 5)")
    journal = Journal(app.own, await app.begin())
    repairing = asyncio.create_task(repair.repair(app.context, [position("G1"), position("G2")], journal=journal))
    await asyncio.sleep(1)  # the look after the commit waits for 5 s
    await transaction.commit()
    await writer.close()
    done = await repairing
    assert sorted((one.drift_class, one.outcome.value) for one in done) == [
        ("duplicate_row", "reported"), ("duplicate_row", "reported"), ("missing_row", "repaired"), ("missing_row", "repaired"),
    ]  # fmt: skip


VIEW = """
ALTER TABLE loans RENAME TO loans_v2; CREATE VIEW loans AS SELECT * FROM loans_v2;
CREATE FUNCTION act() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF OLD.user_wallet = 'dropped' THEN RETURN NULL; END IF;
  IF OLD.user_wallet = 'ignored' THEN RETURN NEW; END IF;
  UPDATE loans_v2 SET status = CASE OLD.user_wallet WHEN 'changed' THEN 'odd' ELSE NEW.status END, updated_at = NEW.updated_at
    WHERE id = OLD.id;
  RETURN NEW; END $$;
CREATE TRIGGER act INSTEAD OF UPDATE ON loans FOR EACH ROW EXECUTE FUNCTION act()"""


async def test_what_an_instead_of_trigger_does_not_do_is_not_called_done(app: App) -> None:
    rows = [await app.loan(user_wallet=wallet) for wallet in ("dropped", "ignored", "changed", "control")]
    await app.connection.execute(VIEW)
    await app.read_schema()
    done = await app.repair([await app.finding(one, status="completed") for one in rows])
    assert outcomes(done) == ["failed", "failed", "failed", "repaired"]
    states = [(await app.row(one, "loans_v2"))["status"] for one in rows]
    assert states == ["active", "active", "active", "completed"]


async def cache_row(app: App, wallet: str) -> tuple[str, dict[str, Value]]:
    user, row = uuid.uuid4(), uuid.uuid4()
    await repair_parts.insert(app.connection, "users", {"id": user, "wallet_address": wallet})
    held: dict[str, Value] = {"score": 1, "tier": "poor", "last_synced_at": EARLIER, "updated_at": EARLIER}
    known = {"id": row, "user_id": user, "wallet_address": wallet}
    await repair_parts.insert(app.connection, "reputation_cache", known | held)
    return str(row), held


@pytest.mark.parametrize("mark", ["updated_at", None])
async def test_a_trigger_that_marks_the_time_of_a_sync_hinders_neither_repair_nor_undo(
    app: App, mark: str | None
) -> None:
    """With and without `updated_at`, whose column may be one that takes no time."""
    await trigger(app, "NEW.last_synced_at = clock_timestamp(); RETURN NEW;", table="reputation_cache")
    row_id, held = await cache_row(app, "G1")
    update: dict[str, Value] = {"score": 2, "tier": "good", "last_synced_at": NOW}
    finding = Finding(
        drift_class="stale_value", table="reputation_cache", row_id=row_id, entity=None, words="",
        update=update | ({mark: NOW} if mark else {}), guard=held,
    )  # fmt: skip
    run_id = await app.begin()
    assert outcomes(await app.repair([finding], run_id=run_id)) == ["repaired"]
    taken_back = await app.begin("undo")
    this = SimpleNamespace(run=SimpleNamespace(run_id=taken_back, notes=[]), context=app.context)
    assert outcomes(await undo._undo(cast("Session", this), run_id)) == ["repaired"]
    row = await app.row(row_id, "reputation_cache")
    assert (row["score"], row["tier"]) == (1, "poor")


async def test_a_value_of_the_chain_that_equals_the_time_of_writing_is_no_mark(app: App) -> None:
    await trigger(app, "IF NEW.user_wallet = 'bad' THEN NEW.completed_at = NULL; END IF; RETURN NEW;")
    rows = [await app.loan(user_wallet=wallet) for wallet in ("bad", "control")]
    for row, outcome in zip(rows, ["failed", "repaired"], strict=True):
        done = await app.repair([await app.finding(row, status="completed", completed_at=NOW)])
        assert outcomes(done) == [outcome]
