"""Undo on a real PostgreSQL: which rows are put back, and what else was done to them since."""

import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import text

from deploy import stack
from shared import errors
from sweeper import batches, records, recovery, session, undo
from sweeper.journal import Journal
from sweeper.model import Both, Finding, Outcome
from sweeper.report import ExitCode, Extent, Mode
from sweeper.session import Run, Session
from tests.integration import repair_parts
from tests.integration.repair_parts import EARLIER, NOW, App, Died


@pytest.fixture
async def app(postgres: stack.Databases) -> AsyncIterator[App]:
    async with repair_parts.opened(postgres) as app:
        yield app


async def taken_back(app: App, run_id: uuid.UUID) -> tuple[list[Finding], list[str]]:
    """What an undo says of each row, and its notes."""
    run = Run(mode=Mode.UNDO, extent=Extent.RUN, run_id=await app.begin("undo"))
    session = Session(run=run, context=app.context, chosen=[], settings=None)  # type: ignore[arg-type]  # not looked at
    return await undo._undo(session, run_id), run.notes


async def taken_back_with_code(app: App, run_id: uuid.UUID) -> tuple[list[Finding], list[str], ExitCode]:
    """The same, after what died was settled as far as that is possible, and what the command would end with."""
    run = Run(mode=Mode.UNDO, extent=Extent.RUN, run_id=await app.begin("undo"))
    one = Session(run=run, context=app.context, chosen=[], settings=None)  # type: ignore[arg-type]  # not looked at
    await recovery.settle(app.context)
    findings = await undo._undo(one, run_id)
    return findings, run.notes, session.report(one, findings).exit_code(strict=False)


@pytest.fixture
async def dead(app: App, monkeypatch: pytest.MonkeyPatch) -> tuple[uuid.UUID, list[str]]:
    """A run that wrote two loans and died before it could say so; and the rows."""
    rows = sorted([await app.loan(), await app.loan()])
    findings = [await app.finding(row_id, status="completed") for row_id in rows]
    run_id = await app.begin()

    async def died(*_: object) -> None:
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "settle", died)
        with pytest.raises(Died):
            await app.repair(findings, run_id=run_id)
    return run_id, rows


async def repaired(app: App, *rows: str, **update: Any) -> uuid.UUID:
    run_id = await app.begin()
    findings = [await app.finding(row_id, **update) for row_id in rows]
    assert {one.outcome for one in await app.repair(findings, run_id=run_id)} == {Outcome.REPAIRED}
    return run_id


async def test_rows_are_put_back_to_the_byte(app: App) -> None:
    rows = [await app.loan() for _ in range(3)]
    before = await app.texts()
    run_id = await repaired(app, *rows, status="completed", completed_at=NOW)
    assert await app.texts() != before
    await app.witness("loans")
    findings, _ = await taken_back(app, run_id)
    assert [one.outcome for one in findings] == [Outcome.REPAIRED] * 3
    assert await app.texts() == before
    assert {row_id: columns for _, row_id, columns in await app.witnessed()} == {
        row_id: {"status", "completed_at", "updated_at"} for row_id in rows
    }


@pytest.mark.parametrize(
    "touch",
    [
        "reservation_id = 'x'",
        "status = 'defaulted'",
        "updated_at = updated_at + interval '1 us'",
        "remaining_balance = 105.5000",
    ],
)
async def test_a_row_that_was_touched_since_in_any_way_is_left(app: App, touch: str) -> None:
    rows = [await app.loan(), await app.loan()]
    run_id = await repaired(app, *rows, status="completed")
    await app.connection.execute(f"UPDATE loans SET {touch} WHERE id = $1", rows[0])
    left = await app.row(rows[0])
    findings, _ = await taken_back(app, run_id)
    assert {one.row_id: one.outcome.value for one in findings} == {rows[0]: "skipped_changed", rows[1]: "repaired"}
    assert await app.row(rows[0]) == left


