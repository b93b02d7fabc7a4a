"""What a repair reports is what the row holds: triggers, rules and column types that drop or change a write."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from deploy import stack
from sweeper import batch_writer, batches, flapping
from sweeper.model import FLAPPING, Finding, Outcome, Value
from sweeper.storage import Storage
from tests.integration import repair_parts
from tests.integration.repair_parts import EARLIER, NOW, App
from tests.integration.test_repair_interrupted import until_waiting

DROPPED = "the application's database dropped the write without an error: a trigger or rule"
PARTS = {
    "partitions": """
ALTER TABLE default_detection_results DROP CONSTRAINT default_detection_results_loan_id_fkey,
  DROP CONSTRAINT default_detection_results_loan_db_id_fkey;
ALTER TABLE loans RENAME TO old_loans;
CREATE TABLE loans (LIKE old_loans INCLUDING DEFAULTS, PRIMARY KEY (id)) PARTITION BY HASH (id);
CREATE TABLE part PARTITION OF loans FOR VALUES WITH (MODULUS 1, REMAINDER 0);
""",
    "children": "CREATE TABLE part () INHERITS (loans); ALTER TABLE part ADD PRIMARY KEY (id);",
}


@pytest.fixture
async def app(postgres: stack.Databases) -> AsyncIterator[App]:
    async with repair_parts.opened(postgres) as app:
        yield app


def outcomes(findings: list[Finding]) -> list[str]:
    return [one.outcome.value for one in findings]


async def trigger(app: App, body: str, *, when: str = "BEFORE UPDATE", table: str = "loans", kind: str = "") -> None:
    """A trigger of the application for each row."""
    deferred = "DEFERRABLE INITIALLY DEFERRED" if kind else ""
    await app.connection.execute(f"""
CREATE FUNCTION act() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$;
CREATE {kind} TRIGGER act {when} ON {table} {deferred} FOR EACH ROW EXECUTE FUNCTION act()""")
    await app.read_schema()


async def test_a_deferred_trigger_that_takes_the_write_back_is_a_failure(app: App) -> None:
    body = "UPDATE loans SET status = OLD.status WHERE id = NEW.id AND NEW.status = 'completed'; RETURN NULL;"
    await trigger(app, body, when="AFTER UPDATE", kind="CONSTRAINT")
    row_id = await app.loan()
    before = await app.row(row_id)
    run_id = await app.begin()
    (done,) = await app.repair([await app.finding(row_id, status="completed")], run_id=run_id)
    assert outcomes([done]) == ["failed"]
    assert "changed column status to active: a trigger or rule" in done.evidence["reason"]
    assert (await app.journal(run_id))[0]["outcome"] == "failed"
    assert await app.row(row_id) == before


@pytest.mark.parametrize("shape", PARTS)
async def test_triggers_of_partitions_and_children_count(app: App, shape: str) -> None:
    await app.connection.execute(PARTS[shape])
    body = "UPDATE part SET status = 'active' WHERE id = NEW.id AND status <> 'active'; RETURN NULL;"
    await trigger(app, body, when="AFTER UPDATE", table="part")
    row = repair_parts.loan_row()
    await repair_parts.insert(app.connection, "part", row)
    (done,) = await app.repair([await app.finding(str(row["id"]), status="completed")])
    assert outcomes([done]) == ["failed"]
    assert "changed column status to active" in done.evidence["reason"]


@pytest.mark.parametrize("shape", ["table", *PARTS])
async def test_a_trigger_that_drops_the_write_is_named_and_nobody_is_blamed(app: App, shape: str) -> None:
    if shape != "table":
        await app.connection.execute(PARTS[shape])
    table = "loans" if shape == "table" else "part"
    await trigger(app, "IF NEW.status = 'completed' THEN RETURN NULL; END IF; RETURN NEW;", table=table)
    rows = [repair_parts.loan_row() for _ in range(3)]
    for row in rows:
        await repair_parts.insert(app.connection, table, row)
    words = ["completed", "defaulted", "completed"]
    findings = [await app.finding(str(row["id"]), status=word) for row, word in zip(rows, words, strict=True)]
    done = await app.repair(findings)
    assert outcomes(done) == ["failed", "repaired", "failed"]
    assert done[0].evidence["reason"] == done[2].evidence["reason"] == DROPPED


@pytest.mark.parametrize("condition", ["", "WHERE NEW.status = 'completed'"])
async def test_a_rule_that_drops_the_write_is_named_and_the_others_are_written(app: App, condition: str) -> None:
    await app.connection.execute(f"CREATE RULE keep AS ON UPDATE TO loans {condition} DO INSTEAD NOTHING")
    await app.read_schema()
    rows = [await app.loan() for _ in range(3)]
    words = ["completed", "defaulted", "completed"]
    done = await app.repair([await app.finding(row, status=word) for row, word in zip(rows, words, strict=True)])
    assert outcomes(done) == ["failed", "repaired" if condition else "failed", "failed"]
    assert done[0].evidence["reason"] == DROPPED


async def test_a_trigger_that_rounds_or_removes_leaves_nothing_written(app: App) -> None:
    body = """
