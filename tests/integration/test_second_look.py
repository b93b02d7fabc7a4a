"""Rows that are found to be something else while a run waits, on a real PostgreSQL: in motion, and still known to drift."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from sweeper import settling, sightings, sweep
from sweeper.model import Finding
from sweeper.report import Extent, Mode
from sweeper.session import Run, Session
from tests.integration.mirror import Mirror, mirror


@pytest.fixture
async def world(database: str) -> AsyncIterator[Mirror]:
    async with mirror(database, "random-1.jsonl.gz") as found:
        yield found


async def provisional(world: Mirror) -> tuple[str, str]:
    """Two rows that may be one and the same loan of the chain."""
    columns = (
        "user_wallet, vendor_id, amount, loan_amount, guarantee, interest_rate, total_repayment, remaining_balance, term, "
        "status, created_at"
    )
    row = await world.app.fetchval(
        "UPDATE loans SET loan_id = 'pending-1-a' WHERE id = "
        "(SELECT id FROM loans WHERE status = 'active' AND vendor_id IS NOT NULL ORDER BY created_at DESC LIMIT 1) "
        "RETURNING id::text"
    )
    rival = await world.app.fetchval(
        f"INSERT INTO loans (loan_id, {columns}) SELECT 'pending-1-b', {columns} FROM loans WHERE id = $1::text::uuid "
        "RETURNING id::text",
        row,
    )
    return row, rival


async def test_a_row_whose_entity_is_known_by_now_is_in_motion_and_drifts_still(world: Mirror) -> None:
    row, rival = await provisional(world)
    subject, context = world.subject("loans"), await world.context()
    found = [one async for one in subject.survey(context) if one.row_id in (row, rival)]
    assert {(one.row_id, one.drift_class, one.entity) for one in found} == {
        (one, "ambiguous_link", None) for one in (row, rival)
    }
    first = await sightings.note(world.engine, found)
    await world.app.execute("UPDATE loans SET status = 'rejected' WHERE id = $1::text::uuid", rival)
    again = await subject.look_again(context, found)
    assert [(one.row_id, one.drift_class) for one in again] == [(row, "unresolved_provisional_id")]
    assert again[0].entity is not None
    second = await sightings.note(world.engine, again, looked_at=map(sightings.place, found))
    counted = settling.settled(first, second, again, ahead=set())
    assert (list(counted.findings), counted.in_motion) == ([], 1)
    async with world.engine.connect() as connection:
        there = (await connection.execute(text("SELECT row_id, first_seen FROM recon.drift WHERE is_there"))).all()
    assert [tuple(one) for one in there] == [(row, first.at)]


async def test_what_an_older_scan_did_not_find_is_not_taken_for_gone(world: Mirror) -> None:
    context = await world.context()
    known = [
        Finding(drift_class="stale_status", table=table, row_id="r", entity="e", words="")
        for table in ("loans", "vendors")
    ]
    await sightings.note(world.engine, known)
    context.resumed.append("loans")
    run = Run(mode=Mode.DRY, extent=Extent.FULL)
    one = Session(run=run, context=context, chosen=[], settings=None)  # type: ignore[arg-type]  # not looked at: nothing is found
    assert await sweep._settle(one, {"loans": [], "vendors": []}, is_whole=True) == []
    async with world.engine.connect() as connection:
        there = await connection.execute(text("SELECT table_name FROM recon.drift WHERE is_there"))
        assert [row.table_name for row in there] == ["loans"]
