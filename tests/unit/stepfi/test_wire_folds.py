"""What the tables know while other versions of the contracts speak: what follows from any version, and else nothing (I5)."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import frames
from shared.stepfi import events, values
from shared.stepfi.events import Role
from streams.facts import OBSERVED, Fact, merge
from tests.unit.stepfi.contracts import (
    ADMIN,
    APPLICATION,
    BORROWER,
    CLOSED,
    CONTRACTS,
    PROVIDER,
    STRANGER,
    VENDOR,
    address,
    boolean,
    end,
    entry,
    event,
    facts,
    i128,
    installment,
    instance,
    key_of,
    loan_entry,
    pool_entry,
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

LINE = address(CONTRACTS[Role.CREDITLINE])
POOL_KEY = key_of("pool", Role.LIQUIDITY_POOL)
LOAN_KEY = key_of("loan", Role.CREDITLINE, 7)
CREDITLINE_KEY = key_of("contract", Role.CREDITLINE)
TERMS = vec([u64(7), i128(1000), i128(200), vec([installment(amount=1050, due=CLOSED)])])


def of_pool(name, data, *, ledger, topics=(LINE,), kind="contract"):
    return event(Role.LIQUIDITY_POOL, name, topics, data, ledger=ledger, kind=kind)


def deposit(amount, shares, *, ledger):
    return of_pool("LQDEPST", vec([i128(amount), i128(shares)]), ledger=ledger, topics=[address(PROVIDER)])


def withdraw(shares, amount, *, ledger):
    return of_pool("LQWTHDR", vec([i128(shares), i128(amount)]), ledger=ledger, topics=[address(PROVIDER)])


def fund(amount, *, ledger, capped=False):
    data = vec([address(VENDOR), i128(amount), i128(0), i128(0)]) if capped else i128(amount)
    return of_pool("LQFUND", data, ledger=ledger)


def repay(principal, *, ledger):
    return of_pool("LQREPAY", vec([i128(principal), i128(0)]), ledger=ledger)


def guarantee(amount, *, ledger):
    return of_pool("LQGUART", i128(amount), ledger=ledger)


def loss(amount, *, ledger):
    return of_pool("LQLOSS", i128(amount), ledger=ledger)


def seen(ledger, *, shares=1000, liquidity=1000, locked=0):
    return pool_entry(shares=shares, liquidity=liquidity, locked=locked), ledger


def pool(*told):
    return states(*told)[POOL_KEY]


def totals(*told):
    row = pool(*told)
    return row.total_shares, row.total_liquidity, row.locked_liquidity


class TestPool:
    def test_both_shapes_of_a_funding_lock_the_same(self):
        for capped in (False, True):
            assert totals(seen(1), fund(800, ledger=2, capped=capped)) == (1000, 1000, 800)

    def test_without_an_observation_nothing_is_known_and_the_scope_asks(self):
        assert totals(deposit(500, 500, ledger=2), fund(100, ledger=3), guarantee(5, ledger=4)) == (None, None, None)

    def test_a_loss_takes_of_each_total_what_is_there(self):
        assert totals(seen(1, locked=300), loss(200, ledger=2)) == (1000, 800, 100)
        assert totals(seen(1, locked=300), loss(400, ledger=2)) == (1000, 600, 0)
        assert totals(seen(1, liquidity=250, locked=300), loss(400, ledger=2)) == (1000, 0, 0)
        assert totals(seen(1, locked=-50), loss(400, ledger=2)) == (1000, 600, 0)

    def test_the_first_deposit_may_make_shares_of_nobody(self):
        """The event says 5,000 whether TOTSHRS became 5,000 or 6,000."""
        row = pool(seen(1, shares=0, liquidity=0), deposit(5000, 5000, ledger=2))
        assert (row.total_shares, row.total_liquidity, row.locked_liquidity) == (None, 5000, 0)
        assert row.asked_at == deposit(5000, 5000, ledger=2).id
        told = (seen(1, shares=0, liquidity=0), deposit(5000, 5000, ledger=2), deposit(100, 100, ledger=3))
        assert totals(*told, withdraw(50, 50, ledger=4)) == (None, 5050, 0)
        row = pool(*told, seen(4, shares=6100, liquidity=5100), deposit(100, 100, ledger=5))
        assert (row.total_shares, row.total_liquidity, row.asked_at) == (6200, 5200, None)

    def test_later_deposits_are_what_the_event_says_in_every_version(self):
        assert totals(seen(1), deposit(500, 400, ledger=2), withdraw(100, 120, ledger=3)) == (1300, 1380, 0)

    def test_the_first_version_goes_below_zero_and_is_looked_at_when_it_does(self):
        row = pool(seen(1, locked=100), repay(300, ledger=2))
        assert (row.locked_liquidity, row.asked_at) == (-200, repay(300, ledger=2).id)
        row = pool(seen(1, locked=100), repay(300, ledger=2), seen(2, locked=-200), repay(50, ledger=3))
        assert (row.locked_liquidity, row.asked_at) == (-250, None)
        assert totals(seen(1, locked=-200), guarantee(70, ledger=2)) == (1000, 800, 0)

    @pytest.mark.parametrize(
        "sign",
        [
            fund(1, ledger=2, capped=True),
            loss(1, ledger=2),
            of_pool("PAUSED", u64(CLOSED), ledger=2, topics=[address(ADMIN)]),
            of_pool("CAPSUPD", vec([u32(1), i128(1)]), ledger=2, topics=[address(ADMIN)]),
            of_pool("CONTRACTUPGRADED", vec([u32(1), u32(2), u64(CLOSED)]), ledger=2, topics=[]),
            of_pool("executable_update", vec([]), ledger=2, topics=[], kind="system"),
        ],
        ids=["capped", "loss", "paused", "caps", "upgraded", "code"],
    )
    def test_below_zero_nothing_is_known_of_a_later_version(self, sign):
        row = pool(seen(1, locked=100), sign, repay(50, ledger=3))
        assert row.locked_liquidity is not None
        assert row.later_since == sign.id
        row = pool(seen(1, locked=100), sign, repay(300, ledger=3))
        assert (row.locked_liquidity, row.asked_at) == (None, repay(300, ledger=3).id)
        # What depends on it is not known either, and what does not is.
        told = (seen(1, locked=100), sign, repay(300, ledger=3), guarantee(10, ledger=4), deposit(5, 5, ledger=5))
        assert totals(*told) == (1005, None, None)
        row = pool(*told, seen(6, locked=0), guarantee(10, ledger=7))
        assert (row.total_liquidity, row.locked_liquidity, row.asked_at) == (1000, 0, None)

    def test_an_upgrade_that_the_instance_tells_counts_as_one_that_was_seen(self):
        storage = {"TOTSHRS": i128(1000), "TOTLIQ": i128(1000), "LCKDLIQ": i128(100), "VERSION": u32(2)}
        upgraded = (instance(Role.LIQUIDITY_POOL, storage), 1)
        assert pool(upgraded).later_since == end(1)
        assert pool(upgraded, repay(300, ledger=2)).locked_liquidity is None
        assert pool(upgraded, repay(100, ledger=2)).locked_liquidity == 0

    @pytest.mark.parametrize(
        "unread",
        [
            of_pool("LQLIQUID", vec([i128(100), i128(20)]), ledger=2),
            of_pool("LQFUND", u64(100), ledger=2),
            of_pool("LQREPAY", vec([i128(100)]), ledger=2),
        ],
        ids=["name", "type", "length"],
    )
    def test_an_event_that_cannot_be_read_may_have_moved_any_total(self, unread):
        row = pool(seen(1, locked=100), unread)
        assert (row.total_shares, row.total_liquidity, row.locked_liquidity) == (None, None, None)
        assert (row.asked_at, row.later_since) == (unread.id, unread.id)
        assert totals(seen(1, locked=100), unread, seen(2, locked=80), fund(5, ledger=3)) == (1000, 1000, 85)

    @given(st.data())
    def test_the_fold_may_begin_at_the_newest_observation(self, data):
        """`resets`: so a sign from before it must not be remembered by who saw it and forgotten by who did not."""
        some = st.integers(0, 400)
        told = []
        for ledger in range(2, data.draw(st.integers(3, 14))):
            kind = data.draw(st.sampled_from([deposit, withdraw, fund, repay, guarantee, loss, seen, "capped"]))
            if kind in (deposit, withdraw):
                told.append(kind(data.draw(some), data.draw(some), ledger=ledger))
            elif kind is seen:
                told.append(seen(ledger, shares=data.draw(some), locked=data.draw(st.integers(-400, 400))))
            elif kind == "capped":
                told.append(fund(data.draw(some), ledger=ledger, capped=True))
            else:
                told.append(kind(data.draw(some), ledger=ledger))
        mine = [fact for fact in merge(facts(*told)) if fact.key == POOL_KEY]
        newest = max((fact.position for fact in mine if fact.kind == OBSERVED), default="")
        (fold,) = (fold for fold in APPLICATION.folds if fold.prefix == "pool")
        assert fold.run(None, mine) == fold.run(None, [fact for fact in mine if fact.position >= newest])


def of_loan(name, data, *, ledger, topics=None):
    return event(Role.CREDITLINE, name, [u64(7)] if topics is None else topics, data, ledger=ledger)


def requested(ledger=1):
    return of_loan("LOANRQST", TERMS, ledger=ledger, topics=[address(BORROWER), address(VENDOR)])


def loan(*told):
    return states(*told)[LOAN_KEY]


VENDOR_PAID = of_loan("VENDPAID", vec([address(VENDOR), i128(800), u64(CLOSED)]), ledger=2)


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


class TestStored:
    expiry = event(Role.VOUCHING, "VOUCHEXPIRED", [address(ADMIN), address(BORROWER)], u32(10))

    def test_an_unknown_event_is_stored_whole_with_its_reason(self):
        (fact,) = facts(self.expiry)
        assert fact.key == key_of("undecodable", Role.VOUCHING)
        assert (fact.kind, fact.position) == ("VOUCHEXPIRED", self.expiry.id)
        assert fact.problem == "vouching has no event 'VOUCHEXPIRED' that this version knows"
        assert frames.event_from_wire(json.loads(fact.body)) == self.expiry

    def test_it_counts_once_however_many_things_it_names(self):
        told = facts(of_loan("LOANFUNDED", void(), ledger=2), of_pool("LQDEPST", void(), ledger=2))
        assert [fact.kind for fact in told if fact.problem] == ["LOANFUNDED", "LQDEPST"]
        assert len(told) > 2

    def test_a_later_version_reads_what_this_one_stored(self, monkeypatch):
        unread = of_loan("LOANFUNDED", void(), ledger=2)
        stored = [fact for fact in facts(unread) if fact.key == LOAN_KEY]
        (now,) = (APPLICATION.restore(key=f.key, position=f.position, kind=f.kind, body=f.body) for f in stored)
        assert isinstance(now.payload, values.Unread)
        monkeypatch.setitem(
            events._DECODERS[Role.CREDITLINE], "LOANFUNDED", lambda topics, _: values.GraceWarned(int(topics[0]))
        )
        (later,) = (APPLICATION.restore(key=f.key, position=f.position, kind=f.kind, body=f.body) for f in stored)
        assert later.payload == values.GraceWarned(7)
        assert [fact.problem for fact in facts(unread)] == [None]

    @pytest.mark.parametrize("name", ["observed", "origin", "absent"])
    @pytest.mark.parametrize("kind", ["contract", "system"])
    def test_no_event_passes_for_an_observation(self, name, kind):
        told = facts(of_pool(name, i128(1), ledger=2, kind=kind))
        assert {fact.kind for fact in told} == {f"event {name}"}
        restored = [APPLICATION.restore(key=f.key, position=f.position, kind=f.kind, body=f.body) for f in told[-1:]]
        assert restored == told[-1:]

    def test_of_a_contract_that_is_none_of_ours_nothing_is_known_or_asked(self):
        stray = event(None, "LOANAPPROVED", [u64(7)], void(), contract=STRANGER)
        (fact,) = facts(stray)
        assert fact.key == f"undecodable:{STRANGER}"
        assert "none of the configured contracts" in (fact.problem or "")

    def test_topics_that_cannot_be_read_leave_the_rest_of_the_event_its_meaning(self):
        """The borrower is a muxed contract: refused by type. Which loan it was is told, so that loan is unknown."""
        good = of_loan("LOANRPD", void(), ledger=2, topics=[address(BORROWER), u64(7)])
        muxed = "AAAAEgAAAAUAAAAAAAAAAQcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH"
        bad = frames.Event(**{**fields_of(good), "topics": (good.topics[0], muxed, good.topics[2])})
        told = facts(bad)
        assert "muxed contract" in (told[0].problem or "")
        assert told[0].kind == "LOANRPD"
        assert loan((loan_entry(), 1), bad).remaining_balance is None

    def test_an_event_that_cannot_be_read_at_all_is_stored_unnamed(self):
        good = of_loan("LOANRPD", void(), ledger=2)
        for broken in ({"topics": ("!",)}, {"topics": ()}, {"closed_at": "yesterday"}):
            told = facts(frames.Event(**{**fields_of(good), **broken}))
            assert told[0].key == key_of("undecodable", Role.CREDITLINE)
            assert told[0].problem
            assert told[0].kind in ("unnamed", "LOANRPD")

    def test_an_entry_that_cannot_be_read_changes_nothing_and_is_counted_by_its_kind(self):
        unread = (loan_entry(status=unit("Funded")), 3)
        (fact,) = facts(unread)
        assert fact.key == f"{key_of('undecodable', Role.CREDITLINE)}:{unread[0].key}"
        assert (fact.kind, fact.position) == ("entry Loan", end(3))
        assert "'Funded' is none of" in (fact.problem or "")
        row = loan(requested(), (loan_entry(), 1), unread)
        assert (row.status, row.observed_at) == ("Active", end(1))

    def test_an_instance_and_a_key_that_cannot_be_read_are_counted_too(self):
        (fact,) = facts((instance(Role.LIQUIDITY_POOL, {"TOTSHRS": u64(1)}), 3))
        assert fact.kind == "entry instance"
        (fact,) = facts((frames.Entry(key="AAAA", xdr="AAAA"), 3))
        assert (fact.key, fact.kind) == ("undecodable::AAAA", "entry")
        plain = entry(Role.CREDITLINE, u64(1), u64(1))
        (fact,) = facts((frames.Entry(key=plain.key, xdr="AAAA"), 3))
        assert fact.kind == "entry"


def fields_of(one):
    return {name: getattr(one, name) for name in ("id", "type", "contract", "tx_hash", "closed_at", "topics", "value")}


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
