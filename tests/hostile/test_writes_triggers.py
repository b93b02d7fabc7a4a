"""Attacks on writes: triggers that act on some rows, on other rows, or beside a write that they drop. Each has a control."""

import traceback
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import text

from deploy import stack
from sweeper import app_access, batch_writer, batches
from sweeper.model import Finding
from tests.integration import repair_parts
from tests.integration.repair_parts import App
from tests.integration.test_write_readback import DROPPED, outcomes, trigger

CONTROL = "control"


@pytest.fixture
async def app(postgres: stack.Databases) -> AsyncIterator[App]:
    async with repair_parts.opened(postgres) as app:
        yield app


async def rows(app: App, *wallets: str, **columns: Any) -> list[str]:
    return [await app.loan(user_wallet=wallet, **columns) for wallet in wallets]


async def completed(app: App, ids: list[str]) -> list[Finding]:
    """What becomes of repairs that set the status of the rows."""
    await app.witness("loans")
    return await app.repair([await app.finding(one, status="completed") for one in ids])


async def only_written(app: App, *ids: str) -> None:
    """Each of these rows was updated once, in the columns of the repair, and no other row at all."""
    assert await app.witnessed() == [("loans UPDATE", one, {"status", "updated_at"}) for one in sorted(ids)]


@pytest.mark.parametrize(
    "action", ["RETURN NULL", "NEW.status = OLD.status; RETURN NEW", "NEW.status = 'odd'; RETURN NEW"]
)
async def test_what_a_trigger_does_beside_a_write_that_failed_is_not_committed(app: App, action: str) -> None:
    """A review step of the application: it puts the change aside, and touches a neighbour."""
    await app.connection.execute("CREATE TABLE put_aside (id uuid)")
    bad, neighbour, control = await rows(app, "bad", "neighbour", CONTROL)
    await trigger(
        app,
        f"""IF NEW.user_wallet = 'bad' THEN INSERT INTO put_aside VALUES (NEW.id);
UPDATE loans SET term = term + 1 WHERE user_wallet = 'neighbour'; {action}; END IF; RETURN NEW;""",
    )
    before = await app.row(neighbour)
    done = await completed(app, [bad, control])
    assert outcomes(done) == ["failed", "repaired"]
    assert "a trigger or rule" in done[0].evidence["reason"]
    assert await app.row(neighbour) == before
    assert await app.connection.fetchval("SELECT count(*) FROM put_aside") == 0
    await only_written(app, control)