IF NEW.user_wallet = 'rounded' THEN UPDATE loans SET remaining_balance = round(remaining_balance, 2)
  WHERE id = NEW.id AND remaining_balance <> round(remaining_balance, 2); END IF;
IF NEW.user_wallet = 'removed' THEN DELETE FROM loans WHERE id = NEW.id; END IF; RETURN NULL;"""
    await trigger(app, body, when="AFTER UPDATE")
    rows = [await app.loan(user_wallet=word) for word in ("rounded", "removed", "free")]
    before = [await app.row(row) for row in rows]
    done = await app.repair([await app.finding(row, remaining_balance=Decimal("0.0000333")) for row in rows])
    assert outcomes(done) == ["failed", "failed", "repaired"]
    assert "changed column remaining_balance to 0.00" in done[0].evidence["reason"]
    assert "removed the row" in done[1].evidence["reason"]
    assert [await app.row(row) for row in rows[:2]] == before[:2]


async def test_a_trigger_that_writes_another_column_is_no_hindrance(app: App) -> None:
    await trigger(app, "NEW.next_payment_due = now(); NEW.reservation_id = 'x'; NEW.updated_at = now(); RETURN NEW;")
    row_id = await app.loan()
    done = await app.repair([await app.finding(row_id, status="completed")])
    assert outcomes(done) == ["repaired"]
    assert (await app.row(row_id))["reservation_id"] == "x"


@pytest.mark.parametrize(
    ("column_type", "value", "tolerance", "outcome"),
    [
        ("numeric(14,2)", "0.0000333", "0", "failed"),
        ("numeric(14,2)", "12.3456789", "0.005", "repaired"),
        ("numeric(14,2)", "12.34", "0", "repaired"),
        ("cents", "0.0000333", "0", "failed"),
        ("cents", "7", "0", "repaired"),
        ("real", "123456789.1234567", "0", "failed"),
        ("real", "0.1", "0", "repaired"),
        ("double precision", "12345678901234567.5", "0", "failed"),
        ("double precision", "1234567.1234567", "0", "repaired"),
        ("integer", "7", "0", "repaired"),
        ("text", "0.1000", "0", "repaired"),
    ],
)
async def test_an_amount_counts_as_written_by_its_value(
    app: App, column_type: str, value: str, tolerance: str, outcome: str
) -> None:
    await app.connection.execute("CREATE DOMAIN cents AS numeric(14,2)")
    await app.connection.execute(f"ALTER TABLE loans ALTER remaining_balance TYPE {column_type}")
    storage = Storage(amounts=frozenset({"remaining_balance"}), tolerance=Decimal(tolerance))
    app.context.subjects = {**app.context.subjects, "loans": replace(app.context.subjects["loans"], storage=storage)}  # type: ignore[type-var]  # a dataclass beneath the protocol
    await app.read_schema()
    row_id = await app.loan(remaining_balance="1" if column_type == "text" else Decimal(1))
    finding = await app.finding(row_id, remaining_balance=Decimal(value))
    before = await app.row(row_id)
    done = await app.repair([finding])
    assert outcomes(done) == [outcome], done[0].evidence
    if outcome == "failed":
        assert "column remaining_balance" in done[0].evidence["reason"]
        assert await app.row(row_id) == before


@pytest.mark.parametrize("column_type", ["timestamptz(0)", "timestamp(3)", "timestamp", "date", "text", "timestamptz"])
async def test_a_time_may_lose_what_its_column_does_not_keep(app: App, column_type: str) -> None:
    await app.connection.execute("SET timezone = 'UTC'")
    await app.connection.execute(f"ALTER TABLE loans ALTER completed_at TYPE {column_type}")
    await app.read_schema()
    at = datetime(2026, 8, 1, 12, 0, 0, 723456, tzinfo=UTC)
    done = await app.repair([await app.finding(await app.loan(), status="completed", completed_at=at)])
    assert outcomes(done) == ["repaired"]


@pytest.mark.parametrize("column_type", ["character(20)", "varchar(20)", "status_word", "status_enum"])
async def test_a_word_is_the_same_in_whatever_type_keeps_it(app: App, column_type: str) -> None:
    await app.connection.execute(
        "CREATE DOMAIN status_word AS char(20); CREATE TYPE status_enum AS ENUM ('active', 'completed')"
    )
    await app.connection.execute("DROP INDEX loans_defaulted_at_idx")
    await app.connection.execute(
        f"ALTER TABLE loans ALTER status DROP DEFAULT, ALTER status TYPE {column_type} USING status::{column_type}"
    )
    await app.read_schema()
    row_id = await app.loan()
    done = await app.repair([await app.finding(row_id, status="completed")])
    assert outcomes(done) == ["repaired"], done[0].evidence


async def test_many_dropped_and_changed_rows_cost_few_transactions(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    body = """
IF NEW.user_wallet = 'dropped' THEN RETURN NULL; END IF;
IF NEW.user_wallet = 'changed' THEN NEW.status = 'odd'; END IF; RETURN NEW;"""
    await trigger(app, body)
    words = ["dropped", "changed", "free"] * 40
    findings = [await app.finding(await app.loan(user_wallet=word), status="completed") for word in words]
    tried: list[int] = []
    write = batches.write

    async def counted(connection: AsyncConnection, batch: batches.Batch, **options: Any) -> Any:
        tried.append(len(batch))
        return await write(connection, batch, **options)

    monkeypatch.setattr(batches, "write", counted)
    done = await app.repair(findings)
    assert outcomes(done) == [{"free": "repaired"}.get(word, "failed") for word in words]
    assert done[0].evidence["reason"] == DROPPED
    assert "changed column status to odd" in done[1].evidence["reason"]
    assert len(tried) == 2


async def test_a_row_that_changed_or_is_held_is_told_apart_from_one_that_was_dropped(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_writer, "ATTEMPTS", 2)
    await trigger(app, "IF NEW.status = 'completed' THEN RETURN NULL; END IF; RETURN NEW;")
    rows = [await app.loan() for _ in range(5)]
    findings = [await app.finding(row, status="completed") for row in rows[:4]]
    findings.append(await app.finding(rows[4], status="defaulted"))
    await app.connection.execute("UPDATE loans SET remaining_balance = 7 WHERE id = $1", rows[0])
    await app.connection.execute("DELETE FROM loans WHERE id = $1", rows[1])
    holder = app.connection.transaction()
    await holder.start()
    await app.connection.execute("SELECT FROM loans WHERE id = $1 FOR UPDATE", rows[2])
    done = await app.repair(findings)
    await holder.rollback()
    assert outcomes(done) == ["skipped_changed", "skipped_changed", "failed", "failed", "repaired"]
    assert done[2].evidence["reason"] == batch_writer.HELD
    assert done[3].evidence["reason"] == DROPPED


async def test_a_row_that_somebody_else_repaired_meanwhile_is_not_ours(app: App) -> None:
    row_id = await app.loan()
    finding = await app.finding(row_id, status="completed")
    writer = app.connection.transaction()
    await writer.start()
    await app.connection.execute("UPDATE loans SET status = 'completed', updated_at = $2 WHERE id = $1", row_id, NOW)
    repairing = asyncio.create_task(app.repair([finding]))
    await until_waiting(app)
    await writer.commit()
    assert outcomes(await repairing) == ["skipped_changed"]


async def test_a_write_that_never_took_is_never_written_back_by_somebody(app: App) -> None:
    """Field report 4: a column that rounds, and a trigger that drops; run after run."""
    await app.connection.execute("ALTER TABLE loans ALTER remaining_balance TYPE numeric(14,2)")
    await trigger(app, "IF NEW.status = 'completed' THEN RETURN NULL; END IF; RETURN NEW;")
    rounded, dropped = await app.loan(remaining_balance=Decimal(0)), await app.loan()
    for _ in range(5):
        findings = [
            await app.finding(rounded, remaining_balance=Decimal("0.0000333")),
            await app.finding(dropped, status="completed"),
        ]
        marked = await flapping.mark(app.own, findings, limit=3, window_seconds=600)
        assert not any(FLAPPING in one.evidence for one in marked)
        run_id = await app.begin()
        done = await app.repair(marked, run_id=run_id)
        assert {one.outcome for one in done} == {Outcome.FAILED}
        assert {change["outcome"] for change in await app.journal(run_id)} == {"failed"}


async def test_a_value_that_a_domain_refuses_fails_alone_among_obstacles(app: App) -> None:
    """Fault 9 a: `loan_id` is unique and referred to, so what forbids its change is looked up for the whole batch."""
    await app.connection.execute("""
