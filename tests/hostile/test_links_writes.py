"""Attacks on the write of a link: the application gives the loan's id to another row after the link was decided."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from deploy import stack
from sweeper import repair
from sweeper.journal import Journal
from sweeper.model import Finding
from tests.integration import repair_parts
from tests.integration.repair_parts import App


@pytest.fixture
async def app(postgres: stack.Databases) -> AsyncIterator[App]:
    async with repair_parts.opened(postgres) as app:
        await app.connection.execute("ALTER TABLE loans DROP CONSTRAINT loans_loan_id_key CASCADE")
        await app.read_schema()
        yield app


async def link(app: App, number: str) -> Finding:
    row = await app.loan(loan_id=f"pending-{number}-a")
    return await app.finding(row, drift_class="unresolved_provisional_id", loan_id=number, status="completed")


async def test_a_link_gives_no_loan_a_second_row_where_ids_are_not_unique(app: App) -> None:
    attacked, control = await link(app, "7"), await link(app, "8")
    await app.loan(loan_id="7")
    done = await app.repair([attacked, control])
    assert [one.outcome.value for one in done] == ["failed", "repaired"]
    assert "has the loan_id 7 already" in str(done[0].evidence["reason"])
    ids = await app.connection.fetch("SELECT loan_id FROM loans")
    assert sorted(row["loan_id"] for row in ids) == ["7", "8", "pending-7-a"]


async def test_a_row_that_came_while_the_link_was_written_is_a_duplicate(app: App) -> None:
    attacked, control = await link(app, "7"), await link(app, "8")
    other = await asyncpg.connect(app.url)
    try:
        begun = other.transaction()
        await begun.start()
        await repair_parts.insert(other, "loans", repair_parts.loan_row() | {"loan_id": "7"})
        run = asyncio.create_task(
            repair.repair(app.context, [attacked, control], journal=Journal(app.own, await app.begin()))
        )
        written = "SELECT count(*) FROM loans WHERE loan_id = '7'"
        for _ in range(1000):
            if await app.connection.fetchval(written):
                break
            await asyncio.sleep(0.02)
        await begun.commit()
        done = await run
    finally:
        await other.close()
    assert sorted((one.drift_class, one.entity) for one in done) == [
        ("duplicate_row", attacked.entity),
        ("duplicate_row", attacked.entity),
        ("unresolved_provisional_id", attacked.entity),
        ("unresolved_provisional_id", control.entity),
    ]


async def test_a_status_is_still_repaired_beside_another_row_of_the_same_id(app: App) -> None:
    """The id is not written, so nothing stands in the way here: rows of one id are for the rules to find."""
    row = await app.loan(loan_id="9")
    finding = await app.finding(row, status="completed")
    await app.loan(loan_id="9")
    assert [one.outcome.value for one in await app.repair([finding])] == ["repaired"]