@pytest.mark.parametrize(
    "state", ["P0001", "55P03", "40001", "57014", "53400", "25006", "42501", "0A000", "23514", "08006", "40P01"]
)
async def test_an_error_that_a_trigger_raises_for_one_row_is_that_rows_own(
    app: App, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    monkeypatch.setattr(batch_writer, "_WAIT_SECONDS", 0.001)
    ids = await rows(app, CONTROL, "bad", CONTROL, CONTROL)
    await trigger(
        app,
        f"IF NEW.user_wallet = 'bad' THEN RAISE EXCEPTION 'not this one' USING ERRCODE = '{state}'; END IF; RETURN NEW;",
    )
    done = await completed(app, ids)
    assert outcomes(done) == ["repaired", "failed", "repaired", "repaired"]
    assert "not this one" in done[1].evidence["reason"]
    await only_written(app, ids[0], ids[2], ids[3])


@pytest.mark.parametrize("state", ["0A000", "25006", "55P03"])
async def test_an_error_that_a_trigger_raises_for_one_insert_is_that_rows_own(
    app: App, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    monkeypatch.setattr(batch_writer, "_WAIT_SECONDS", 0.001)
    await trigger(
        app,
        f"IF NEW.loan_id = '802' THEN RAISE EXCEPTION 'not this one' USING ERRCODE = '{state}'; END IF; RETURN NEW;",
        when="BEFORE INSERT",
    )
    done = await app.repair([missing(number) for number in (801, 802, 803)])
    assert outcomes(done) == ["repaired", "failed", "repaired"]
    assert "not this one" in done[1].evidence["reason"]


def missing(number: int, **columns: Any) -> Finding:
    row = {name: value for name, value in repair_parts.loan_row().items() if name != "id"}
    row |= {"loan_id": str(number), "updated_at": repair_parts.NOW, **columns}
    return Finding(drift_class="missing_row", table="loans", row_id=None, entity=f"loan:{number}", words="", insert=row)


async def test_a_row_beside_the_table_that_somebody_holds_keeps_no_other_row_waiting(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trigger counts loans on the user's row, and the application holds one user's row for long."""
    monkeypatch.setattr(batch_writer, "_WAIT_SECONDS", 0.001)
    sessions = {of: text(str(one).replace("'5s'", "'200ms'")) for of, one in app_access._SESSIONS.items()}
    monkeypatch.setattr(app_access, "_SESSIONS", sessions)
    await app.connection.execute("""
CREATE TABLE counts (wallet text PRIMARY KEY, n int); INSERT INTO counts VALUES ('held', 0), ('control', 0)""")
    ids = await rows(app, CONTROL, "held", CONTROL)
    await trigger(app, "UPDATE counts SET n = n + 1 WHERE wallet = NEW.user_wallet; RETURN NEW;")
    findings = [await app.finding(one, status="completed") for one in ids]
    async with app.connection.transaction():
        await app.connection.execute("SELECT FROM counts WHERE wallet = 'held' FOR UPDATE")
        done = await app.repair(findings)
    assert outcomes(done) == ["repaired", "failed", "repaired"]
    assert "lock timeout" in done[1].evidence["reason"]


async def test_a_trigger_of_the_statement_that_takes_back_one_row_of_each_write_ends(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each attempt loses one row: attempts must not be nested as deep as there are rows."""
    depths: list[int] = []
    write = batches.write

    async def counted(*arguments: Any, **options: Any) -> Any:
        depths.append(len(traceback.extract_stack()))
        return await write(*arguments, **options)

    monkeypatch.setattr(batches, "write", counted)
    await app.connection.execute("""
CREATE FUNCTION act() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF (SELECT count(*) FROM rewritten) > 1 THEN
    UPDATE loans SET status = 'active' WHERE id = (SELECT id FROM rewritten ORDER BY id LIMIT 1); END IF;
  RETURN NULL; END $$;
CREATE TRIGGER act AFTER UPDATE ON loans REFERENCING NEW TABLE AS rewritten FOR EACH STATEMENT EXECUTE FUNCTION act()""")
    await app.connection.execute("""
INSERT INTO loans (id, loan_id, user_wallet, amount, loan_amount, guarantee, interest_rate, total_repayment,
  remaining_balance, term, status)
SELECT gen_random_uuid(), n::text, 'G' || n, 100, 80, 20, 5, 105, 105, 4, 'active' FROM generate_series(1, 150) AS n""")
    ids = [str(row[0]) for row in await app.connection.fetch("SELECT id FROM loans ORDER BY id")]
    done = await app.repair([await app.finding(one, status="completed") for one in ids])
    assert set(outcomes(done)) == {"repaired", "failed"}
    assert max(depths) - min(depths) < 120
    states = [(await app.row(one))["status"] for one in ids]
    assert [one.outcome.value == "repaired" for one in done] == [state == "completed" for state in states]


async def test_triggers_that_swap_two_rows_or_move_one_elsewhere_write_nothing(app: App) -> None:
    await app.connection.execute("CREATE TABLE archive (LIKE loans)")
    a, b, moved, control = await rows(app, "swap", "swap", "moved", CONTROL)
    await trigger(
        app,
        """IF NEW.user_wallet = 'swap' AND pg_trigger_depth() = 1 THEN
  UPDATE loans SET status = OLD.status, remaining_balance = NEW.remaining_balance
    WHERE user_wallet = 'swap' AND id <> NEW.id; END IF;
IF NEW.user_wallet = 'moved' THEN DELETE FROM loans WHERE id = NEW.id; INSERT INTO archive SELECT NEW.*; END IF; RETURN NULL;""",
        when="AFTER UPDATE",
    )
    before = [await app.row(one) for one in (a, b, moved)]
    findings = [
        await app.finding(a, status="completed", remaining_balance=Decimal(1)),
        await app.finding(b, status="completed", remaining_balance=Decimal(2)),
        await app.finding(moved, status="completed", remaining_balance=Decimal(3)),
        await app.finding(control, status="completed", remaining_balance=Decimal(4)),
    ]
    done = await app.repair(findings)
    assert outcomes(done)[2:] == ["failed", "repaired"]
    for one, was, outcome in zip((a, b, moved), before, outcomes(done), strict=False):
        assert outcome == "failed"
        assert await app.row(one) == was
    assert await app.connection.fetchval("SELECT count(*) FROM archive") == 0


async def test_a_trigger_that_sets_null_or_half_of_a_repair_fails_that_row(app: App) -> None:
    ids = await rows(app, "null", "half", CONTROL)
    await trigger(
        app,
        """IF NEW.user_wallet = 'null' THEN NEW.completed_at = NULL; END IF;
IF NEW.user_wallet = 'half' THEN NEW.status = OLD.status; END IF; RETURN NEW;""",
    )
    await app.witness("loans")
    findings = [await app.finding(one, status="completed", completed_at=repair_parts.NOW) for one in ids]
    done = await app.repair(findings)
    assert outcomes(done) == ["failed", "failed", "repaired"]
    assert "completed_at to NULL" in done[0].evidence["reason"]
    assert "status to active" in done[1].evidence["reason"]
    assert [write[1] for write in await app.witnessed()] == [ids[2]]


async def test_what_a_trigger_says_is_cut(app: App) -> None:
    ids = await rows(app, "long", CONTROL)
    await trigger(
        app, "IF NEW.user_wallet = 'long' THEN RAISE EXCEPTION '%', repeat('x', 3000000); END IF; RETURN NEW;"
    )
    done = await completed(app, ids)
    assert outcomes(done) == ["failed", "repaired"]
    assert len(done[0].evidence["reason"]) < 2_100
    assert "3000000 bytes" in done[0].evidence["reason"]


async def test_a_dropped_write_is_told_as_one_whatever_the_rest_of_the_batch(app: App) -> None:
    ids = await rows(app, "dropped", CONTROL, "dropped", CONTROL)
    await trigger(app, "IF NEW.user_wallet = 'dropped' THEN RETURN NULL; END IF; RETURN NEW;")
    done = await completed(app, ids)
    assert outcomes(done) == ["failed", "repaired", "failed", "repaired"]
    assert done[0].evidence["reason"] == DROPPED
    await only_written(app, ids[1], ids[3])


async def test_a_row_that_a_later_batch_s_trigger_changed_back_is_not_repaired(app: App) -> None:
    """Columns of another set are another batch, with a transaction of its own."""
    first, control, last = await rows(app, "first", CONTROL, "last")
    await app.connection.execute(
        """CREATE FUNCTION put_back() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
UPDATE loans SET remaining_balance = 77 WHERE user_wallet = 'first' AND remaining_balance <> 77; RETURN NULL; END $$;
CREATE TRIGGER put_back AFTER UPDATE OF status ON loans FOR EACH STATEMENT EXECUTE FUNCTION put_back();"""
    )
    done = await app.repair(
        [
            await app.finding(first, remaining_balance=Decimal(5)),
            await app.finding(control, remaining_balance=Decimal(5)),
            await app.finding(last, status="completed"),
        ]
    )
    assert outcomes(sorted(done, key=lambda one: [first, control, last].index(one.row_id or ""))) == [
        "failed",
        "repaired",
        "repaired",
    ]
    (failed,) = [one for one in done if one.row_id == first]
    assert "column remaining_balance is 77" in failed.evidence["reason"]
