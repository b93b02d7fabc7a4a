"""Our own tables are wrong: the chain says so, the log mends them, and the application is never made to agree with a mistake."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import asyncpg
import pytest

from deploy import localnet, stack
from shared import frames
from tests import services
from tests.acceptance.conftest import World, deployment
from tests.integration import stream_parts as parts

LATER = 20
"""Ledgers that close after all was observed, so that an answer is newer than what the tables know."""


@pytest.fixture(scope="module")
async def mirror(kafka: services.RunningKafka, postgres: stack.Databases, warm: Sequence[str]) -> AsyncIterator[World]:
    """A deployment whose stream has read and observed everything, and was stopped."""
    async with deployment(kafka, postgres, localnet.STORY, command=warm) as world:
        assert (await world.run("migrate")).code == 0
        async with world.streaming():
            await reach(world, world.truth.ledger)
            await world.until_observed()
            await move_on(world)
        yield world


async def move_on(world: World) -> None:
    """Ledgers close in which nothing happens, and the stream has read them."""
    ledger = world.net.latest_ledger + LATER
    await world.net.advance_to(ledger)
    await reach(world, ledger)


async def reach(world: World, ledger: int) -> None:
    reached = await world.run("status", "--json", "--wait-ledger", str(ledger), "--timeout", "80")
    assert reached.code == 0, reached.stderr


async def a_loan(world: World) -> dict[str, Any]:
    """An active loan that has its row."""
    connection = await asyncpg.connect(world.app_url)
    try:
        row = await connection.fetchrow(
            "SELECT id, loan_id, remaining_balance FROM loans WHERE status = 'active' ORDER BY loan_id LIMIT 1"
        )
        return dict(row)
    finally:
        await connection.close()


async def in_app(world: World, statement: str, *values: Any) -> None:
    connection = await asyncpg.connect(world.app_url)
    try:
        assert await connection.execute(statement, *values) == "UPDATE 1"
    finally:
        await connection.close()


async def our_tables(world: World) -> dict[str, list[Any]]:
    """What our tables hold, but for how they came to know it."""
    since = [f"{group}_since" for group in ("terms", "details", "status", "balance", "buckets", "cost")]
    known = ["position", "observed_at", "asked_at", *since]
    return {
        table: await world.own(
            f"SELECT to_jsonb(t) - CAST(ARRAY{known} AS text[]) FROM chain.{table} AS t ORDER BY key"
        )
        for table in ("loans", "scores", "vendors", "liquidity_positions")
    }


async def log_of(world: World) -> list[frames.Frame]:
    settings = parts.kafka_settings(
        world.environment["CHAINTRUE_KAFKA__BOOTSTRAP_SERVERS"], world.environment["CHAINTRUE_KAFKA__TOPIC"]
    )
    return list(await parts.read_log(settings, network=world.truth.passphrase))


async def observations(world: World) -> list[frames.Observation]:
    return [frame for frame in await log_of(world) if isinstance(frame, frames.Observation)]


async def apply_the_rest(world: World) -> None:
    """Let the worker apply what sweeps without a stream have left in the log: later it would undo a mistake by itself."""
    async with world.streaming():
        await world.until(f"SELECT next_offset >= {len(await log_of(world))} FROM chain.offsets")


def wrong_balance(loan: dict[str, Any], *, by: int = 70000000) -> str:
    return f"UPDATE chain.loans SET remaining_balance = remaining_balance + {by} WHERE loan_id = {loan['loan_id']}"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"CHAINTRUE_KAFKA__BOOTSTRAP_SERVERS": None}, "CHAINTRUE_KAFKA__BOOTSTRAP_SERVERS is not set"),
        ({"CHAINTRUE_SWEEP__OBSERVE_SECONDS": "0"}, "CHAINTRUE_SWEEP__OBSERVE_SECONDS is 0"),
        ({"CHAINTRUE_SWEEP__OBSERVE_SECONDS": "4"}, "the stream has not applied it within 4 s"),
        ({"CHAINTRUE_KAFKA__TOPIC": "another"}, "the topic another does not exist"),
        ({"CHAINTRUE_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:9"}, "Kafka at 127.0.0.1:9 cannot be used"),
    ],
    ids=["no Kafka", "switched off", "no stream", "another topic", "Kafka away"],
)
async def test_what_cannot_be_mended_is_unknown_and_nothing_is_written(
    mirror: World, changes: dict[str, str | None], reason: str
) -> None:
    loan, app = await a_loan(mirror), await mirror.dump()
    await mirror.own(wrong_balance(loan))
    ended = await mirror.run("sweep", "--repair", "--json", **changes)
    await mirror.own(wrong_balance(loan, by=-70000000))
    (finding,) = ended.json["findings"]
    assert (ended.code, finding["outcome"], finding["row_id"]) == (0, "unknown", str(loan["id"]))
    assert reason in finding["evidence"]["not_observed"]
    assert "contradicts our tables in remaining_balance" in finding["evidence"]["chain"]
    assert ended.json["spot_checks"]["unknown"] == 1
    assert await mirror.dump() == app


async def test_a_finding_that_stands_on_a_mistake_of_ours_is_none(mirror: World) -> None:
    await apply_the_rest(mirror)
    await mirror.net.advance_to(mirror.net.latest_ledger + 1)  # nothing is newer than an observation at the tip
    loan, app, true, told = (
        await a_loan(mirror),
        await mirror.dump(),
        await our_tables(mirror),
        await observations(mirror),
    )
    await mirror.own(wrong_balance(loan))
    await mirror.own("UPDATE chain.scores SET score = score + 5 WHERE key = (SELECT min(key) FROM chain.scores)")
    async with mirror.streaming():
        ended = await mirror.run("sweep", "--repair", "--json")
    assert (ended.code, ended.json["findings"]) == (0, []), ended.stderr
    assert ended.json["spot_checks"]["unknown"] == 0
    assert await mirror.dump() == app
    assert await our_tables(mirror) == true
    new = (await observations(mirror))[len(told) :]
    assert [one.latest_ledger for one in new] == [mirror.net.latest_ledger]
    assert [len(one.entries) for one in new] == [2]
    assert all(entry.xdr and entry.last_modified and entry.live_until for entry in new[0].entries)
    assert (await mirror.own("SELECT count(*) FROM recon.drift WHERE is_there"))[0][0] == 0


async def test_a_row_that_agrees_with_our_mistake_is_found_by_a_spot_check(mirror: World) -> None:
    loan, true = await a_loan(mirror), await our_tables(mirror)
    async with mirror.streaming():
        await move_on(mirror)
        await mirror.own(wrong_balance(loan))
        await in_app(mirror, "UPDATE loans SET remaining_balance = remaining_balance + 7 WHERE id = $1", loan["id"])
        ended = await mirror.run("sweep", "--repair", "--json")
        asked = mirror.net.requests["getLedgerEntries"]
        again = await mirror.run("sweep", "--json", "--strict")
    (finding,) = ended.json["findings"]
    assert (finding["row_id"], finding["class"], finding["outcome"]) == (str(loan["id"]), "stale_value", "repaired")
    assert finding["evidence"]["chain"] == "the entry says the same as our tables"
    assert "loans: the chain contradicted our tables in 1, which the log mended" in ended.json["notes"]
    assert await our_tables(mirror) == true
    assert (await a_loan(mirror))["remaining_balance"] == loan["remaining_balance"]
    assert (again.code, again.json["findings"]) == (0, [])
    assert again.json["spot_checks"]["unknown"] == 0
    assert mirror.net.requests["getLedgerEntries"] - asked <= len(again.json["spot_coverage"])  # one for each table
    coverage = again.json["spot_coverage"]["loans"]
    assert (coverage["checked"], coverage["of"], coverage["share"]) == (len(true["loans"]), len(true["loans"]), 1.0)
    assert coverage["last_round_ended_at"] is not None
