"""Repairs that meet others, lost connections and a lock that is gone: nothing is overwritten, and each row is accounted for."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text

from deploy import stack
from shared import errors
from sweeper import batch_writer, batches, lock, repair
from sweeper.journal import Journal
from sweeper.model import Finding, Outcome
from tests.integration import repair_parts
from tests.integration.repair_parts import App


@pytest.fixture
async def app(postgres: stack.Databases) -> AsyncIterator[App]:
    async with repair_parts.opened(postgres) as app:
        yield app


def outcomes(findings: list[Finding]) -> list[str]:
    return [one.outcome.value for one in findings]


async def test_a_concurrent_writer_is_never_overwritten(app: App) -> None:
    """The app writes a row in a transaction that commits while the repair waits for it."""
    row_id, free = await app.loan(), await app.loan()
    findings = [await app.finding(row_id, status="completed"), await app.finding(free, status="completed")]
    writer = app.connection.transaction()
    await writer.start()
    await app.connection.execute("UPDATE loans SET status = 'defaulted' WHERE id = $1", row_id)
    repairing = asyncio.create_task(app.repair(findings))
    await until_waiting(app)
    await writer.commit()
    assert outcomes(await repairing) == ["skipped_changed", "repaired"]
    assert (await app.row(row_id))["status"] == "defaulted"


async def until_waiting(app: App) -> None:
    """Until somebody waits for a lock of the application's database."""
    async with asyncio.timeout(20), app.app.connect() as connection:
        query = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
        while not (await connection.execute(query)).scalar_one():  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.02)


async def test_a_row_that_is_held_for_long_fails_alone(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_writer, "ATTEMPTS", 2)
    row_id, free = await app.loan(), await app.loan()
    findings = [await app.finding(row_id, status="completed"), await app.finding(free, status="completed")]
    holder = app.connection.transaction()
    await holder.start()
    await app.connection.execute("SELECT FROM loans WHERE id = $1 FOR UPDATE", row_id)
    done = await app.repair(findings)
    await holder.rollback()
    assert outcomes(done) == ["failed", "repaired"]
    assert done[0].evidence["reason"] == batch_writer.HELD


async def test_a_deadlock_is_tried_again(app: App) -> None:
    """The app locks two rows against the order of the repair, so that PostgreSQL ends one of the two."""
    rows = sorted([await app.loan(), await app.loan()])
    findings = [await app.finding(row_id, status="completed") for row_id in rows]
    await app.connection.execute("SET deadlock_timeout = '30s'")  # so that the repair is the one that is ended
    writer = app.connection.transaction()
    await writer.start()
    await app.connection.execute("UPDATE loans SET reservation_id = 'x' WHERE id = $1", rows[1])
    repairing = asyncio.create_task(app.repair(findings))
    await until_waiting(app)
    await app.connection.execute("UPDATE loans SET reservation_id = 'x' WHERE id = $1", rows[0])
    await writer.commit()
    assert outcomes(await repairing) == ["repaired", "repaired"]
    assert (await app.row(rows[0]))["reservation_id"] == "x"


class Cut:
    """Ends the connection of the application's transactions at a moment."""

    def __init__(self, app: App, monkeypatch: pytest.MonkeyPatch, *, times: int, committed: bool) -> None:
        self.times = times
        write = batches.write

        async def cut(connection: Any, batch: batches.Batch, **options: Any) -> Any:
            seen = await write(connection, batch, **options)
            if self.times:
                self.times -= 1
                if committed:
                    await connection.execute(text("COMMIT"))
                pid = (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one()
                await app.connection.execute("SELECT pg_terminate_backend($1)", pid)
            return seen

        monkeypatch.setattr(batches, "write", cut)


@pytest.mark.parametrize("committed", [True, False])
async def test_a_lost_answer_is_settled_by_looking(app: App, monkeypatch: pytest.MonkeyPatch, committed: bool) -> None:
    rows = [await app.loan() for _ in range(3)]
    findings = [await app.finding(row_id, status="completed") for row_id in rows]
    await app.witness("loans")
    Cut(app, monkeypatch, times=1, committed=committed)
    run_id = await app.begin()
    assert outcomes(await app.repair(findings, run_id=run_id)) == ["repaired"] * 3
    assert len(await app.witnessed()) == 3
    assert all(change["row_hash"] and change["outcome"] == "repaired" for change in await app.journal(run_id))


async def test_a_connection_that_is_lost_each_time_is_not_done(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    row_id = await app.loan()
    Cut(app, monkeypatch, times=100, committed=False)
    monkeypatch.setattr(batch_writer, "_WAIT_SECONDS", 0.001)
    (done,) = await app.repair([await app.finding(row_id, status="completed")])
    assert (done.outcome, done.evidence["reason"]) == (Outcome.FAILED, batch_writer.NOT_DONE)


async def test_a_run_that_lost_its_lock_writes_nothing(app: App) -> None:
    rows = [await app.loan() for _ in range(2)]
    findings = [await app.finding(row_id, status="completed") for row_id in rows]
    await app.witness("loans")
    old = await app.begin()
    await app.begin()  # another runner, which declares the first one over
    with pytest.raises(errors.LockLost, match="taken the place"):
        await app.repair(findings, run_id=old)
    assert await app.witnessed() == []
    assert await app.journal(old) == []


async def test_a_lock_that_is_lost_after_the_intent_writes_nothing(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    row_id = await app.loan()
    await app.witness("loans")

    async def lost(_: object) -> None:
        raise errors.LockLost

    monkeypatch.setattr(lock.Alone, "ensure", lost)
    run_id = await app.begin()
    with pytest.raises(errors.LockLost):
        await app.repair([await app.finding(row_id, status="completed")], run_id=run_id)
    assert await app.witnessed() == []
    assert [change["outcome"] for change in await app.journal(run_id)] == ["intended"]


async def test_whoever_declares_a_run_over_sees_all_of_its_intents(app: App) -> None:
    """The intent holds the run's row, so the next run begins after it, or the intent is refused."""
    row_id = await app.loan()
    finding = await app.finding(row_id, status="completed")
    batch = repair.batch_of(app.context.tables["loans"], "loan_id", [finding])
    old = await app.begin()
    own = await asyncpg.connect(app.own_url)
    try:
        taking = own.transaction()
        await taking.start()
        await own.execute("UPDATE recon.runs SET status = 'failed' WHERE run_id = $1", old)
        intending = asyncio.create_task(Journal(app.own, old).intend([finding], batch))
        await asyncio.sleep(0.1)
        assert not intending.done()
        await taking.commit()
        with pytest.raises(errors.LockLost):
            await intending
    finally:
        await own.close()
