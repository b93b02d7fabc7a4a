"""Sweeps of what changed see all that changed on chain since, and what drifted by then; and know when that is not enough."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from sqlalchemy import insert, text

from shared import position, recon_tables
from sweeper import changed
from sweeper.context import Since
from sweeper.model import Finding
from tests.integration.mirror import Mirror, history, mirror

HISTORY = "random-1.jsonl.gz"
HALF = (history(HISTORY).start + history(HISTORY).last) // 2


@pytest.fixture
async def world(database: str) -> AsyncIterator[Mirror]:
    async with mirror(database, HISTORY, until=HALF) as found:
        yield found


async def swept(world: Mirror, *, extent: str = "full", status: str = "complete") -> None:
    """A run that ended now."""
    mark = await changed.mark(await world.context())
    moment = datetime.now(UTC)
    row = {"run_id": uuid4(), "mode": "dry", "extent": extent, "status": status, "started_at": moment, "mark": mark}
    async with world.engine.begin() as connection:
        await connection.execute(insert(recon_tables.runs).values(**row))


async def since(world: Mirror) -> Since:
    found = await changed.start(await world.context(), ["loans", "reputation_history"])
    assert found.since is not None, found.why
    return found.since


async def found(world: Mirror, begun: Since, table: str = "loans") -> list[Finding]:
    context = await world.context()
    findings = [one async for one in world.subject(table).survey_changed(context, begun)]
    assert context.canaries[table]
    return findings


async def positions(world: Mirror) -> tuple[list[str], list[str]]:
    """Loans (ids) that had facts in the first half alone, and those that had some in the second."""
    query = text(
        "SELECT loan.loan_id::text AS id, bool_or(fact.position > :half) AS new"
        " FROM chain.loans AS loan JOIN chain.facts AS fact ON fact.key = loan.key GROUP BY loan.loan_id ORDER BY 1"
    )
    async with world.engine.connect() as connection:
        rows = (await connection.execute(query, {"half": position.end_of(HALF)})).all()
    return [row.id for row in rows if not row.new], [row.id for row in rows if row.new]


async def follow_events(world: Mirror) -> None:
    """The second half, without reading the entries anew: an observation would be news of every entity."""
    told = history(HISTORY)
    events = [one for one in told.events() if position.ledger_of(one.id) > HALF]
    page = told.page(events, after=position.end_of(HALF), through=position.end_of(told.last))
    await world.write(replace(page, closed_at=1_900_000_000))


async def test_what_changed_is_seen_and_what_did_not_is_left_to_the_full_sweep(world: Mirror) -> None:
    await swept(world)
    await follow_events(world)
    old, new = await positions(world)
    assert old
    assert new
    drifted = [old[0], new[0]]
    await world.app.execute("UPDATE loans SET status = 'nobody' WHERE loan_id = ANY($1)", drifted)
    findings = await found(world, await since(world))
    assert f"loan:{new[0]}" in {one.entity for one in findings}
    assert f"loan:{old[0]}" not in {one.entity for one in findings}


async def test_drift_that_was_there_is_looked_at_again(world: Mirror) -> None:
    old, _ = await positions(world)
    row = await world.app.fetchval("UPDATE loans SET status = 'nobody' WHERE loan_id = $1 RETURNING id::text", old[0])
    await world.app.execute("DELETE FROM loans WHERE loan_id = $1", old[1])
    key = f"loan:{world.settings.creditline}:{old[1]}"
    await swept(world)
    await follow_events(world)
    async with world.engine.begin() as connection:
        moment = datetime.now(UTC)
        times = {"first_seen": moment, "same_since": moment, "last_seen": moment, "is_there": True}
        base = {"table_name": "loans", "class": "stale_status", "signature": "", **times}
        await connection.execute(
            insert(recon_tables.drift),
            [
                {**base, "identity": row, "row_id": row, "chain_key": None},
                {**base, "identity": f"loan:{old[1]}", "row_id": None, "chain_key": key},
            ],
        )
    findings = {one.entity: one.drift_class for one in await found(world, await since(world))}
    assert (findings[f"loan:{old[0]}"], findings[f"loan:{old[1]}"]) == ("stale_status", "missing_row")


async def test_a_new_loan_finds_its_provisional_row(world: Mirror) -> None:
    await swept(world)
    await follow_events(world)
    _, new = await positions(world)
    statement = (
        "SELECT loan_id FROM loans WHERE loan_id = ANY($1) AND status = 'active' ORDER BY created_at DESC LIMIT 1"
    )
    loan = await world.app.fetchval(statement, new)
    row = await world.app.fetchval(
        "UPDATE loans SET loan_id = 'pending-1-a' WHERE loan_id = $1 RETURNING id::text", loan
    )
    classes = {one.row_id: one.drift_class for one in await found(world, await since(world))}
    assert classes[row] in ("unresolved_provisional_id", "ambiguous_link")
    assert f"loan:{loan}" not in {one.entity for one in await found(world, await since(world)) if one.row_id is None}


async def test_events_that_are_new_have_no_row_yet(world: Mirror) -> None:
    await swept(world)
    await follow_events(world)
    await world.app.execute("TRUNCATE reputation_history")
    whole = {one.entity async for one in world.subject("reputation_history").survey(await world.context())}
    new = {one.entity for one in await found(world, await since(world), "reputation_history")}
    assert new
    assert new < whole


async def test_nothing_changed_and_the_canary_is_found_all_the_same(world: Mirror) -> None:
    await swept(world)
    assert await found(world, await since(world)) == []


class TestWhenAllHasToBeLookedAt:
    async def why(self, world: Mirror) -> str:
        begun = await changed.start(await world.context(), ["loans"])
        assert begun.since is None
        assert begun.why is not None
        return begun.why

    async def test_the_first_time(self, world: Mirror) -> None:
        assert "no complete sweep" in await self.why(world)

    async def test_after_runs_that_did_not_reach_their_end(self, world: Mirror) -> None:
        await swept(world, status="incomplete")
        await swept(world, extent="tables")
        assert "no complete sweep" in await self.why(world)

    async def test_when_a_gap_below_was_filled(self, world: Mirror) -> None:
        await swept(world)
        await since(world)
        async with world.engine.begin() as connection:
            await connection.execute(
                text("UPDATE chain.coverage SET after = '0000000000000000000-0000000000' WHERE contract = :contract"),
                {"contract": world.settings.creditline},
            )
        assert "below its watermark" in await self.why(world)

    async def test_when_the_tables_were_exchanged(self, world: Mirror) -> None:
        await swept(world)
        async with world.engine.begin() as connection:
            await connection.execute(text("CREATE TABLE chain.other (LIKE chain.offsets INCLUDING ALL)"))
            await connection.execute(text("INSERT INTO chain.other SELECT * FROM chain.offsets"))
            await connection.execute(text("DROP TABLE chain.offsets"))
            await connection.execute(text("ALTER TABLE chain.other RENAME TO offsets"))
        assert "below its watermark" in await self.why(world)

    async def test_when_something_else_is_compared(self, world: Mirror) -> None:
        await swept(world)
        world.settings = world.settings.model_copy(update={"amount_decimals": 2})
        assert "below its watermark" in await self.why(world)
