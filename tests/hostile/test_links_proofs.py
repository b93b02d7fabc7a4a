"""Attacks on the proofs of links: forged envelopes, loans of equal terms, windows, rows of one id, and sweeps of what changed."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from deploy import stack
from deploy.demo.app import envelopes
from sweeper.context import Since
from sweeper.model import Answer
from tests.hostile import link_world
from tests.hostile.link_world import control, is_linked, outcome
from tests.integration.mirror import Mirror, truth
from tests.integration.test_loan_links_near import (
    HISTORY,
    PROVISIONAL,
    Target,
    change,
    found,
    loans,
    missing,
    of,
    provisional,
)

COLUMNS = (
    "user_wallet, vendor_id, amount, loan_amount, guarantee, interest_rate, total_repayment, remaining_balance, term, "
    "status, created_at"
)


@pytest.fixture(scope="module")
async def shared(postgres: stack.Databases) -> AsyncIterator[Mirror]:
    async with link_world.mirrored(postgres) as made:
        yield made


@pytest.fixture
async def world(shared: Mirror) -> Mirror:
    await link_world.put_back(shared)
    return shared


async def name(world: Mirror, word: str, *, loan: int) -> None:
    """The transaction that made the loan stands in the application with an envelope that names the word."""
    told = truth(HISTORY)
    one = told.loans[loan]
    envelope = envelopes.create_loan(told, one, provisional_id=word, vendor_row="v", built_at=told.started_at)
    await world.app.execute(
        "INSERT INTO transactions (id, user_wallet, type, status, transaction_hash, xdr, submitted_at) "
        "VALUES (gen_random_uuid(), $1, 'loan_create', 'success', $2, $3, $4)",
        *(one.borrower, one.creation.transaction_hash, envelope.to_xdr(), told.started_at),
    )


async def another(world: Mirror, target: Target, **changed: str) -> Target:
    """A second row like the target's, with these columns as the SQL says."""
    columns = ["loan_id", *COLUMNS.split(", ")]
    values = [changed.get(column, "'pending-2'" if column == "loan_id" else column) for column in columns]
    row = await world.app.fetchval(
        f"INSERT INTO loans ({', '.join(columns)}) SELECT {', '.join(values)} FROM loans WHERE id = $1::uuid "
        "RETURNING id::text",
        target.row,
    )
    return replace(target, row=row)


async def like(world: Mirror, target: Target, *, number: int) -> Target:
    """Another loan that has the terms of the target's, created at the same time; it has no row."""
    other = await provisional(world, number=number)
    await world.app.execute("DELETE FROM loans WHERE id = $1::uuid", other.row)
    await world.app.execute(
        "UPDATE chain.loans AS one SET borrower = its.borrower, vendor = its.vendor, created_at = its.created_at, "
        "total_amount = its.total_amount, guarantee_amount = its.guarantee_amount FROM chain.loans AS its "
        "WHERE one.key = $1 AND its.key = $2",
        *(other.key, target.key),
    )
    return other


FAR = "created_at - interval '3 days'"
NAMED = {
    "the wallet in lower case": f"user_wallet = lower(user_wallet), created_at = {FAR}",
    "no wallet": "user_wallet = NULL",
    "a blank wallet": "user_wallet = ' '",
    "the wallet quoted": f"user_wallet = '\"' || user_wallet || '\"', amount = 1, created_at = {FAR}",
    "an id that is not provisional": f"loan_id = 'draft-7', created_at = {FAR}",
    "an id that is not provisional, of other amounts": "loan_id = 'draft-7', amount = amount + 7",
}


@pytest.mark.parametrize("case", NAMED)
async def test_a_row_that_its_transaction_names_keeps_its_loan_though_nothing_is_proven(
    world: Mirror, case: str
) -> None:
    target, linked = await provisional(world), await control(world)
    await change(world, target, NAMED[case])
    await name(world, "draft-7" if "draft" in NAMED[case] else f"{PROVISIONAL}0", loan=target.loan)
    assert await outcome(world, target, linked) == ("ambiguous_link", False)


