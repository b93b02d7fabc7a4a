"""What a sweep remembers of the sweeps before it: how long a row drifts, and that it was repaired again and again."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import pytest

from deploy import localnet, stack
from tests import services
from tests.acceptance.conftest import World, deployment

HOUR = {"CHAINTRUE_SWEEP__SETTLE_SECONDS": "3600"}


@pytest.fixture(scope="module")
async def mirror(kafka: services.RunningKafka, postgres: stack.Databases, warm: Sequence[str]) -> AsyncIterator[World]:
    """A deployment whose stream has read and observed everything, and was stopped."""
    async with deployment(kafka, postgres, localnet.STORY, command=warm) as world:
        assert (await world.run("migrate")).code == 0
        async with world.streaming():
            reached = await world.run("status", "--json", "--wait-ledger", str(world.truth.ledger), "--timeout", "80")
            assert reached.code == 0, reached.stderr
            await world.until_observed()
        yield world


async def break_a_loan(world: World, *, by: int = 1) -> Any:
    """Somebody writes another balance."""
    connection = await asyncpg.connect(world.app_url)
    try:
        return await connection.fetchval(
            "UPDATE loans SET remaining_balance = remaining_balance + $1 WHERE id = "
            "(SELECT id FROM loans WHERE status = 'active' ORDER BY loan_id LIMIT 1) RETURNING id::text",
            by,
        )
    finally:
        await connection.close()


async def test_what_an_earlier_run_saw_need_not_be_waited_for(mirror: World) -> None:
    row_id = await break_a_loan(mirror)
    first = await mirror.run("sweep", "--json", CHAINTRUE_SWEEP__SETTLE_SECONDS="1")
    (seen,) = first.json["findings"]
    assert (first.code, seen["row_id"], seen["outcome"]) == (2, row_id, "proposed")
    await mirror.own(
        "UPDATE recon.drift SET first_seen = first_seen - interval '2 h', same_since = same_since - interval '2 h'"
    )
    again = await mirror.run("sweep", "--repair", "--json", **HOUR)  # would not end in time if it waited
    (repaired,) = again.json["findings"]
    assert (again.code, repaired["outcome"]) == (0, "repaired")
    assert repaired["evidence"]["first_seen"] < seen["evidence"]["first_seen"]
    assert (await mirror.own("SELECT count(*) FROM recon.drift WHERE is_there"))[0][0] == 0
    clean = await mirror.run("sweep", "--json", "--strict", **HOUR)
    assert (clean.code, clean.json["findings"]) == (0, [])


@pytest.mark.parametrize("ahead", ["0 s", "1 h"], ids=["one clock", "the app's clock is ahead"])
async def test_a_repair_is_younger_than_the_wait_before_it_and_than_what_it_replaces(mirror: World, ahead: str) -> None:
    row_id = await break_a_loan(mirror)
    connection = await asyncpg.connect(mirror.app_url)
    try:
        query = f"UPDATE loans SET updated_at = now() + interval '{ahead}' WHERE id = $1 RETURNING updated_at"
        before = await connection.fetchval(query, row_id)
        ended = await mirror.run("sweep", "--repair", "--json", CHAINTRUE_SWEEP__SETTLE_SECONDS="2")
        assert (ended.code, ended.json["repaired"]) == (0, 1), ended.stderr
        after = await connection.fetchval("SELECT updated_at FROM loans WHERE id = $1", row_id)
    finally:
        await connection.close()
    assert after > before
    assert after >= datetime.fromisoformat(ended.json["started_at"]) + timedelta(seconds=2)


async def test_a_row_that_somebody_writes_back_each_time_is_left_alone_and_remains(mirror: World) -> None:
    window = {"CHAINTRUE_SWEEP__FLAP_LIMIT": "2"}
    await mirror.own("UPDATE recon.changes SET recorded_at = recorded_at - interval '30 days'")
    for _ in range(2):
        row_id = await break_a_loan(mirror)
        ended = await mirror.run("sweep", "--repair", "--json", **window)
        assert (ended.code, ended.json["repaired"]) == (0, 1)
    assert await break_a_loan(mirror) == row_id
    before = await mirror.dump()
    ended = await mirror.run("sweep", "--repair", "--json", **window)
    (finding,) = ended.json["findings"]
    assert (ended.code, finding["action"], finding["outcome"]) == (2, "repair", "reported")
    assert finding["evidence"]["flapping"]["repaired_times"] == 2
    assert "written back each time" in finding["words"]
    assert await mirror.dump() == before
    more = await mirror.run("sweep", "--repair", "--json", CHAINTRUE_SWEEP__FLAP_LIMIT="3")
    assert (more.code, more.json["repaired"]) == (0, 1)
