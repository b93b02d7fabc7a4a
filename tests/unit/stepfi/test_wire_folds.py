"""What the tables know while other versions of the contracts speak: what follows from any version, and else nothing (I5)."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.stepfi.events import Role
from streams.facts import OBSERVED, Fact
from tests.unit.stepfi.contracts import (
    ADMIN,
    APPLICATION,
    BORROWER,
    CLOSED,
    PROVIDER,
    VENDOR,
    address,
    boolean,
    event,
    facts,
    i128,
    instance,
    key_of,
    loan_entry,
    shares_entry,
    states,
    sym,
    text,
    u32,
    u64,
    unit,
    vec,
    vendor_entry,
    void,
)
from tests.unit.stepfi.wire_facts import (
    CREDITLINE_KEY,
    LOAN_KEY,
    VENDOR_PAID,
    deposit,
    fund,
    guarantee,
    loan,
    loss,
    of_loan,
    of_pool,
    repay,
    requested,
    seen,
    withdraw,
)


class TestLoan:
    def test_a_vendor_that_is_paid_leaves_a_pending_loan_unknown_until_it_is_seen(self):
        row = loan(requested(), VENDOR_PAID)
        assert (row.status, row.status_since, row.asked_at) == (None, None, VENDOR_PAID.id)
        row = loan(requested(), VENDOR_PAID, (loan_entry(vendor_paid=boolean(True)), 2))
        assert (row.status, row.asked_at) == ("Active", None)

    def test_a_vendor_that_is_paid_says_nothing_of_another_status(self):
        row = loan(requested(), of_loan("LOANAPPROVED", void(), ledger=2), of_loan("VENDPAID", VENDOR_DATA, ledger=3))
        assert row.status == "Active"

    def test_whether_an_approval_funds_the_loan_the_entry_says(self):
        pending = (loan_entry(status=unit("Pending"), funded_at=u64(0)), 1)
        row = loan(requested(), pending, of_loan("LOANAPPROVED", void(), ledger=2))
        assert (row.status, row.funded_at, row.interest_rate_bps) == ("Active", None, 400)
        assert row.asked_at is not None
        row = loan(requested(), pending, of_loan("LOANAPPROVED", void(), ledger=2), (loan_entry(), 2))
        assert row.funded_at == CLOSED

    def test_an_unknown_event_behind_the_approval_leaves_the_loan_unknown_until_it_is_seen(self):
        funded = of_loan("LOANFUNDED", vec([address(VENDOR), i128(800)]), ledger=3)
        told = (requested(), of_loan("LOANAPPROVED", void(), ledger=2), funded)
        row = loan(*told)
        unknown = ("borrower", "vendor", "total_amount", "schedule", "status", "remaining_balance", "funded_at")
        assert [getattr(row, name) for name in unknown] == [None] * len(unknown)
        since = ("terms_since", "details_since", "status_since", "balance_since", "buckets_since")
        assert [getattr(row, name) for name in since] == [None] * len(since)
        assert (row.created_at, row.approved_at, row.asked_at) == (CLOSED, CLOSED, funded.id)
        assert states(*told)[CREDITLINE_KEY].asked_at == funded.id
        row = loan(*told, (loan_entry(), 3))
        assert (row.status, row.remaining_balance, row.total_amount, row.asked_at) == ("Active", 1050, 1000, None)

    @pytest.mark.parametrize(
        "unread",
        [
            of_loan("LOANDEFAULTED", void(), ledger=2, topics=[address(BORROWER), u64(7)]),
            of_loan("LOANRPD", vec([i128(1)]), ledger=2, topics=[address(BORROWER), u64(7)]),
            of_loan("LOANCRTD", vec([u64(7), i128(1000)]), ledger=2, topics=[address(BORROWER), address(VENDOR)]),
        ],
        ids=["name", "shape", "creation"],
    )
    def test_the_loan_is_found_wherever_its_id_stands(self, unread):
        assert loan((loan_entry(), 1), unread).status is None

    def test_a_number_in_the_data_of_an_unknown_event_is_not_taken_for_a_loan(self):
        assert LOAN_KEY not in states(of_loan("LIMITSET", vec([u64(7)]), ledger=2, topics=[address(ADMIN)]))

    def test_an_installment_that_does_more_than_in_the_first_version(self):
        """It moves tokens, takes a late fee and gives reputation: each of that has its own event, the split has none."""
        told = (
            requested(),
            (loan_entry(), 1),
            of_loan("LOANLTFE", vec([i128(5), i128(1055), u64(CLOSED)]), ledger=2, topics=[address(BORROWER), u64(7)]),
            repay(1000, ledger=2),
            of_loan("INSTPAID", vec([u32(0), i128(1055), i128(0), u64(CLOSED + 5)]), ledger=3),
            event(
                Role.REPUTATION,
                "SCORECHGD",
                [address(BORROWER)],
                vec([u32(50), u32(60), sym("increase")]),
                ledger=3,
            ),
        )
        row = loan(*told)
        assert (row.status, row.remaining_balance, row.completed_at) == ("Paid", 0, CLOSED)
        assert (row.principal_outstanding, row.buckets_since, row.late_fee_accrual_timestamp) == (None, None, None)
        assert json.loads(row.schedule)[0]["paid"] is True
        assert row.asked_at is not None
        assert states(*told)[key_of("score", Role.REPUTATION, BORROWER)].score == 60

    def test_an_installment_that_the_schedule_has_not_makes_the_schedule_unknown(self):
        paid = of_loan("INSTPAID", vec([u32(9), i128(50), i128(1000), u64(CLOSED)]), ledger=2)
        assert loan((loan_entry(), 1), paid).schedule is None


VENDOR_DATA = vec([address(VENDOR), i128(800), u64(CLOSED)])


class TestPeople:
    provider_key = key_of("provider", Role.LIQUIDITY_POOL, PROVIDER)
    vendor_key = key_of("vendor", Role.VENDOR_REGISTRY, VENDOR)
    score_key = key_of("score", Role.REPUTATION, BORROWER)

    def test_shares_that_moved_in_an_unread_event_are_unknown_and_their_cost_stays_so(self):
        unread = of_pool("LQDEPST", vec([i128(1)]), ledger=3, topics=[address(PROVIDER)])
        told = (deposit(500, 500, ledger=1), (shares_entry(500), 2), unread)
        row = states(*told)[self.provider_key]
        assert (row.shares, row.cost, row.assumed_shares, row.asked_at) == (None, None, None, unread.id)
        row = states(*told, (shares_entry(501), 3))[self.provider_key]
        assert (row.shares, row.cost, row.asked_at) == (501, None, None)
        row = states(*told, (shares_entry(501), 3), withdraw(501, 600, ledger=4))[self.provider_key]
        assert (row.shares, row.cost) == (0, 0)

    def test_a_vendor_before_it_had_a_status(self):
        registered = event(Role.VENDOR_REGISTRY, "MERCHTREG", [address(VENDOR)], text("Books"), ledger=1)
        row = states(registered)[self.vendor_key]
        assert (row.name, row.status, row.asked_at) == ("Books", None, registered.id)
        old = (vendor_entry(name=text("Books"), active=boolean(True)), 1)
        assert states(registered, old)[self.vendor_key].status == "Approved"
        off = event(Role.VENDOR_REGISTRY, "MERCHTSTATUS", [address(VENDOR)], boolean(False), ledger=2)
        assert states(registered, old, off)[self.vendor_key].status == "Suspended"

    def test_a_status_that_no_version_has_is_unknown_until_it_is_seen(self):
        known = event(Role.VENDOR_REGISTRY, "MERCHTSTATUS", [address(VENDOR)], u32(1), ledger=1)
        unread = event(Role.VENDOR_REGISTRY, "MERCHTSTATUS", [address(VENDOR)], u32(7), ledger=2)
        row = states(known, unread)[self.vendor_key]
        assert (row.status, row.status_since, row.asked_at) == (None, None, unread.id)

    def test_a_score_of_another_shape_is_unknown_and_the_map_is_asked_for(self):
        known = event(
            Role.REPUTATION, "SCORECHGD", [address(BORROWER)], vec([u32(50), u32(60), sym("increase")]), ledger=1
        )
        unread = event(Role.REPUTATION, "SCORECHGD", [address(BORROWER)], vec([u32(60), u32(65)]), ledger=2)
        rows = states(known, unread)
        assert rows[self.score_key].score is None
        assert rows[key_of("contract", Role.REPUTATION)].asked_at == unread.id
        seen_map = (instance(Role.REPUTATION, {"SCORES": scores(65)}), 2)
        assert states(known, unread, seen_map)[self.score_key].score == 65

    def test_an_unknown_event_of_reputation_makes_nobody_a_user(self):
        unread = event(Role.REPUTATION, "DECAYSET", [address(ADMIN)], u32(1), ledger=2)
        rows = states(unread)
        assert set(rows) == {key_of("contract", Role.REPUTATION)}


def scores(score):
    from stellar_sdk import scval as sdk

    return sdk.to_map({address(BORROWER): u32(score)})


STORY = (
    requested(ledger=1),
    deposit(5000, 5000, ledger=1),
    seen(2, shares=6000, liquidity=5000),
    (loan_entry(status=unit("Pending"), funded_at=u64(0)), 2),
    event(Role.VENDOR_REGISTRY, "MERCHTSTATUS", [address(VENDOR)], boolean(True), ledger=2),
    fund(800, ledger=3),
    of_pool("CONTRACTUPGRADED", vec([u32(1), u32(2), u64(CLOSED)]), ledger=4, topics=[]),
    of_loan("LOANAPPROVED", void(), ledger=5),
    of_loan("LOANFUNDED", vec([address(VENDOR), i128(800)]), ledger=6),
    fund(100, ledger=6, capped=True),
    (loan_entry(vendor_paid=boolean(True)), 7),
    repay(1000, ledger=8),
    of_loan("LOANRPD", vec([i128(50)]), ledger=8, topics=[address(BORROWER), u64(7)]),
    event(Role.VENDOR_REGISTRY, "MERCHTSTATUS", [address(VENDOR)], u32(9), ledger=9),
    (shares_entry(5000), 9),
    of_pool("LQDEPST", vec([i128(1)]), ledger=10, topics=[address(PROVIDER)]),
    seen(10, shares=6001, liquidity=5001),
    guarantee(20, ledger=11),
    (vendor_entry(name=text("Books"), status=u32(2)), 11),
    loss(30, ledger=12),
    of_pool("LQLIQUID", vec([i128(1), i128(1)]), ledger=13),
    of_loan("INSTPAID", vec([u32(0), i128(50), i128(0), u64(CLOSED)]), ledger=13),
)


@given(st.permutations(STORY))
def test_whatever_comes_late_the_tables_are_the_same(shuffled):
    """As `apply` does it: onto the row where the fact is newer, else the key anew from what was stored and is read again."""
    folds = {fold.prefix: fold for fold in APPLICATION.folds}
    rows: dict[str, Any] = {}
    stored: dict[str, dict[str, Fact]] = {}
    for fact in (fact for one in shuffled for fact in facts(one) if fact.prefix in folds):
        fold, held = folds[fact.prefix], rows.get(fact.key)
        mine = stored.setdefault(fact.key, {})
        mine[fact.position] = fact
        if held is None or fact.position > held.position:
            rows[fact.key] = fold.step(held, fact)
            continue
        newest = max((at for at, one in mine.items() if one.kind == OBSERVED and fold.resets), default="")
        again = [one for at, one in sorted(mine.items()) if at >= newest]
        restore = APPLICATION.restore
        rows[fact.key] = fold.run(
            None, [restore(key=one.key, position=one.position, kind=one.kind, body=one.body) for one in again]
        )
    assert rows == states(*STORY)