@pytest.mark.parametrize("row", ["", "user_wallet = lower(user_wallet)", "loan_id = 'draft-7'"])
async def test_a_stranger_s_transaction_claims_nothing(world: Mirror, row: str) -> None:
    """The loan of a stranger whose transaction names the row is missing as before; the row is linked by its terms."""
    target, linked = await provisional(world), await control(world)
    wallet = await world.app.fetchval("SELECT user_wallet FROM loans WHERE id = $1::uuid", target.row)
    strange = next(one.loan_id for one in truth(HISTORY).loans.values() if one.borrower != wallet and one.loan_id > 20)
    await world.app.execute("DELETE FROM loans WHERE loan_id = $1", str(strange))
    if row:
        await change(world, target, row)
    await name(world, "draft-7" if "draft" in row else f"{PROVISIONAL}0", loan=strange)
    findings = await found(world)
    assert (is_linked(findings, linked), is_linked(findings, target)) == (True, not row)
    assert missing(findings) == {f"loan:{strange}"}


async def test_a_forged_envelope_takes_no_loan_from_the_row_with_its_terms(world: Mirror) -> None:
    """Of one wallet: the hash says that one row is the loan, the terms say that it is another."""
    target, linked = await provisional(world), await control(world)
    forged = await another(world, target, amount="amount + 7")
    await name(world, "pending-2", loan=target.loan)
    findings = await found(world)
    assert is_linked(findings, linked)
    for one in (target, forged):
        kind, row = of(findings, one)
        assert row is not None
        assert (kind, row.update) == ("ambiguous_link", {})
    assert target.entity not in missing(findings)


async def test_a_hash_still_decides_between_rows_of_equal_terms(world: Mirror) -> None:
    target = await provisional(world)
    second = await another(world, target)
    await name(world, "pending-2", loan=target.loan)
    findings = await found(world)
    assert is_linked(findings, second)
    assert of(findings, target)[0] == "duplicate_row"


@pytest.mark.parametrize("status", ["under_review", "rejected"])
async def test_a_hash_makes_no_claim_of_a_row_that_was_never_sent(world: Mirror, status: str) -> None:
    target = await provisional(world, status=status)
    await name(world, f"{PROVISIONAL}0", loan=target.loan)
    assert await outcome(world, target, None) == (None, True)


@pytest.mark.parametrize("status", ["under_review", "rejected"])
async def test_such_a_row_does_not_stand_in_the_way_of_another_s_proof(world: Mirror, status: str) -> None:
    target = await provisional(world)
    await another(world, target, status=f"'{status}'")
    assert is_linked(await found(world), target)


async def test_the_second_of_two_equal_loans_is_linked_once_the_first_has_its_row(world: Mirror) -> None:
    target = await provisional(world)
    other = await like(world, target, number=2)
    findings = await found(world)
    assert of(findings, target)[0] == "ambiguous_link"
    assert not {target.entity, other.entity} & missing(findings)
    second = await another(world, target)
    findings = await found(world)
    assert {of(findings, one)[0] for one in (target, second)} == {"ambiguous_link"}
    assert not {target.entity, other.entity} & missing(findings)
    await change(world, second, "loan_id = $2", str(other.loan))
    assert is_linked(await found(world), target)
    # A third row of these terms has no loan left, and a fourth loan of them would be its own.
    third = await another(world, target)
    await change(world, target, "loan_id = $2", str(target.loan))
    findings = await found(world)
    kind, row = of(findings, third)
    assert row is not None
    assert (kind, row.update, missing(findings)) == ("duplicate_row", {}, set())


