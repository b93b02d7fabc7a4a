"""Provisional rows by the installed command: a loan never gets a second row, and what is proven is still repaired."""

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from stellar_sdk import Account, Keypair, TransactionBuilder, scval

from deploy import localnet, stack
from tests import services
from tests.acceptance.conftest import World, deployment

PROVISIONAL = "pending-1700000000000-abcd1234"
TABLES = ("loans", "transactions", "vendors")


@pytest.fixture(scope="module")
async def indexed(kafka: services.RunningKafka, postgres: stack.Databases, warm: Sequence[str]) -> AsyncIterator[World]:
    """The story, indexed to its end; the application agrees with it."""
    async with deployment(kafka, postgres, localnet.STORY, command=warm) as world:
        assert (await world.run("migrate")).code == 0
        async with world.streaming():
            reached = await world.run("status", "--wait-ledger", str(world.truth.ledger), "--timeout", "80")
            assert reached.code == 0, reached.stderr
            await world.until_observed()
        await execute(world, *(f"CREATE TABLE kept_{table} AS TABLE {table}" for table in TABLES))
        yield world


@pytest.fixture
async def world(indexed: World) -> World:
    """The application as it was, without the transactions that would prove links by hash."""
    back = (f"INSERT INTO {table} SELECT * FROM kept_{table}" for table in reversed(TABLES))
    await execute(indexed, f"TRUNCATE {', '.join(TABLES)} CASCADE", *back, "DELETE FROM transactions")
    return indexed


