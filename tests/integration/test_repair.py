"""Repairs on a real PostgreSQL: what is written, what is left alone, and what is recorded of it."""

import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from deploy import stack
from sweeper import repair
from sweeper.model import Finding, Outcome
from tests.integration import repair_parts
from tests.integration.repair_parts import EARLIER, NOW, App


@pytest.fixture
async def app(postgres: stack.Databases) -> AsyncIterator[App]:
    async with repair_parts.opened(postgres) as app:
        yield app


def outcomes(findings: list[Finding]) -> list[str]:
    return [one.outcome.value for one in findings]


def missing(table: str, entity: str, **insert: Any) -> Finding:
    return Finding(drift_class="missing_row", table=table, row_id=None, entity=entity, words="", insert=insert)


async def test_a_repair_writes_its_columns_alone_and_records_both_images(app: App) -> None:
    row_id, other = await app.loan(remaining_balance=Decimal("1.50")), await app.loan()
    await app.witness("loans")
    run_id = await app.begin()
    finding = await app.finding(row_id, status="completed", remaining_balance=Decimal(0), completed_at=NOW)
    (done,) = await app.repair([finding], run_id=run_id)
    assert done.outcome is Outcome.REPAIRED
    written = {"status", "remaining_balance", "completed_at", "updated_at"}
    assert await app.witnessed() == [("loans UPDATE", row_id, written)]
    row = await app.row(row_id)
    assert (row["status"], row["remaining_balance"], row["completed_at"], row["updated_at"]) == (
        "completed",
        0,
        NOW,
        NOW,
    )
    (change,) = await app.journal(run_id)
    before, after = json.loads(change["before"]), json.loads(change["after"])
    assert written <= set(before)
    assert (before["remaining_balance"], before["completed_at"]) == ("1.50", None)
    assert before["updated_at"] == EARLIER.isoformat()
    assert set(after) == written
    assert after["updated_at"] == NOW.isoformat()
    assert (change["outcome"], change["row_id"]) == ("repaired", row_id)
    hashed = await app.connection.fetchval(
        "SELECT md5(l::text) FROM (SELECT set_config('timezone', 'UTC', false)) AS s, loans AS l WHERE id = $1", row_id
    )
    assert change["row_hash"] == hashed
    assert (await app.row(other))["updated_at"] == EARLIER


async def test_the_hash_does_not_depend_on_the_session(app: App) -> None:
    name = await app.connection.fetchval("SELECT current_database()")
    await app.connection.execute(f"ALTER DATABASE {name} SET datestyle = 'SQL, DMY'")
    await app.connection.execute(f"ALTER DATABASE {name} SET extra_float_digits = -5")
    row_id = await app.loan()
    hashes = []
    for status in ("completed", "completed"):
        run_id = await app.begin()
        await app.repair([await app.finding(row_id, status=status)], run_id=run_id)
        hashes.append((await app.journal(run_id))[0]["row_hash"])
        await app.app.dispose()
        await app.connection.execute(f"ALTER DATABASE {name} SET datestyle = 'ISO, YMD'")
    assert hashes[0] == hashes[1] is not None


async def test_a_row_that_changed_is_left_alone(app: App) -> None:
    rows = [await app.loan() for _ in range(3)]
    findings = [await app.finding(row_id, status="completed") for row_id in rows]
    await app.connection.execute("UPDATE loans SET remaining_balance = 7 WHERE id = $1", rows[1])
    await app.connection.execute("DELETE FROM loans WHERE id = $1", rows[2])
    await app.witness("loans")
    assert outcomes(await app.repair(findings)) == ["repaired", "skipped_changed", "skipped_changed"]
    assert [row_id for _, row_id, _ in await app.witnessed()] == [rows[0]]


async def test_null_and_exact_numbers_and_odd_words_are_guarded_and_written(app: App) -> None:
    odd = 'it\'s "odd"\\ {a,b} NULL\nñ'
    row_id = await app.loan(user_wallet=odd, reservation_id=odd, amount=Decimal("0.10"))
    finding = await app.finding(
        row_id, status=odd, reservation_id=None, remaining_balance=Decimal("12345678901234567.0000001")
    )
    assert outcomes(await app.repair([finding])) == ["repaired"]
    row = await app.row(row_id)
    assert (row["status"], row["reservation_id"]) == (odd, None)
    assert row["remaining_balance"] == Decimal("12345678901234567.0000001")