async def test_a_hash_of_a_loan_that_has_its_row_leaves_no_equal_loan_unmentioned(world: Mirror) -> None:
    target = await provisional(world)
    other = await like(world, target, number=2)
    second = await another(world, target)
    await change(world, target, "loan_id = $2", str(target.loan))
    await name(world, "pending-2", loan=target.loan)
    findings = await found(world)
    kind, row = of(findings, second)
    assert row is not None
    assert (kind, row.update) == ("ambiguous_link", {})
    assert other.entity in row.evidence["candidates"]
    assert other.entity not in missing(findings)


async def test_a_duplicate_says_which_other_loan_it_may_be(world: Mirror) -> None:
    target = await provisional(world)
    other = await like(world, target, number=2)
    await world.app.execute("UPDATE chain.loans SET guarantee_amount = guarantee_amount + 1 WHERE key = $1", other.key)
    second = await another(world, target)
    await change(world, target, "loan_id = $2", str(target.loan))
    findings = await found(world)
    kind, row = of(findings, second)
    assert row is not None
    assert (kind, row.update) == ("duplicate_row", {})
    assert f"loan {other.loan}" in row.words
    assert "Hint: set loan_id" in row.words
    assert other.entity not in missing(findings)


async def test_rows_that_share_a_provisional_id_are_never_written(world: Mirror) -> None:
    target, linked = await provisional(world), await control(world)
    second = await another(world, target, loan_id="loan_id", vendor_id="NULL")
    await name(world, f"{PROVISIONAL}0", loan=target.loan)
    findings = await found(world)
    assert is_linked(findings, linked)
    assert {of(findings, one)[0] for one in (target, second)} == {"duplicate_row"}
    assert all(one.update == {} for one in findings if one.row_id in (target.row, second.row))
    assert target.entity not in missing(findings)


WINDOW = timedelta(seconds=3600 + 120)


@pytest.mark.parametrize("is_named", [False, True], ids=["by terms", "by hash"])
@pytest.mark.parametrize("at", ["'infinity'", "'9999-12-31'", "NULL"])
async def test_a_window_that_never_closes_proves_nothing(world: Mirror, is_named: bool, at: str) -> None:
    target, linked = await provisional(world), await control(world)
    if is_named:
        await name(world, f"{PROVISIONAL}0", loan=target.loan)
    await change(world, target, f"created_at = {at}")
    findings = await found(world)
    kind, row = of(findings, target)
    assert is_linked(findings, linked)
    if is_named:
        assert row is not None
        assert kind == "unresolved_provisional_id"
        # A row without a time is as old as its loan.
        assert row.answer is (None if at == "NULL" else Answer.UNKNOWN)
        assert target.entity not in missing(findings)
    elif at == "NULL":
        assert (kind, target.entity in missing(findings)) == ("ambiguous_link", False)
    else:
        assert row is None or not row.update


@pytest.mark.parametrize(("after", "proven"), [(-1, False), (0, False), (1, True)])
async def test_the_window_is_closed_a_second_later_by_hash_as_by_terms(world: Mirror, after: int, proven: bool) -> None:
    target = await provisional(world)
    await name(world, f"{PROVISIONAL}0", loan=target.loan)
    context = await world.context()
    closes = int((target.created_at - timedelta(seconds=10) + WINDOW).timestamp()) + after
    findings = await found(world, replace(context, watermark=replace(context.watermark, closed_at=closes)))
    assert is_linked(findings, target) is proven
    assert target.entity not in missing(findings)


async def test_a_later_rival_is_seen_by_a_sweep_of_what_changed(world: Mirror) -> None:
    """Neither the loan nor its proven row changed, but another row came: no link, and no insert."""
    target, linked = await provisional(world), await control(world)
    second = await another(world, target)
    odd = await another(world, target, loan_id="'1700000000000'", vendor_id="NULL")
    since = Since(position="~", keys={"loans": [target.key, linked.key]})
    seen = [one async for one in loans(world).survey_changed(await world.context(), since)]
    assert is_linked(seen, linked)
    assert {one.row_id: one.drift_class for one in seen if one.row_id != linked.row} == dict.fromkeys(
        (target.row, second.row, odd.row), "ambiguous_link"
    )
    assert not missing(seen)