CREATE DOMAIN loan_status AS text CHECK (VALUE IN ('pending', 'active', 'completed'));
ALTER TABLE loans ALTER status TYPE loan_status""")
    await app.read_schema()
    rows = [await app.loan(loan_id=f"pending-{number}") for number in range(4)]
    taken = await app.loan(loan_id="903")
    words = ["completed", "cancelled", "active", "completed"]
    findings = [
        await app.finding(row, loan_id=f"90{number}", status=word)
        for number, (row, word) in enumerate(zip(rows, words, strict=True))
    ]
    run_id = await app.begin()
    done = await app.repair(findings, run_id=run_id)
    assert outcomes(done) == ["repaired", "failed", "repaired", "failed"]
    assert "loan_status" in done[1].evidence["reason"]
    assert f"row {taken} has the loan_id 903 already" in done[3].evidence["reason"]
    assert "intended" not in {change["outcome"] for change in await app.journal(run_id)}
    images = [json.loads(change["after"])["status"] for change in await app.journal(run_id)]
    assert sorted(images) == ["active", "cancelled", "completed"]


async def test_a_time_of_writing_beside_updated_at_is_the_applications_to_set(app: App) -> None:
    """No rule compares `last_synced_at`; `tier` is compared, whatever the repair found different."""
    body = "NEW.last_synced_at = now(); IF NEW.wallet_address = 'G1' THEN NEW.tier = 'odd'; END IF; RETURN NEW;"
    await trigger(app, body, table="reputation_cache")
    rows = []
    for number in range(2):
        user, row = uuid.uuid4(), uuid.uuid4()
        await repair_parts.insert(app.connection, "users", {"id": user, "wallet_address": f"G{number}"})
        held: dict[str, Value] = {"score": 1, "tier": "poor", "last_synced_at": EARLIER, "updated_at": EARLIER}
        known = {"id": row, "user_id": user, "wallet_address": f"G{number}"}
        await repair_parts.insert(app.connection, "reputation_cache", known | held)
        rows.append((str(row), held))
    update: dict[str, Value] = {"score": 2, "tier": "poor", "last_synced_at": NOW, "updated_at": NOW}
    findings = [
        Finding(
            drift_class="stale_value",
            table="reputation_cache",
            row_id=row,
            entity=None,
            words="",
            update=update,
            guard=held,
        )
        for row, held in rows
    ]
    done = await app.repair(findings)
    assert outcomes(done) == ["repaired", "failed"]
    assert "changed column tier to odd" in done[1].evidence["reason"]