async def test_a_column_that_stores_less_or_is_too_narrow_is_named_and_left(app: App) -> None:
    await app.connection.execute(
        "ALTER TABLE loans ALTER remaining_balance TYPE numeric(12,2), ALTER status TYPE varchar(9)"
    )
    await app.read_schema()
    rows = [await app.loan() for _ in range(3)]
    findings = [
        await app.finding(rows[0], remaining_balance=Decimal("1.2345678"), status="completed"),
        await app.finding(rows[1], remaining_balance=Decimal(1), status="cancelled_by_chain"),
        await app.finding(rows[2], remaining_balance=Decimal(2), status="defaulted"),
    ]
    done = await app.repair(findings)
    assert outcomes(done) == ["failed", "failed", "repaired"]
    assert "changed column remaining_balance to 1.23" in done[0].evidence["reason"]
    assert "too long" in done[1].evidence["reason"]
    row = await app.row(rows[0])
    assert (row["remaining_balance"], row["status"], row["updated_at"]) == (Decimal("105.50"), "active", EARLIER)
    assert (await app.row(rows[1]))["status"] == "active"


async def test_what_the_application_refuses_fails_alone(app: App) -> None:
    await app.connection.execute("ALTER TABLE loans ADD CONSTRAINT known CHECK (status <> 'strange')")
    await app.connection.execute("""
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF NEW.status = 'forbidden' THEN RAISE EXCEPTION 'the app says no'; END IF; RETURN NEW; END $$;
CREATE TRIGGER refuse BEFORE UPDATE ON loans FOR EACH ROW EXECUTE FUNCTION refuse()""")
    words = ["completed", "strange", "completed", "forbidden", "completed", "completed", "completed"]
    rows = [await app.loan() for _ in words]
    run_id = await app.begin()
    done = await app.repair(
        [await app.finding(row, status=word) for row, word in zip(rows, words, strict=True)], run_id=run_id
    )
    assert outcomes(done) == ["failed" if word in ("strange", "forbidden") else "repaired" for word in words]
    assert 'check constraint "known"' in done[1].evidence["reason"]
    assert "the app says no" in done[3].evidence["reason"]
    recorded = {change["row_id"]: (change["outcome"], change["reason"]) for change in await app.journal(run_id)}
    assert recorded[rows[3]] == ("failed", done[3].evidence["reason"])
    assert recorded[rows[0]] == ("repaired", None)


async def test_a_trigger_that_undoes_the_write_leaves_nothing_written(app: App) -> None:
    await app.connection.execute("""
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF NEW.user_wallet = 'kept' THEN UPDATE loans SET status = 'active' WHERE id = NEW.id AND status <> 'active'; END IF;
  RETURN NULL; END $$;
CREATE TRIGGER keep AFTER UPDATE ON loans FOR EACH ROW EXECUTE FUNCTION keep()""")
    await app.read_schema()
    kept, free = await app.loan(user_wallet="kept"), await app.loan()
    before = await app.row(kept)
    done = await app.repair([await app.finding(kept, status="completed"), await app.finding(free, status="completed")])
    assert outcomes(done) == ["failed", "repaired"]
    assert "trigger" in done[0].evidence["reason"]
    assert await app.row(kept) == before


async def test_a_trigger_that_marks_each_write_is_no_hindrance(app: App) -> None:
    await app.connection.execute("""
CREATE FUNCTION mark() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.updated_at = now(); RETURN NEW; END $$;
CREATE TRIGGER mark BEFORE UPDATE ON loans FOR EACH ROW EXECUTE FUNCTION mark()""")
    row_id = await app.loan()
    assert outcomes(await app.repair([await app.finding(row_id, status="completed")])) == ["repaired"]


async def test_obstacles_are_named_and_the_others_written(app: App) -> None:
    await app.connection.execute("CREATE SCHEMA other")
    await app.connection.execute("ALTER TABLE loans ADD UNIQUE (loan_id, user_wallet)")
    await app.connection.execute(
        'CREATE TABLE other."Notes" (loan text, wallet text, FOREIGN KEY (loan, wallet) REFERENCES loans (loan_id, user_wallet))'
    )
    await app.read_schema()
    names = ("pending-1", "pending-2", "pending-3", "pending-4", "pending-5", "pending-6")
    rows = [await app.loan(loan_id=name, user_wallet="G") for name in names]
    taken = await app.loan(loan_id="903", user_wallet="G")
    await app.connection.execute(
        "INSERT INTO default_detection_results (loan_id, loan_db_id, status) VALUES ('pending-1', $1, 'detected')",
        uuid.UUID(rows[0]),
    )
    await app.connection.execute("INSERT INTO other.\"Notes\" VALUES ('pending-2', 'G')")
    wanted = ("901", "902", "903", "904", "904", "906")
    done = await app.repair([await app.finding(row, loan_id=new) for row, new in zip(rows, wanted, strict=True)])
    assert outcomes(done) == ["failed"] * 5 + ["repaired"]
    reasons = [one.evidence.get("reason") for one in done]
    assert reasons[0] == "default_detection_results.loan_id refers to pending-1, which therefore cannot be changed"
    assert reasons[1] == 'other."Notes".loan, wallet refers to pending-2, G, which therefore cannot be changed'
    assert (
        reasons[2] == f"row {taken} has the loan_id 903 already"
        or reasons[2] == f"row {taken} has the loan_id, user_wallet 903, G already"
    )
    assert reasons[3] == reasons[4] == repair.TWICE.format(key="loan_id", value="904")
    assert (await app.row(rows[5]))["loan_id"] == "906"