async def execute(world: World, *statements: str) -> None:
    connection = await asyncpg.connect(world.app_url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def fetch(world: World, query: str) -> list[Any]:
    connection = await asyncpg.connect(world.app_url)
    try:
        return [tuple(row) for row in await connection.fetch(query)]
    finally:
        await connection.close()


@dataclass(frozen=True)
class Target:
    loan: int
    row: str
    wallet: str


async def provisional(world: World) -> Target:
    """Make the row of a loan with a vendor provisional, ten seconds before its loan."""
    loans = world.truth.loans.values()
    rows = {row[0]: row for row in await fetch(world, "SELECT loan_id, id::text, user_wallet, vendor_id FROM loans")}
    loan = next(
        one
        for one in loans
        if str(one.loan_id) in rows
        and rows[str(one.loan_id)][3] is not None
        and (world.truth.closed_at - one.creation.closed_at).total_seconds() > 3 * 3600
        and not any(
            other.borrower == one.borrower
            and other is not one
            and abs((other.creation.closed_at - one.creation.closed_at).total_seconds()) < 2 * 3600
            for other in loans
        )
    )
    _, row, wallet, _ = rows[str(loan.loan_id)]
    created_at = f"'{loan.creation.closed_at.isoformat()}'::timestamptz - interval '10 seconds'"
    await execute(
        world,
        f"UPDATE loans SET loan_id = '{PROVISIONAL}', status = 'active', created_at = {created_at} WHERE id = '{row}'",
    )
    return Target(loan.loan_id, row, wallet)


async def rows_of(world: World, target: Target) -> list[Any]:
    return await fetch(
        world,
        f"SELECT id::text, loan_id FROM loans WHERE upper(btrim(user_wallet)) = '{target.wallet}' ORDER BY loan_id",
    )


def findings(report: Any, target: Target) -> dict[str, Any]:
    """The findings about the row and about its loan, by class."""
    about = (f"loan:{target.loan}", target.row)
    return {one["class"]: one for one in report["findings"] if one["row_id"] in about or one["entity"] in about}


async def everything(world: World, plan: Path) -> list[Any]:
    """Do all that the shipped commands do by default: repair, apply what was proposed, sweep again. Return both reports."""
    first = await world.run("sweep", "--repair", "--plan", str(plan), "--json")
    assert first.code in (0, 2), first.stderr
    if first.json["proposed"]:
        applied = await world.run("apply", str(plan), "--json")
        assert applied.code in (0, 2), applied.stderr
    last = await world.run("sweep", "--json")
    return [first.json, last.json]


async def test_the_control_is_repaired(world: World, tmp_path: Path) -> None:
    target = await provisional(world)
    before = await rows_of(world, target)
    first, last = await everything(world, tmp_path / "plan.json")
    assert findings(first, target)["unresolved_provisional_id"]["outcome"] == "repaired"
    assert findings(last, target) == {}
    after = await rows_of(world, target)
    assert len(after) == len(before)
    assert (target.row, str(target.loan)) in after


SCALED = ", ".join(
    f"{name} = {name} * 100000"
    for name in ("amount", "loan_amount", "guarantee", "total_repayment", "remaining_balance")
)
NEAR = {
    "no vendor": f"UPDATE loans SET vendor_id = NULL WHERE loan_id = '{PROVISIONAL}'",
    "another scale": f"UPDATE loans SET {SCALED} WHERE loan_id = '{PROVISIONAL}'",
    "one smallest unit": f"UPDATE loans SET guarantee = guarantee + 0.0000001 WHERE loan_id = '{PROVISIONAL}'",
    "cents": f"UPDATE loans SET amount = round(amount, 2), guarantee = round(guarantee, 2) WHERE loan_id = '{PROVISIONAL}'",
    "a time for an id": f"UPDATE loans SET loan_id = '1700000000000' WHERE loan_id = '{PROVISIONAL}'",
    "whole cents": "UPDATE loans SET amount = round(amount * 100), guarantee = round(guarantee * 100) "
    f"WHERE loan_id = '{PROVISIONAL}'",
    "clock": f"UPDATE loans SET created_at = created_at + interval '12 seconds' WHERE loan_id = '{PROVISIONAL}'",
}


@pytest.mark.parametrize("name", NEAR)
async def test_a_loan_that_a_row_nearly_fits_gets_no_second_row(world: World, tmp_path: Path, name: str) -> None:
    target = await provisional(world)
    await execute(world, NEAR[name])
    before = await world.dump()
    for report in await everything(world, tmp_path / "plan.json"):
        about = findings(report, target)
        assert set(about) == {"ambiguous_link"}, about
        assert (about["ambiguous_link"]["row_id"], about["ambiguous_link"]["outcome"]) == (target.row, "reported")
        assert f"loan:{target.loan}" in str(about["ambiguous_link"]["evidence"]["near_misses"])
    assert (await world.dump())["loans"] == before["loans"]


async def test_a_plan_that_is_older_than_the_row_inserts_nothing(world: World, tmp_path: Path) -> None:
    """The loan was missing when the plan was made; a row that may be its own came before it was applied."""
    target = await provisional(world)
    await execute(
        world,
        f"UPDATE loans SET vendor_id = NULL WHERE id = '{target.row}'",
        f"CREATE TABLE later AS SELECT * FROM loans WHERE id = '{target.row}'",
        f"DELETE FROM loans WHERE id = '{target.row}'",
    )
    plan = tmp_path / "plan.json"
    assert (await world.run("sweep", "--plan", str(plan))).code == 2
    assert [one["class"] for one in json.loads(plan.read_text())["changes"]] == ["missing_row"]
    await execute(world, "INSERT INTO loans SELECT * FROM later", "DROP TABLE later")
    before = await world.dump()
    applied = await world.run("apply", str(plan), "--json")
    assert (applied.code, applied.json["repaired"], applied.json["skipped_changed"]) == (2, 0, 1), applied.stdout
    assert "another row" in applied.json["findings"][0]["evidence"]["reason"]
    assert not any("agrees" in note for note in applied.json["notes"])
    assert await world.dump() == before


async def test_a_stranger_s_transaction_does_not_take_the_link(world: World, tmp_path: Path) -> None:
    target = await provisional(world)
    stranger = next(one for one in world.truth.loans.values() if one.borrower != target.wallet)
    envelope = (
        TransactionBuilder(Account(Keypair.random().public_key, 1), world.truth.passphrase)
        .append_invoke_contract_function_op(world.truth.contracts["pool"], "any", [scval.to_string(PROVISIONAL)])
        .set_timeout(0)
        .build()
    )
    await execute(
        world,
        "INSERT INTO transactions (user_wallet, type, status, transaction_hash, xdr, submitted_at) VALUES "
        f"('{stranger.borrower}', 'loan_create', 'success', '{stranger.creation.transaction_hash}', "
        f"'{envelope.to_xdr()}', now())",
    )
    before = await rows_of(world, target)
    first, _ = await everything(world, tmp_path / "plan.json")
    about = findings(first, target)
    assert set(about) == {"unresolved_provisional_id"}, about
    assert about["unresolved_provisional_id"]["outcome"] == "repaired"
    after = await rows_of(world, target)
    assert len(after) == len(before)
    assert (target.row, str(target.loan)) in after
