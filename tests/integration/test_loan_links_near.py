"""Rows that nearly fit their loan, on a real PostgreSQL: what they are found to be, and that their loan is not missing."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from deploy.demo.app import envelopes
from sweeper.context import Context, Since
from sweeper.model import Answer, Finding
from sweeper.stepfi.loans import Loans
from tests.integration.mirror import Mirror, mirror, truth

HISTORY = "random-1.jsonl.gz"
PROVISIONAL = "pending-1700000000000-abcd1234"
WINDOW, SKEW = timedelta(hours=1), timedelta(seconds=120)


@dataclass(frozen=True)
class Target:
    """A loan whose row is provisional: the row's id, the loan's number, its key in `chain`, and when it was created."""

    row: str
    loan: int
    key: str
    created_at: datetime

    @property
    def entity(self) -> str:
        return f"loan:{self.loan}"


@pytest.fixture
async def world(database: str) -> AsyncIterator[Mirror]:
    async with mirror(database, HISTORY) as found:
        yield found


# Loans with a vendor's row, of which the wallet has no other within some hours.
_ALONE = """
SELECT row.id::text AS row, loan.loan_id::int8 AS loan, loan.key, to_timestamp(loan.created_at) AS created_at
FROM loans AS row JOIN chain.loans AS loan ON loan.loan_id::text = row.loan_id
WHERE row.vendor_id IS NOT NULL AND row.status = 'active' AND loan.guarantee_amount > 0
  AND NOT EXISTS (SELECT FROM chain.loans AS other WHERE other.borrower = loan.borrower AND other.key <> loan.key
    AND abs(other.created_at - loan.created_at) < 15000)
ORDER BY loan.loan_id
"""


async def provisional(world: Mirror, *, number: int = 0, status: str = "active") -> Target:
    """Make the row of a loan provisional: by its terms it is that loan."""
    target = Target(*(await world.app.fetch(_ALONE))[number])
    await world.app.execute("DELETE FROM transactions")
    await world.app.execute(
        "UPDATE loans SET loan_id = $2, status = $3, created_at = $4 WHERE id = $1::uuid",
        *(target.row, f"{PROVISIONAL}{number}", status, target.created_at - timedelta(seconds=10)),
    )
    return target


async def change(world: Mirror, target: Target, assignments: str, *values: Any) -> None:
    await world.app.execute(f"UPDATE loans SET {assignments} WHERE id = $1::uuid", target.row, *values)


def loans(world: Mirror, **settings: Any) -> Loans:
    return Loans(world.settings.model_copy(update=settings))


async def found(world: Mirror, context: Context | None = None, **settings: Any) -> list[Finding]:
    subject = loans(world, **settings)
    return [one async for one in subject.survey(context or await world.context())]


def of(findings: Sequence[Finding], target: Target) -> tuple[str | None, Finding | None]:
    """The class of the target's row with its finding; and that its loan is not missing."""
    row = next((one for one in findings if one.row_id == target.row), None)
    return (None if row is None else row.drift_class), row


def missing(findings: Sequence[Finding]) -> set[str | None]:
    return {one.entity for one in findings if one.drift_class == "missing_row"}


async def test_the_control_is_linked_and_can_be_written(world: Mirror) -> None:
    target = await provisional(world)
    findings = await found(world)
    kind, row = of(findings, target)
    assert kind == "unresolved_provisional_id"
    assert row is not None
    assert (row.entity, row.answer, row.update["loan_id"]) == (target.entity, None, str(target.loan))
    assert missing(findings) == set()


