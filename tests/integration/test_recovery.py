"""Runs that died in the middle: what became of their changes is seen on the rows, by the next run, once."""

import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from deploy import stack
from sweeper import batches, recovery
from sweeper.journal import Journal
from sweeper.model import Finding, Outcome, Value
from tests.integration import repair_parts
from tests.integration.repair_parts import EARLIER, NOW, App, Died


@pytest.fixture
async def app(postgres: stack.Databases) -> AsyncIterator[App]:
    async with repair_parts.opened(postgres) as app:
        yield app


@pytest.fixture
def dies_before_the_write(monkeypatch: pytest.MonkeyPatch) -> None:
    async def died(*_: Any, **__: Any) -> None:
        raise Died

    monkeypatch.setattr(batches, "write", died)


@pytest.fixture
def dies_after_the_write(monkeypatch: pytest.MonkeyPatch) -> None:
    async def died(*_: Any) -> None:
        raise Died

    monkeypatch.setattr(Journal, "settle", died)


@pytest.fixture
def dies_in_the_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    write = batches.write

    async def died(connection: AsyncConnection, batch: batches.Batch, **options: Any) -> None:
        await write(connection, batch, **options)
        raise Died

    monkeypatch.setattr(batches, "write", died)


def event(number: int) -> Finding:
    row: dict[str, Value] = {
        "event_id": f"0001-{number}", "user_wallet": "G", "old_score": 1, "new_score": 2, "change_amount": 1,
        "reason": "increase", "created_at": EARLIER,
    }  # fmt: skip
    return Finding(
        drift_class="missing_row",
        table="reputation_history",
        row_id=None,
        entity=f"event:{number}",
        words="",
        insert=row,
    )


async def died(app: App, findings: list[Finding]) -> uuid.UUID:
    """A run that dies, and the next one that begins; gives the one that died."""
    run_id = await app.begin()
    with pytest.raises(Died):
        await app.repair(findings, run_id=run_id)
    assert {one["outcome"] for one in await app.journal(run_id)} == {"intended"}
    assert await recovery.settle(app.context) == [], "it is not over yet"
    await app.begin()
    return run_id


async def outcomes(app: App, run_id: uuid.UUID) -> list[tuple[str, str | None]]:
    return [(one["outcome"], one["reason"]) for one in await app.journal(run_id)]


@pytest.mark.usefixtures("dies_before_the_write")
async def test_what_was_not_written_is_not_done(app: App) -> None:
    run_id = await died(app, [await app.finding(await app.loan(), status="completed"), event(1)][:1])
    (note,) = await recovery.settle(app.context)
    assert str(run_id) in note
    assert "1 were not written" in note
    assert await outcomes(app, run_id) == [("failed", recovery.NOT_DONE)]
    assert await recovery.settle(app.context) == []


@pytest.mark.usefixtures("dies_in_the_transaction")
async def test_what_was_not_committed_is_not_done(app: App) -> None:
    row_id = await app.loan()
    run_id = await died(app, [await app.finding(row_id, status="completed")])
    await recovery.settle(app.context)
    assert await outcomes(app, run_id) == [("failed", recovery.NOT_DONE)]
    assert (await app.row(row_id))["status"] == "active"


@pytest.mark.usefixtures("dies_after_the_write")
async def test_what_was_written_is_repaired_with_the_hash_of_the_row(app: App) -> None:
    rows = sorted([await app.loan() for _ in range(3)])
    findings = [await app.finding(row_id, status="completed", completed_at=NOW) for row_id in rows]
    run_id = await died(app, findings)
    await app.connection.execute("UPDATE loans SET status = 'defaulted' WHERE id = $1", rows[1])
    before = await app.texts()
    (note,) = await recovery.settle(app.context)
    assert "2 were written, 1 cannot be told" in note
    assert [one for one, _ in await outcomes(app, run_id)] == ["repaired", "unknown", "repaired"]
    hashes = [change["row_hash"] for change in await app.journal(run_id)]
    assert hashes[0]
    assert hashes[1] is None
    assert await app.texts() == before


@pytest.mark.usefixtures("dies_after_the_write")
async def test_inserts_are_found_by_their_key(app: App) -> None:
    run_id = await died(app, [event(1), event(2), event(3)])
    await app.connection.execute("DELETE FROM reputation_history WHERE event_id = '0001-2'")
    await app.connection.execute("UPDATE reputation_history SET new_score = 9 WHERE event_id = '0001-3'")
    await recovery.settle(app.context)
    changes = await app.journal(run_id)
    assert [change["outcome"] for change in changes] == ["repaired", "failed", "unknown"]
    made = await app.connection.fetchval("SELECT id FROM reputation_history WHERE event_id = '0001-1'")
    assert changes[0]["row_id"] == str(made)


@pytest.mark.usefixtures("dies_before_the_write")
async def test_a_row_that_is_locked_now_is_settled_by_a_later_run(app: App) -> None:
    row_id = await app.loan()
    run_id = await died(app, [await app.finding(row_id, status="completed")])
    holder = app.connection.transaction()
    await holder.start()
    await app.connection.execute("SELECT FROM loans WHERE id = $1 FOR UPDATE", row_id)
    (note,) = await recovery.settle(app.context)
    assert "cannot be looked at yet" in note
    assert [one for one, _ in await outcomes(app, run_id)] == ["intended"]
    await holder.rollback()
    await recovery.settle(app.context)
    assert [one for one, _ in await outcomes(app, run_id)] == ["failed"]


@pytest.mark.usefixtures("dies_before_the_write")
async def test_a_table_that_is_gone_stays_open(app: App) -> None:
    run_id = await died(app, [event(1)])
    app.context.tables = {name: table for name, table in app.context.tables.items() if name == "loans"}
    assert await recovery.settle(app.context) == []
    assert [one for one, _ in await outcomes(app, run_id)] == ["intended"]


async def test_whoever_wrote_overrules_who_looked(app: App) -> None:
    """A run that was declared over while its write was on the way still records what it knows."""
    finding = await app.finding(await app.loan(), status="completed")
    run_id = await app.begin()
    write = batches.write

    async def overtaken(connection: AsyncConnection, batch: batches.Batch, **options: Any) -> Any:
        await app.begin()
        await recovery.settle(app.context)
        return await write(connection, batch, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "write", overtaken)
        (done,) = await app.repair([replace(finding)], run_id=run_id)
    assert done.outcome is Outcome.REPAIRED
    assert await outcomes(app, run_id) == [("repaired", None)]