async def test_a_row_that_is_gone_is_said_and_twice_is_nothing(app: App) -> None:
    rows = [await app.loan(), await app.loan()]
    run_id = await repaired(app, *rows, status="completed")
    await app.connection.execute("DELETE FROM loans WHERE id = $1", rows[0])
    findings, _ = await taken_back(app, run_id)
    assert {one.row_id: one.evidence.get("reason") for one in findings} == {rows[0]: undo.GONE, rows[1]: None}
    again, notes = await taken_back(app, run_id)
    assert [one.row_id for one in again] == [rows[0]]
    assert any("1 rows hold what they held before" in note for note in notes)


async def test_the_id_that_others_refer_to_by_now_stays(app: App) -> None:
    row_id = await app.loan(loan_id="pending-1")
    run_id = await repaired(app, row_id, loan_id="77")
    await app.connection.execute(
        "INSERT INTO default_detection_results (loan_id, loan_db_id, status) VALUES ('77', $1, 'detected')", row_id
    )
    (finding,), _ = await taken_back(app, run_id)
    assert finding.outcome is Outcome.FAILED
    assert "refers to 77" in finding.evidence["reason"]


async def test_a_table_that_marks_each_write_is_put_back_but_for_the_mark(app: App) -> None:
    await app.connection.execute("""
CREATE FUNCTION mark() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.updated_at = clock_timestamp(); RETURN NEW; END $$;
CREATE TRIGGER mark BEFORE UPDATE ON loans FOR EACH ROW EXECUTE FUNCTION mark()""")
    row_id = await app.loan()
    run_id = await repaired(app, row_id, status="completed")
    findings, _ = await taken_back(app, run_id)
    assert [one.outcome for one in findings] == [Outcome.REPAIRED]
    assert (await app.row(row_id))["status"] == "active"


async def test_a_column_that_is_gone_fails_and_is_named(app: App) -> None:
    run_id = await repaired(app, await app.loan(), reservation_id="x")
    await app.connection.execute("ALTER TABLE loans DROP COLUMN reservation_id")
    await app.read_schema()
    (finding,), _ = await taken_back(app, run_id)
    assert finding.outcome is Outcome.FAILED
    assert "reservation_id" in finding.evidence["reason"]


