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
SWEPT = HALF + 40_000
"""Where the earlier sweep stood. What was observed, at HALF, lies before what a later one reaches back to."""
TABLES = ("loans", "reputation_history")


@pytest.fixture
async def world(database: str) -> AsyncIterator[Mirror]:
    async with mirror(database, HISTORY, until=HALF) as found:
        await follow_events(found, SWEPT)
        yield found


async def swept(world: Mirror, *, extent: str = "full", status: str = "complete") -> None:
    """A run that ended now."""
    mark = await changed.mark(await world.context(), TABLES)
    assert mark is not None
    moment = datetime.now(UTC)
    row = {"run_id": uuid4(), "mode": "dry", "extent": extent, "status": status, "started_at": moment, "mark": mark}
    async with world.engine.begin() as connection:
        await connection.execute(insert(recon_tables.runs).values(**row))


async def since(world: Mirror) -> Since:
    found = await changed.start(await world.context(), TABLES)
    assert found.since is not None, found.why
    return found.since


async def found(world: Mirror, begun: Since, table: str = "loans") -> list[Finding]:
    context = await world.context()
    findings = [one async for one in world.subject(table).survey_changed(context, begun)]
    assert context.canaries[table]
    return findings


def reach(world: Mirror) -> str:
    """The position that a sweep which begins at SWEPT reaches back to."""
    return changed.before(position.end_of(SWEPT), grace_seconds=world.settings.insert_grace_seconds)


async def positions(world: Mirror) -> tuple[list[str], list[str]]:
    """Loans (ids) that had facts before what is reached back to alone, and those that had some behind it."""
    query = text(
        "SELECT loan.loan_id::text AS id, bool_or(fact.position > :half) AS new"
        " FROM chain.loans AS loan JOIN chain.facts AS fact ON fact.key = loan.key GROUP BY loan.loan_id ORDER BY 1"
    )
    async with world.engine.connect() as connection:
        rows = (await connection.execute(query, {"half": reach(world)})).all()
    return [row.id for row in rows if not row.new], [row.id for row in rows if row.new]


async def follow_events(world: Mirror, last: int | None = None, *, closed_at: int | None = 1_900_000_000) -> None:
    """The events to the ledger `last` (the end), without reading the entries anew: that would be news of every entity."""
    told = history(HISTORY)
    begun, last = world.through or HALF, told.last if last is None else last
    events = [one for one in told.events() if begun < position.ledger_of(one.id) <= last]
    page = told.page(events, after=position.end_of(begun), through=position.end_of(last))
    await world.write(replace(page, closed_at=closed_at))
    world.through = last


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


class TestWhatTheMarkCouldNotSee:
    """An entity whose newest fact lies at or before the mark, and that the sweep there had no reason to name."""

    async def test_an_observation_that_was_applied_after_the_mark_and_lies_before_it(self, world: Mirror) -> None:
        old, _ = await positions(world)
        await swept(world)
        await world.write(history(HISTORY).observation(SWEPT - changed.MARGIN_LEDGERS + 1))
        await world.app.execute("UPDATE loans SET status = 'nobody' WHERE loan_id = $1", old[0])
        assert f"loan:{old[0]}" in {one.entity for one in await found(world, await since(world))}

    async def test_what_was_not_due_at_the_mark_is_due_some_time(self, world: Mirror) -> None:
        """Nothing ever happens to it again, and the app has no row for it: only time makes that a finding."""
        statement = (
            "DELETE FROM reputation_history WHERE event_id = "
            "(SELECT min(event_id) FROM reputation_history WHERE event_id > $1) RETURNING event_id"
        )
        event = await world.app.fetchval(statement, position.end_of(SWEPT))
        entity, created = f"event:{event}", position.ledger_of(event)
        at = next(
            int(datetime.fromisoformat(one.closed_at).timestamp())
            for one in history(HISTORY).events()
            if one.id == event
        )
        await follow_events(world, created + 1000, closed_at=at + 3600)  # as late as a row may be
        context = await world.context()
        assert entity not in {one.entity async for one in world.subject("reputation_history").survey(context)}
        await swept(world)
        await follow_events(world, created + 1001, closed_at=at + 3601)
        assert entity in {one.entity for one in await found(world, await since(world), "reputation_history")}


class TestWhenAllHasToBeLookedAt:
    async def why(self, world: Mirror) -> str:
        begun = await changed.start(await world.context(), TABLES)
        assert begun.since is None
        assert begun.why is not None
        return begun.why

    async def test_the_first_time(self, world: Mirror) -> None:
        assert "no complete sweep" in await self.why(world)

    @pytest.mark.parametrize("behind", [changed.MARGIN_LEDGERS - 1, changed.MARGIN_LEDGERS])
    async def test_where_the_time_was_of_long_before_no_later_one_begins(self, world: Mirror, behind: int) -> None:
        """While we catch up only events tell when ledgers closed. Here are none, so nothing is held to be due."""
        ends = {"after": position.end_of(SWEPT), "through": position.end_of(SWEPT + behind)}
        await world.write(replace(history(HISTORY).page([], **ends), closed_at=None))
        mark = await changed.mark(await world.context(), TABLES)
        assert (mark is None) is (behind == changed.MARGIN_LEDGERS)

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

    async def test_when_a_table_is_compared_that_was_left_out(self, world: Mirror) -> None:
        """It was not there, or lacked a column that is optional: the mark says nothing of it."""
        await swept(world)
        begun = await changed.start(await world.context(), (*TABLES, "vendors"))
        assert (begun.since, "below its watermark" in (begun.why or "")) == (None, True)

    async def test_when_what_is_new_is_let_rest_for_another_time(self, world: Mirror) -> None:
        await swept(world)
        world.settings = world.settings.model_copy(update={"insert_grace_seconds": 60})
        assert "below its watermark" in await self.why(world)

    async def test_when_something_else_is_compared(self, world: Mirror) -> None:
        await swept(world)
        world.settings = world.settings.model_copy(update={"amount_decimals": 2})
        assert "below its watermark" in await self.why(world)