VENDOR = "UPDATE vendors SET wallet_address = {} WHERE id = (SELECT vendor_id FROM loans WHERE id = $1::uuid)"
NEAR = {
    "no vendor": ("vendor_id = NULL", "the row has no vendor"),
    "all amounts scaled": (
        "amount = amount * 100000, guarantee = guarantee * 100000, remaining_balance = remaining_balance * 100000",
        "10^5 times",
    ),
    "scaled down": ("amount = amount / 1000, guarantee = guarantee / 1000", "10^-3 times"),
    "scaled, without a vendor": ("amount = amount * 10, guarantee = guarantee * 10, vendor_id = NULL", "10^1 times"),
    "one smallest unit": ("guarantee = guarantee + 0.0000001", "one smallest unit"),
    "one smallest unit each": ("guarantee = guarantee - 0.0000001, amount = amount + 0.0000001", "one smallest unit"),
    "rounded to cents": ("amount = round(amount, 2), guarantee = round(guarantee, 2)", "rounding to cents"),
    "the app's clock ahead": ("created_at = created_at + interval '12 seconds'", "2 s before the row"),
    "the clock ahead by all of the skew": ("created_at = created_at + interval '130 seconds'", "120 s before the row"),
    "the clock behind": ("created_at = created_at - interval '1 hour 110 seconds'", "120 s after the link window"),
    "not a number": ("amount = 'NaN'", "amount is not known"),
    "the wallet in lower case": ("user_wallet = lower(user_wallet)", "in another way"),
    "the wallet padded": ("user_wallet = ' ' || user_wallet || ' '", "in another way"),
    "an id that is not provisional": ("loan_id = '0' || $2::text", "neither a loan's number nor provisional"),
}


@pytest.mark.parametrize("status", ["active", "pending"])
@pytest.mark.parametrize("name", NEAR)
async def test_a_row_that_nearly_fits_is_ambiguous_and_its_loan_is_claimed(
    world: Mirror, name: str, status: str
) -> None:
    target = await provisional(world, status=status)
    assignments, reason = NEAR[name]
    await change(world, target, assignments, *([str(target.loan)] if "$2" in assignments else []))
    findings = await found(world)
    kind, row = of(findings, target)
    assert (kind, missing(findings)) == ("ambiguous_link", set())
    assert row is not None
    assert (row.update, row.insert, row.evidence["candidates"]) == ({}, None, [target.entity])
    assert reason in str(row.evidence["near_misses"])
    assert "Hint: set loan_id" in row.words


@pytest.mark.parametrize("value", ["NULL", "''", "lower(wallet_address)"])
async def test_a_vendor_whose_wallet_is_not_known_is_a_near_miss(world: Mirror, value: str) -> None:
    target = await provisional(world)
    await world.app.execute("ALTER TABLE vendors ALTER wallet_address DROP NOT NULL")
    await world.app.execute(VENDOR.format(value), target.row)
    findings = await found(world)
    assert (of(findings, target)[0], missing(findings)) == ("ambiguous_link", set())


@pytest.mark.parametrize("column", ["amount", "created_at"])
async def test_what_the_row_does_not_know_contradicts_nothing(world: Mirror, column: str) -> None:
    target = await provisional(world)
    await world.app.execute(f"ALTER TABLE loans ALTER {column} DROP NOT NULL")
    await change(world, target, f"{column} = NULL")
    findings = await found(world)
    assert (of(findings, target)[0], missing(findings)) == ("ambiguous_link", set())


FAR = {
    "an amount": "amount = amount + 1",
    "a whole cent": "amount = amount + 0.01",
    "amounts of two scales": "amount = amount * 10, guarantee = guarantee * 100",
    "the vendor": "vendor_id = (SELECT id FROM vendors WHERE id <> vendor_id LIMIT 1)",
}


@pytest.mark.parametrize("name", FAR)
async def test_a_contradicted_loan_puts_an_absence_in_doubt_and_blocks_nothing_else(world: Mirror, name: str) -> None:
    target, waiting = await provisional(world), await provisional(world, number=1, status="pending")
    for one in (target, waiting):
        await change(world, one, FAR[name])
    findings = await found(world)
    kind, row = of(findings, target)
    assert row is not None
    assert (kind, row.answer, row.evidence["loans_left_over"]) == ("absent_on_chain", Answer.UNKNOWN, [target.entity])
    assert of(findings, waiting)[0] == "abandoned_provisional"
    assert missing(findings) == {target.entity, waiting.entity}


