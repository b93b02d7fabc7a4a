"""Attacks on links by rows with odd ids, wallets, vendors, amounts and times: no loan that a row may be is held to be missing."""

from collections.abc import AsyncIterator

import pytest
from stellar_sdk import Keypair

from deploy import stack
from sweeper.model import Answer
from sweeper.stepfi import loan_unknowns
from tests.hostile import link_world
from tests.hostile.link_world import control, outcome
from tests.integration.mirror import Mirror, mirror
from tests.integration.test_loan_links_near import HISTORY, change, found, missing, of, provisional


@pytest.fixture(scope="module")
async def shared(postgres: stack.Databases) -> AsyncIterator[Mirror]:
    async with link_world.mirrored(postgres) as made:
        yield made


@pytest.fixture
async def world(shared: Mirror) -> Mirror:
    await link_world.put_back(shared)
    return shared


ODD = {
    "NULL": "NULL",
    "nothing": "''",
    "blank": "'   '",
    "another prefix": "'tmp-1700000000000'",
    "upper case": "'PENDING-1'",
    "padded": "' pending-1-a'",
    "too many digits": "'99999999999999999999'",
    "one more than an u64": "'18446744073709551616'",
    "a time in milliseconds": "'1700000000000'",
    "zero": "'0'",
    "the largest u64": "'18446744073709551615'",
    "negative": "'-7'",
    "decimals": "'7.0'",
    "full-width digits": "'１７'",
    "a newline": "E'17\\n'",
}


@pytest.mark.parametrize("name", ODD)
async def test_a_row_whatever_its_id_keeps_its_loan_from_a_second_row(world: Mirror, name: str) -> None:
    target, linked = await provisional(world), await control(world)
    await change(world, target, f"loan_id = {ODD[name]}")
    assert await outcome(world, target, linked) == ("ambiguous_link", False)


VENDORS = ("'n/a'", "'unknown'", "'0x52908400098527886E0F7030069857D2E4169EE7'", "left(wallet_address, 55)", "chr(160)")


@pytest.mark.parametrize("wallet", VENDORS)
async def test_a_vendor_whose_wallet_is_no_address_is_not_known(world: Mirror, wallet: str) -> None:
    target = await provisional(world)
    await world.app.execute(
        f"UPDATE vendors SET wallet_address = {wallet} WHERE id = (SELECT vendor_id FROM loans WHERE id = $1::uuid)",
        target.row,
    )
    assert await outcome(world, target, None) == ("ambiguous_link", False)


async def test_a_vendor_whose_row_is_gone_is_not_known(world: Mirror) -> None:
    target, linked = await provisional(world), await control(world)
    await change(world, target, "vendor_id = gen_random_uuid()")
    assert await outcome(world, target, linked) == ("ambiguous_link", False)


WALLETS = (
    "user_wallet || chr(8203)",
    "chr(160) || user_wallet",
    "'\"' || user_wallet || '\"'",
    "user_wallet || E'\\n'",
    "'stellar:' || user_wallet",
    "chr(65279) || lower(user_wallet)",
)


@pytest.mark.parametrize("wallet", WALLETS)
async def test_a_wallet_in_another_way_is_the_same_wallet(world: Mirror, wallet: str) -> None:
    target, linked = await provisional(world), await control(world)
    await change(world, target, f"user_wallet = {wallet}")
    assert await outcome(world, target, linked) == ("ambiguous_link", False)


MONEY = {
    "amounts rounded up to cents": "amount = ceil(amount * 100) / 100, guarantee = ceil(guarantee * 100) / 100",
    "one rounded up, the other down": "amount = ceil(amount * 100) / 100, guarantee = floor(guarantee * 100) / 100",
    "whole cents": "amount = round(amount * 100), guarantee = round(guarantee * 100)",
    "one unit on one, cents on the other": "amount = amount + 0.0000001, guarantee = round(guarantee, 2)",
    "infinite": "amount = 'Infinity'",
    "both not a number": "amount = 'NaN', guarantee = 'NaN'",
    "the smallest units": "amount = amount * 10000000, guarantee = guarantee * 10000000",
}


@pytest.mark.parametrize("name", MONEY)
async def test_amounts_that_nearly_fit_keep_the_loan_claimed(world: Mirror, name: str) -> None:
    target, linked = await provisional(world), await control(world)
    await world.app.execute(
        "UPDATE chain.loans SET total_amount = 333333333, guarantee_amount = 66666667 WHERE key = $1", target.key
    )
    await change(world, target, "amount = 33.3333333, guarantee = 6.6666667")
    await change(world, target, MONEY[name])
    assert await outcome(world, target, linked) == ("ambiguous_link", False)