async def test_a_reference_that_follows_is_no_obstacle(app: App) -> None:
    await app.connection.execute("CREATE TABLE follower (loan_id text REFERENCES loans (loan_id) ON UPDATE CASCADE)")
    await app.read_schema()
    row_id = await app.loan(loan_id="pending-9")
    await app.connection.execute("INSERT INTO follower VALUES ('pending-9')")
    assert outcomes(await app.repair([await app.finding(row_id, loan_id="99")])) == ["repaired"]


async def test_a_missing_row_is_inserted_with_its_new_id_on_record(app: App) -> None:
    event = {
        "event_id": "0001-1", "user_wallet": "G", "old_score": 1, "new_score": 2, "change_amount": 1, "reason": None,
        "created_at": EARLIER,
    }  # fmt: skip
    again = {**event, "event_id": "0001-2"}
    await repair_parts.insert(app.connection, "reputation_history", again)
    run_id = await app.begin()
    findings = [missing("reputation_history", f"event:{one['event_id']}", **one) for one in (event, again)]
    done = await app.repair(findings, run_id=run_id)
    assert outcomes(done) == ["repaired", "skipped_changed"]
    row = await app.connection.fetchrow("SELECT * FROM reputation_history WHERE event_id = '0001-1'")
    assert (row["new_score"], row["reason"], row["created_at"]) == (2, None, EARLIER)
    first, second = await app.journal(run_id)
    assert (first["kind"], first["row_id"], first["outcome"]) == ("insert", str(row["id"]), "repaired")
    assert first["row_hash"] is not None
    assert (second["row_id"], second["outcome"]) == ("", "skipped_changed")
    assert done[0].row_id is None


async def test_inserts_meet_unique_columns_and_missing_users(app: App) -> None:
    users = [uuid.uuid4() for _ in range(2)]
    for number, user in enumerate(users):
        await repair_parts.insert(app.connection, "users", {"id": user, "wallet_address": f"G{number}"})
    held = {"user_id": users[0], "wallet_address": "another", "last_synced_at": EARLIER}
    await repair_parts.insert(app.connection, "reputation_cache", held)
    shared = {"score": 5, "tier": "poor", "last_synced_at": NOW}
    done = await app.repair(
        [
            missing("reputation_cache", "user:G0", user_id=users[0], wallet_address="G0", **shared),
            missing("reputation_cache", "user:G1", user_id=users[1], wallet_address="G1", **shared),
            missing("reputation_cache", "user:G2", user_id=uuid.uuid4(), wallet_address="G2", **shared),
            missing("reputation_cache", "user:G3", user_id=uuid.uuid4(), wallet_address="G3", **shared),
            missing("reputation_cache", "user:g3", user_id=uuid.uuid4(), wallet_address="G3", **shared),
        ]
    )
    assert outcomes(done) == ["failed", "repaired", "failed", "failed", "failed"]
    assert f"has the user_id {users[0]} already" in done[0].evidence["reason"]
    assert "foreign key" in done[2].evidence["reason"]
    assert "several repairs" in done[3].evidence["reason"]


async def test_a_finding_that_writes_what_it_did_not_see_is_refused(app: App) -> None:
    finding = await app.finding(await app.loan(), status="completed")
    blind = replace(finding, guard={name: value for name, value in finding.guard.items() if name != "updated_at"})
    with pytest.raises(ValueError, match="updated_at"):
        await app.repair([blind])


async def test_batches_of_many_shapes_are_all_written(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repair, "BATCH_ROWS", 7)
    rows = [await app.loan() for _ in range(40)]
    sets: list[dict[str, Any]] = [
        {"status": "completed"},
        {"remaining_balance": Decimal("0.5")},
        {"status": "x", "completed_at": NOW},
    ]
    findings = [await app.finding(row_id, **sets[number % 3]) for number, row_id in enumerate(rows)]
    await app.witness("loans")
    assert outcomes(await app.repair(findings)) == ["repaired"] * 40
    seen = {row_id: columns for _, row_id, columns in await app.witnessed()}
    assert seen == {row_id: {*sets[number % 3], "updated_at"} for number, row_id in enumerate(rows)}


async def test_nothing_to_repair_is_nothing(app: App) -> None:
    assert await app.repair([]) == []