@pytest.mark.parametrize("seconds", [-121, 3600 + 121])
async def test_beyond_the_skew_nothing_is_left_over(world: Mirror, seconds: int) -> None:
    target = await provisional(world)
    await change(world, target, "created_at = $2", target.created_at - timedelta(seconds=seconds))
    findings = await found(world)
    kind, row = of(findings, target)
    assert row is not None
    assert (kind, row.answer, missing(findings)) == ("absent_on_chain", Answer.ABSENT, {target.entity})
    findings = await found(world, clock_skew_seconds=121)
    assert (of(findings, target)[0], missing(findings)) == ("ambiguous_link", set())


@pytest.mark.parametrize("status", ["under_review", "rejected"])
async def test_rows_that_were_never_sent_claim_nothing(world: Mirror, status: str) -> None:
    target = await provisional(world, status=status)
    findings = await found(world)
    assert (of(findings, target)[0], missing(findings)) == (None, {target.entity})


async def test_a_near_miss_weakens_no_proof(world: Mirror) -> None:
    target = await provisional(world)
    columns = (
        "user_wallet, amount, loan_amount, guarantee, interest_rate, total_repayment, remaining_balance, term, status"
    )
    second = await world.app.fetchval(
        f"INSERT INTO loans (loan_id, created_at, {columns}) SELECT 'pending-2', created_at, {columns} FROM loans "
        "WHERE id = $1::uuid RETURNING id::text",
        target.row,
    )
    findings = {one.row_id: one for one in await found(world) if one.row_id}
    assert findings[target.row].drift_class == "unresolved_provisional_id"
    assert findings[target.row].answer is None
    # The loan is proven to be another row's, so nothing is left that the second row may be.
    assert (findings[second].drift_class, findings[second].answer) == ("absent_on_chain", Answer.ABSENT)


async def at(world: Mirror, moment: datetime | None) -> Context:
    """A sweep whose watermark closed then."""
    context = await world.context()
    closed_at = None if moment is None else int(moment.timestamp())
    return replace(context, watermark=replace(context.watermark, closed_at=closed_at))


async def test_while_the_link_window_is_open_nothing_is_proven(world: Mirror) -> None:
    target = await provisional(world)
    closes = target.created_at - timedelta(seconds=10) + WINDOW + SKEW
    for moment in (closes, closes - timedelta(minutes=40), None):
        findings = await found(world, await at(world, moment))
        kind, row = of(findings, target)
        assert row is not None
        assert (kind, row.answer) == ("unresolved_provisional_id", Answer.UNKNOWN)
        assert f"link window open until {closes:%Y-%m-%dT%H:%M:%SZ}" in row.words
        assert row.evidence["link_window_open_until"].startswith(f"{closes:%Y-%m-%dT%H:%M:%SZ}")
        assert target.entity not in missing(findings)
    kind, row = of(await found(world, await at(world, closes + timedelta(seconds=1))), target)
    assert row is not None
    assert (kind, row.answer) == ("unresolved_provisional_id", None)


async def forge(world: Mirror, target: Target, *, loan: int, word: str) -> None:
    """A transaction row that made `loan` and whose envelope names `word`."""
    told = truth(HISTORY)
    one = told.loans[loan]
    envelope = envelopes.create_loan(told, one, provisional_id=word, vendor_row="v", built_at=told.started_at)
    await world.app.execute(
        "INSERT INTO transactions (id, user_wallet, type, status, transaction_hash, xdr, submitted_at) "
        "VALUES (gen_random_uuid(), $1, 'loan_create', 'success', $2, $3, $4)",
        *(one.borrower, one.creation.transaction_hash, envelope.to_xdr(), told.started_at),
    )
    assert target.loan != loan or one.borrower


async def test_a_stranger_s_transaction_takes_no_link(world: Mirror) -> None:
    target = await provisional(world)
    wallet = await world.app.fetchval("SELECT user_wallet FROM loans WHERE id = $1::uuid", target.row)
    strange = next(one.loan_id for one in truth(HISTORY).loans.values() if one.borrower != wallet)
    await forge(world, target, loan=strange, word=f"{PROVISIONAL}0")
    findings = await found(world)
    kind, row = of(findings, target)
    assert row is not None
    assert (kind, row.entity, row.answer, row.evidence["linked_by"]) == (
        *("unresolved_provisional_id", target.entity, None, "terms"),
    )
    assert missing(findings) == set()