TYPES = {
    "a time without a zone": "ALTER created_at TYPE timestamp USING created_at AT TIME ZONE 'UTC'",
    "short amounts": "ALTER amount TYPE numeric(20, 2), ALTER guarantee TYPE numeric(20, 2)",
}


@pytest.mark.parametrize("name", TYPES)
async def test_columns_of_other_types_end_no_sweep(database: str, name: str) -> None:
    async with mirror(database, HISTORY) as world:
        await other_types(world, name)


async def other_types(world: Mirror, name: str) -> None:
    target, linked = await provisional(world), await control(world)
    await change(world, target, "vendor_id = NULL")
    await world.app.execute(f"ALTER TABLE loans {TYPES[name]}")
    findings = await found(world)
    assert of(findings, target)[0] == "ambiguous_link"
    assert not {target.entity, linked.entity} & missing(findings)


UNKNOWN = {
    "when it was made": "created_at = NULL",
    "its vendor": "vendor = NULL",
    "its amounts": "total_amount = NULL, guarantee_amount = NULL",
    "all but its borrower": "created_at = NULL, vendor = NULL, total_amount = NULL, guarantee_amount = NULL, terms_since = NULL",
}


@pytest.mark.parametrize("name", UNKNOWN)
async def test_a_loan_that_is_partly_known_may_be_the_row_s(world: Mirror, name: str) -> None:
    target, linked = await provisional(world), await control(world)
    await world.app.execute(f"UPDATE chain.loans SET {UNKNOWN[name]} WHERE key = $1", target.key)
    findings = await found(world)
    kind, row = of(findings, target)
    assert row is not None
    assert (kind, row.update, row.evidence["candidates"]) == ("ambiguous_link", {}, [target.entity])
    assert target.entity not in missing(findings)
    assert of(findings, linked)[0] == "unresolved_provisional_id"


@pytest.mark.parametrize("column", ["borrower", "created_at"])
async def test_an_absence_is_not_proven_while_a_loan_is_not_known(world: Mirror, column: str) -> None:
    """A loan of which wallet or time is unknown may be the row's, whatever its row's amounts."""
    target, other = await provisional(world), await provisional(world, number=2)
    waiting = await provisional(world, number=3, status="pending")
    stranger = Keypair.random().public_key
    for one in (target, waiting):
        await change(world, one, f"amount = amount + 7, user_wallet = '{stranger}'")
    findings = await found(world)
    kind, row = of(findings, target)
    assert row is not None
    assert (kind, row.answer, of(findings, waiting)[0]) == ("absent_on_chain", Answer.ABSENT, "abandoned_provisional")
    await world.app.execute(f"UPDATE chain.loans SET {column} = NULL WHERE key = $1", other.key)
    findings = await found(world)
    kind, row = of(findings, target)
    assert row is not None
    assert (kind, row.answer, of(findings, waiting)[0]) == ("absent_on_chain", Answer.UNKNOWN, None)


@pytest.mark.parametrize("is_later", [False, True], ids=["the counter seen since", "the counter not seen since"])
async def test_a_number_in_an_unread_event_stops_no_link(world: Mirror, is_later: bool) -> None:
    """The number may be an amount or a time: where the contract's counter was seen since, it is the number of no loan."""
    target, linked = await provisional(world), await control(world)
    await change(world, target, "loan_id = '1700000000000'")
    position = "'~'" if is_later else "''"
    await world.app.execute(
        f"INSERT INTO chain.loans (key, position, contract, loan_id) SELECT 'loan:' || contract || ':1800000000000', "
        f"{position}, contract, 1800000000000 FROM chain.loans LIMIT 1"
    )
    findings = await found(world)
    assert link_world.is_linked(findings, linked)
    kind, row = of(findings, target)
    assert row is not None
    assert (kind, row.update, missing(findings)) == ("ambiguous_link", {}, set())
    last = await world.app.fetchval("SELECT max(loan_id) FROM chain.loans WHERE terms_since IS NOT NULL")
    spans = await loan_unknowns.read(await world.context(), world.settings)
    assert [(one.first, one.last) for one in spans] == [(last + 1, 1800000000000)] * is_later