async def test_an_undo_that_died_is_settled_and_then_done(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [await app.loan(), await app.loan()]
    before = await app.texts()
    run_id = await repaired(app, *rows, status="completed")
    with monkeypatch.context() as patch:

        async def died(*_: object) -> None:
            raise Died

        patch.setattr(Journal, "settle", died)
        with pytest.raises(Died):
            await taken_back(app, run_id)
    findings, notes = await taken_back(app, run_id)
    assert findings == []
    assert any("2 rows hold" in note for note in notes)
    assert await app.texts() == before


async def test_a_row_of_which_nobody_knows_whether_it_was_written_is_named(
    app: App, dead: tuple[uuid.UUID, list[str]]
) -> None:
    """Somebody wrote to it before it could be looked at, so it is recorded as unknown: it may hold what the run wrote."""
    run_id, rows = dead
    await app.connection.execute("UPDATE loans SET status = 'defaulted' WHERE id = $1", rows[0])
    findings, notes, code = await taken_back_with_code(app, run_id)
    assert {one.row_id: one.outcome for one in findings} == {rows[0]: Outcome.UNKNOWN, rows[1]: Outcome.REPAIRED}
    (unsure,) = [one for one in findings if one.outcome is Outcome.UNKNOWN]
    assert "was to set status, updated_at; whether it did is not known" in unsure.words
    assert unsure.columns["status"] == Both("active", "completed")
    assert any("of 1 changes it is not known" in note for note in notes)
    assert code is ExitCode.DRIFT
    assert [(await app.row(row_id))["status"] for row_id in rows] == ["defaulted", "active"]
    again, _, code = await taken_back_with_code(app, run_id)
    assert ([one.row_id for one in again], code) == ([rows[0]], ExitCode.DRIFT)


async def test_of_what_is_unknown_a_row_that_is_as_before_is_no_trouble(
    app: App, dead: tuple[uuid.UUID, list[str]]
) -> None:
    run_id, rows = dead
    before = await app.row(rows[0]) | {"status": "active", "updated_at": EARLIER}
    await app.connection.execute("UPDATE loans SET status = 'defaulted' WHERE id = $1", rows[0])
    await app.begin()
    await recovery.settle(app.context)
    statement = "UPDATE loans SET status = $2, updated_at = $3 WHERE id = $1"
    await app.connection.execute(statement, rows[0], before["status"], before["updated_at"])
    findings, notes, code = await taken_back_with_code(app, run_id)
    assert ([one.row_id for one in findings], code) == ([rows[1]], ExitCode.CLEAN)
    assert any("1 rows hold what they held before" in note for note in notes)


async def test_what_cannot_be_looked_at_yet_is_named(
    app: App, dead: tuple[uuid.UUID, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A column that the run wrote is gone, so what it left open stays so."""
    run_id, rows = dead
    table = app.context.tables["loans"]
    types = {name: kind for name, kind in table.types.items() if name != "status"}
    monkeypatch.setattr(app.context, "tables", {**app.context.tables, "loans": replace(table, types=types)})
    findings, _, code = await taken_back_with_code(app, run_id)
    assert [(one.row_id, one.outcome) for one in findings] == [(row_id, Outcome.UNKNOWN) for row_id in rows]
    assert {one.evidence["recorded"] for one in findings} == {"intended"}
    assert code is ExitCode.DRIFT


async def test_a_run_is_found_by_a_beginning_that_is_its_own(app: App) -> None:
    first = await app.begin()
    assert (await records.find(app.own, str(first)[:8].upper())).run_id == first
    twin = uuid.UUID(str(first)[:-1] + ("0" if str(first)[-1] != "0" else "1"))
    async with app.own.begin() as connection:
        statement = (
            "INSERT INTO recon.runs (run_id, mode, extent, status, started_at) "
            "SELECT :twin, mode, extent, status, now() FROM recon.runs"
        )
        await connection.execute(text(statement), {"twin": twin})
    with pytest.raises(errors.RunUnknown, match="several runs"):
        await records.find(app.own, str(first)[:8])


async def test_an_undo_that_the_application_drops_or_changes_is_a_failure(app: App) -> None:
    rows = sorted([await app.loan(user_wallet=word) for word in ("dropped", "changed", "free")])
    run_id = await repaired(app, *rows, status="completed")
    await app.connection.execute("""
CREATE FUNCTION act() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF NEW.user_wallet = 'dropped' THEN RETURN NULL; END IF;
  IF NEW.user_wallet = 'changed' THEN NEW.status = 'odd'; END IF; RETURN NEW; END $$;
CREATE TRIGGER act BEFORE UPDATE ON loans FOR EACH ROW EXECUTE FUNCTION act()""")
    before = await app.texts()
    findings, _, code = await taken_back_with_code(app, run_id)
    told = {
        (await app.row(one.row_id or ""))["user_wallet"]: (one.outcome.value, one.evidence.get("reason"))
        for one in findings
    }
    assert told["free"] == ("repaired", None)
    assert told["dropped"] == ("failed", batches.DROPPED)
    assert told["changed"][0] == "failed"
    assert "changed column status to odd" in (told["changed"][1] or "")
    assert code is ExitCode.DRIFT
    assert sum(one != other for one, other in zip(before, await app.texts(), strict=True)) == 1


async def test_an_undo_puts_back_what_a_real_or_a_char_held(app: App) -> None:
    await app.connection.execute(
        "ALTER TABLE loans ALTER remaining_balance TYPE real, ALTER reservation_id TYPE char(9)"
    )
    await app.read_schema()
    row_id = await app.loan(remaining_balance=0.1, reservation_id="x")
    before = await app.texts()
    run_id = await repaired(app, row_id, remaining_balance=Decimal("2.5"), reservation_id="y")
    findings, _ = await taken_back(app, run_id)
    assert [one.outcome for one in findings] == [Outcome.REPAIRED]
    assert await app.texts() == before