async def test_a_hash_links_a_row_whose_terms_say_nothing(world: Mirror) -> None:
    target = await provisional(world)
    await change(world, target, "vendor_id = NULL, created_at = created_at - interval '1 day'")
    await forge(world, target, loan=target.loan, word=f"{PROVISIONAL}0")
    kind, row = of(await found(world), target)
    assert row is not None
    assert (kind, row.entity, row.answer, row.evidence["linked_by"]) == (
        *("unresolved_provisional_id", target.entity, None, "transaction hash"),
    )


async def test_a_hash_against_the_terms_is_ambiguous(world: Mirror) -> None:
    target = await provisional(world)
    wallet = await world.app.fetchval("SELECT user_wallet FROM loans WHERE id = $1::uuid", target.row)
    other = next(
        (one for one in truth(HISTORY).loans.values() if one.borrower == wallet and one.loan_id != target.loan), None
    )
    assert other is not None
    await world.app.execute("DELETE FROM loans WHERE loan_id = $1", str(other.loan_id))
    await forge(world, target, loan=other.loan_id, word=f"{PROVISIONAL}0")
    findings = await found(world)
    kind, row = of(findings, target)
    assert row is not None
    assert kind == "ambiguous_link"
    assert set(row.evidence["candidates"]) == {target.entity, f"loan:{other.loan_id}"}
    assert missing(findings) == set()


async def test_several_vendors_with_one_wallet_are_named_and_not_written(world: Mirror) -> None:
    target = await provisional(world)
    await world.app.execute("ALTER TABLE vendors DROP CONSTRAINT merchants_wallet_address_key")
    await change(world, target, "loan_id = $2, vendor_id = NULL", str(target.loan))
    query = (
        "SELECT wallet_address FROM vendors AS v JOIN chain.loans AS l ON l.vendor = v.wallet_address WHERE l.key = $1"
    )
    wallet = await world.app.fetchval(query, target.key)
    await world.app.execute(
        "INSERT INTO vendors SELECT (jsonb_populate_record(v, jsonb_build_object('id', gen_random_uuid()))).* "
        "FROM vendors AS v WHERE wallet_address = $1",
        wallet,
    )
    both = {str(row[0]) for row in await world.app.fetch("SELECT id FROM vendors WHERE wallet_address = $1", wallet)}
    assert len(both) == 2
    kind, row = of(await found(world), target)
    assert row is not None
    assert (kind, row.update, set(row.evidence["vendors_with_that_wallet"])) == ("stale_value", {}, both)
    await change(world, target, "status = 'pending'")
    kind, row = of(await found(world), target)
    assert row is not None
    assert (kind, set(row.update)) == ("stale_status", {"status", "updated_at"})
    assert "vendor_id is not written" in row.words
    await world.app.execute("DELETE FROM loans WHERE id = $1::uuid", target.row)
    (absent,) = [one for one in await found(world) if one.entity == target.entity]
    assert absent.insert is not None
    assert (absent.drift_class, absent.insert["vendor_id"]) == ("missing_row", None)
    assert set(absent.evidence["vendors_with_that_wallet"]) == both


async def test_a_sweep_of_what_changed_finds_the_same(world: Mirror) -> None:
    """Of every loan that has changed, the rows that it may be the loan of: near, contradicted, linked."""
    targets = [await provisional(world, number=number) for number in range(4)]
    await change(world, targets[1], NEAR["no vendor"][0])
    await change(world, targets[2], FAR["an amount"])
    await change(world, targets[3], NEAR["all amounts scaled"][0])
    whole = {one.place: (one.drift_class, one.entity, one.answer) for one in await found(world)}
    for target in targets:
        since = Since(position="~", keys={"loans": [target.key]})
        seen = [one async for one in loans(world).survey_changed(await world.context(), since)]
        assert target.row in {one.row_id for one in seen}
        assert all(whole[one.place] == (one.drift_class, one.entity, one.answer) for one in seen)
