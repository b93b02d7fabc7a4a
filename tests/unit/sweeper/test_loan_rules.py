"""The rules of `loans`: one class a drift, which one wins, what would be written, and all that must not be."""

from datetime import timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from shared.stepfi import statuses
from sweeper import classes
from sweeper.model import Answer, Both, Finding
from sweeper.stepfi import loan_rules
from sweeper.stepfi.loan_links import LinkKind, Links
from sweeper.stepfi.loan_rules import is_provisional, is_real_id
from tests.unit.sweeper.loan_cases import (
    BORROWER,
    CONTRACT_BORROWER,
    DONE,
    HOUR,
    KEY,
    MADE,
    NOW,
    OTHER_VENDOR,
    OTHER_VENDOR_ROW,
    PROVISIONAL,
    ROW,
    STRANGER,
    TIP,
    UNKNOWN,
    VENDOR,
    VENDOR_ROW,
    around,
    case,
    expected,
    found,
    link,
    row,
    the,
)


def drift(finding: Finding) -> dict[str, tuple[Any, Any]]:
    return {name: (both.app, both.chain) for name, both in finding.columns.items()}


def test_a_row_that_is_as_on_chain_is_no_finding() -> None:
    assert found(case(row(), expected())) is None


def test_the_rules_stand_in_the_order_of_the_classes() -> None:
    order = list(classes.CLASSES)
    named = [rule.__name__ for rule in loan_rules.RULES]
    assert named == sorted(named, key=order.index)


class TestIds:
    @pytest.mark.parametrize("loan_id", ["0", "1", "7", "18446744073709551615"])
    def test_a_decimal_u64_is_real(self, loan_id: str) -> None:
        assert is_real_id(loan_id)
        assert not is_provisional(loan_id)

    @pytest.mark.parametrize(
        "loan_id", ["", "07", "-1", "+1", "1.0", " 1", "1e3", "18446744073709551616", "٧", "²", "0x7", PROVISIONAL]
    )
    def test_nothing_else_is(self, loan_id: str) -> None:
        assert not is_real_id(loan_id)

    def test_the_prefixes_of_the_app_are_provisional(self) -> None:
        assert all(map(is_provisional, (PROVISIONAL, "pending_1", "loan_7")))
        assert not any(map(is_provisional, ("pending", "loan-7", "x-pending-1", "7")))


class TestStatus:
    @pytest.mark.parametrize(
        ("app", "chain"),
        [
            ("pending", "Active"),
            ("active", "Paid"),
            ("active", "Defaulted"),
            ("active", "Cancelled"),
            ("paid", "Paid"),
            ("completed", "Defaulted"),
            ("under_review", "Active"),
            ("rejected", "Active"),
            ("ACTIVE", "Active"),
        ],
    )
    def test_another_word_is_repaired_with_the_app_s_word(self, app: str, chain: str) -> None:
        """A row that has its real id is linked, so even `under_review` and `rejected` are the chain's to say."""
        word = statuses.app_loan_status(chain, cancelled="cancelled")
        finding = the(found(case(row(status=app), expected(chain_status=chain, status=word))))
        assert finding.drift_class == "stale_status"
        assert finding.update["status"] == word
        assert finding.entity == "loan:7"
        assert finding.guard["status"] == app

    @pytest.mark.parametrize("app", ["completed", "defaulted"])
    @pytest.mark.parametrize("chain", ["pending", "active"])
    def test_an_app_that_is_ahead_is_a_class_of_its_own_and_its_time_is_cleared(self, app: str, chain: str) -> None:
        column = f"{app}_at"
        finding = the(found(case(row(status=app, **{column: DONE}), expected(status=chain, chain_status="X"))))
        assert finding.drift_class == "app_ahead_of_chain"
        assert drift(finding) == {"status": (app, chain), column: (DONE, None)}
        assert finding.update == {"status": chain, column: None, "updated_at": NOW}

    def test_the_time_of_the_new_status_is_filled_where_there_is_none(self) -> None:
        paid = expected(status="completed", chain_status="Paid", completed_at=DONE, remaining_balance=Decimal(0))
        finding = the(found(case(row(), paid)))
        assert finding.update == {
            "status": "completed",
            "remaining_balance": Decimal(0),
            "completed_at": DONE,
            "updated_at": NOW,
        }
        assert "completed_at" not in the(found(case(row(completed_at=MADE), paid))).update

    def test_a_time_that_no_event_told_is_not_made_up(self) -> None:
        finding = the(found(case(row(), expected(status="completed", chain_status="Paid"))))
        assert finding.update == {"status": "completed", "updated_at": NOW}

    def test_a_default_that_the_chain_calls_a_payment_swaps_the_times(self) -> None:
        paid = expected(status="completed", chain_status="Paid", completed_at=DONE)
        finding = the(found(case(row(status="defaulted", defaulted_at=MADE), paid)))
        assert finding.drift_class == "stale_status"
        assert (finding.update["completed_at"], finding.update["defaulted_at"]) == (DONE, None)

    def test_a_time_alone_is_a_value(self) -> None:
        paid = expected(status="completed", chain_status="Paid", completed_at=DONE)
        finding = the(found(case(row(status="completed"), paid)))
        assert (finding.drift_class, finding.update["completed_at"]) == ("stale_value", DONE)
        assert found(case(row(status="completed", completed_at=MADE), paid)) is None  # the app's own, where it has one


class TestUnknown:
    def test_what_the_tables_do_not_know_is_never_compared(self) -> None:
        """The row differs in everything; of the loan nothing but its number is known."""
        other = row(
            user_wallet=STRANGER,
            vendor_id=None,
            vendor_wallet=OTHER_VENDOR,
            amount=Decimal(1),
            guarantee=Decimal(2),
            loan_amount=Decimal(3),
            status="completed",
            remaining_balance=Decimal(4),
            completed_at=DONE,
        )
        assert found(case(other, expected(**UNKNOWN))) is None
        assert found(case(None, expected(**UNKNOWN))) is None

    @pytest.mark.parametrize(
        ("name", "column", "wrong"),
        [
            ("status", "status", "rejected"),
            ("remaining_balance", "remaining_balance", Decimal(1)),
            ("amount", "amount", Decimal(1)),
            ("guarantee", "guarantee", Decimal(1)),
            ("vendor", "vendor_wallet", OTHER_VENDOR),
            ("user_wallet", "user_wallet", STRANGER),
        ],
    )
    def test_nor_is_one_column(self, name: str, column: str, wrong: object) -> None:
        assert found(case(row(**{column: wrong}), expected())) is not None
        assert found(case(row(**{column: wrong}), expected(**{name: None}))) is None

    def test_a_status_that_is_unknown_does_not_reverse_one(self) -> None:
        """A balance differs too, so the row is written: its status and its times are left alone."""
        finding = the(
            found(case(row(status="completed", completed_at=DONE, remaining_balance=Decimal(0)), expected(status=None)))
        )
        assert finding.update == {"remaining_balance": Decimal("105.0000000"), "updated_at": NOW}


class TestValues:
    def test_a_balance_is_repaired_exactly(self) -> None:
        finding = the(found(case(row(), expected(remaining_balance=Decimal("104.9999999")))))
        assert finding.drift_class == "stale_value"
        assert drift(finding) == {"remaining_balance": (Decimal("105.00"), Decimal("104.9999999"))}
        assert finding.evidence["known_at"] == expected()["position"]

    def test_the_tolerance_is_the_last_difference_that_is_none(self) -> None:
        tolerant = around(tolerance=Decimal("0.01"))
        for off in ("104.99", "105.01"):
            assert found(case(row(), expected(remaining_balance=Decimal(off))), tolerant) is None
        for off in ("104.9899999", "105.0100001"):
            assert found(case(row(), expected(remaining_balance=Decimal(off))), tolerant) is not None
        assert found(case(row(amount=Decimal("100.01")), expected()), tolerant) is None

    def test_digits_that_say_the_same_are_the_same(self) -> None:
        assert found(case(row(remaining_balance=Decimal(105), amount=Decimal("1E+2")), expected())) is None

    def test_a_vendor_that_the_row_lacks_is_filled_if_the_app_has_it(self) -> None:
        lacking = row(vendor_id=None, vendor_wallet=None)
        finding = the(found(case(lacking, expected())))
        assert (finding.drift_class, finding.update["vendor_id"]) == ("stale_value", VENDOR_ROW)
        assert found(case(lacking, expected(), vendors={})) is None

    def test_a_vendor_row_without_a_wallet_says_nothing_of_whose_it_is(self) -> None:
        assert found(case(row(vendor_wallet=None), expected())) is None

    def test_the_guard_holds_all_that_the_repair_relies_on(self) -> None:
        finding = the(found(case(row(), expected(remaining_balance=Decimal(1)))))
        assert set(finding.guard) == {
            *("loan_id", "user_wallet", "vendor_id", "amount", "guarantee", "status", "remaining_balance"),
            *("completed_at", "defaulted_at", "created_at", "updated_at"),
        }
        assert set(finding.update) <= set(finding.guard)
        assert all(finding.guard[name] == row()[name] for name in finding.guard)

    def test_one_moment_in_two_time_zones_is_one(self) -> None:
        east = timezone(timedelta(hours=5, minutes=30))
        paid = expected(status="completed", chain_status="Paid", completed_at=DONE)
        finding = the(found(case(row(status="completed", created_at=MADE.astimezone(east)), paid)))
        assert finding.update["completed_at"] == DONE
        edge = (TIP - HOUR).astimezone(east)
        waiting = row(loan_id=PROVISIONAL, status="pending", created_at=edge)
        assert found(case(waiting, None)) is None
        late = {**waiting, "created_at": edge - timedelta(microseconds=1)}
        assert the(found(case(late, None))).drift_class == "abandoned_provisional"


class TestTerms:
    @pytest.mark.parametrize(
        ("changed", "columns"),
        [
            ({"amount": Decimal(50)}, {"amount"}),
            ({"guarantee": Decimal(10)}, {"guarantee"}),
            ({"vendor_id": OTHER_VENDOR_ROW, "vendor_wallet": OTHER_VENDOR}, {"vendor_id"}),
            ({"amount": Decimal(50), "guarantee": Decimal(10), "loan_amount": Decimal(40)}, None),
        ],
    )
    def test_other_terms_are_a_mismatch_and_nothing_of_them_is_written(
        self, changed: dict[str, Any], columns: set[str] | None
    ) -> None:
        finding = the(found(case(row(**changed), expected())))
        assert finding.drift_class == "terms_mismatch"
        assert set(finding.columns) == (columns or {"amount", "guarantee", "loan_amount"})
        assert finding.update == {}

    def test_a_loan_of_another_scale_has_its_ratio_in_the_evidence(self) -> None:
        """The app wrote x 100 where the contract counts x 10,000,000: 100.00 became 0.001."""
        small = expected(
            amount=Decimal("0.0010000"), guarantee=Decimal("0.0002000"), remaining_balance=Decimal("0.0010500")
        )
        finding = the(found(case(row(), small)))
        assert finding.drift_class == "terms_mismatch"
        assert finding.evidence["amount_ratio_chain_to_app"] == Decimal("0.00001")
        assert finding.columns["remaining_balance"] == Both(Decimal("105.00"), Decimal("0.0010500"))
        assert finding.update == {}
        assert the(found(case(row(amount=Decimal(0)), small))).evidence["amount_ratio_chain_to_app"] is None

    def test_whatever_the_class_amounts_are_left_alone_and_status_and_times_are_not(self) -> None:
        small = expected(
            amount=Decimal("0.001"),
            remaining_balance=Decimal(0),
            status="completed",
            chain_status="Paid",
            completed_at=DONE,
        )
        finding = the(found(case(row(), small)))
        assert finding.drift_class == "stale_status"
        assert finding.update == {"status": "completed", "completed_at": DONE, "updated_at": NOW}
        assert {"amount", "remaining_balance"} <= set(finding.columns)

    def test_of_a_mismatch_times_may_be_written_alone(self) -> None:
        paid = expected(status="completed", chain_status="Paid", completed_at=DONE, amount=Decimal(1))
        finding = the(found(case(row(status="completed"), paid)))
        assert finding.drift_class == "terms_mismatch"
        assert finding.update == {"completed_at": DONE, "updated_at": NOW}

    def test_a_vendor_that_the_app_has_no_row_for_is_named_by_nothing(self) -> None:
        finding = the(found(case(row(), expected(vendor=OTHER_VENDOR), vendors={})))
        assert finding.columns == {"vendor_id": Both(VENDOR_ROW, None)}


class TestOwner:
    def test_a_wallet_that_is_not_the_borrower_s_is_forged_and_never_written(self) -> None:
        stolen = row(user_wallet=STRANGER, status="completed", remaining_balance=Decimal(0))
        finding = the(found(case(stolen, expected())))
        assert (finding.drift_class, finding.entity, finding.update) == ("forged_owner", "loan:7", {})
        assert finding.columns == {"user_wallet": Both(STRANGER, BORROWER)}

    def test_a_contract_as_borrower_has_no_row_and_a_row_that_claims_it_is_forged(self) -> None:
        finding = found(case(row(), expected(user_wallet=CONTRACT_BORROWER)))
        assert the(finding).drift_class == "forged_owner"
        assert found(case(None, expected(user_wallet=CONTRACT_BORROWER))) is None


class TestAbsent:
    @pytest.mark.parametrize("status", ["pending", "active", "completed", "foo", "", None])
    @pytest.mark.parametrize("loan_id", ["8", "012", "made-up", "٣", "", " 8", "18446744073709551616", "9" * 5000])
    def test_an_id_that_claims_the_chain_and_is_not_on_it(self, loan_id: str, status: str | None) -> None:
        finding = the(found(case(row(loan_id=loan_id, status=status), None)))
        assert (finding.drift_class, finding.entity, finding.answer) == ("absent_on_chain", f"loan:{loan_id}", None)
        assert finding.update == {}

    @pytest.mark.parametrize("status", ["under_review", "rejected", "cancelled"])
    def test_of_a_row_that_was_never_to_come_only_a_real_id_claims_it(self, status: str) -> None:
        assert the(found(case(row(loan_id="8", status=status), None))).drift_class == "absent_on_chain"
        for loan_id in ("012", "made-up", PROVISIONAL):
            assert found(case(row(loan_id=loan_id, status=status), None)) is None

    @pytest.mark.parametrize("status", ["paid", "foo", "PENDING", " pending", "", None, "x" * 5000])
    def test_a_word_that_the_app_does_not_know_is_a_finding(self, status: str | None) -> None:
        finding = the(found(case(row(loan_id=PROVISIONAL, status=status), None)))
        assert (finding.drift_class, finding.update, finding.answer) == ("absent_on_chain", {}, Answer.ABSENT)
        assert "does not know" in finding.words
        assert len(finding.words) < 300
        linked = the(found(case(row(status=status), expected())))
        assert (linked.drift_class, linked.update["status"]) == ("stale_status", "active")
        assert linked.guard["status"] == status

    @pytest.mark.parametrize("status", ["active", "completed", "defaulted"])
    def test_a_provisional_row_that_claims_the_chain(self, status: str) -> None:
        claiming = row(loan_id=PROVISIONAL, status=status)
        finding = the(found(case(claiming, None)))
        assert (finding.drift_class, finding.answer) == ("absent_on_chain", Answer.ABSENT)
        assert (finding.entity, finding.chain_key) == (None, None)
        unsure = the(found(case(claiming, None), around(all_known=False)))
        assert (unsure.drift_class, unsure.answer) == ("absent_on_chain", Answer.UNKNOWN)

    @pytest.mark.parametrize("status", ["under_review", "rejected"])
    def test_a_row_that_was_never_to_come_to_the_chain_is_left_alone(self, status: str) -> None:
        assert found(case(row(loan_id=PROVISIONAL, status=status), None)) is None

    @pytest.mark.parametrize("status", ["active", "pending"])
    def test_within_the_link_window_and_without_a_clock_nothing_is_said(self, status: str) -> None:
        young = row(loan_id=PROVISIONAL, status=status, created_at=TIP - HOUR)
        assert found(case(young, None)) is None
        old = row(loan_id=PROVISIONAL, status=status, created_at=TIP - HOUR - timedelta(seconds=1))
        assert found(case(old, None)) is not None
        assert found(case(old, None), around(watermark_at=None)) is None


class TestAbandoned:
    waiting = row(loan_id=PROVISIONAL, status="pending")

    def test_a_row_that_waits_for_what_never_came(self) -> None:
        finding = the(found(case(self.waiting, None)))
        assert (finding.drift_class, finding.update, finding.row_id) == ("abandoned_provisional", {}, str(ROW))

    def test_while_a_loan_may_be_missing_it_is_not(self) -> None:
        assert found(case(self.waiting, None), around(all_known=False)) is None

    @pytest.mark.parametrize("status", ["under_review", "rejected"])
    def test_rows_that_were_never_sent_do_not_wait(self, status: str) -> None:
        assert found(case({**self.waiting, "status": status}, None)) is None


class TestLinked:
    provisional = row(loan_id=PROVISIONAL, status="pending")

    @pytest.mark.parametrize("by", ["transaction hash", "terms"])
    def test_a_proven_link_gives_the_id_and_all_that_the_chain_owns(self, by: str) -> None:
        finding = the(found(case(self.provisional, expected()), around(links=link(LinkKind.UNIQUE, by=by))))
        assert finding.drift_class == "unresolved_provisional_id"
        assert finding.update == {"loan_id": "7", "status": "active", "updated_at": NOW}
        assert finding.guard["loan_id"] == PROVISIONAL
        assert finding.evidence["linked_by"] == by
        assert by in finding.words

    def test_of_a_link_with_other_terms_the_balance_is_left_alone(self) -> None:
        other = expected(amount=Decimal(1), remaining_balance=Decimal(2))
        finding = the(found(case(self.provisional, other), around(links=link(LinkKind.UNIQUE))))
        assert finding.drift_class == "unresolved_provisional_id"
        assert finding.update == {"loan_id": "7", "status": "active", "updated_at": NOW}

    def test_a_link_to_somebody_else_s_loan_is_forged_before_it_is_resolved(self) -> None:
        """A hash speaks for any loan, the wallet must be its borrower's all the same."""
        linked = around(links=link(LinkKind.UNIQUE, by="transaction hash"))
        finding = the(found(case({**self.provisional, "user_wallet": STRANGER}, expected()), linked))
        assert (finding.drift_class, finding.update) == ("forged_owner", {})

    @pytest.mark.parametrize("status", ["pending", "active", "completed"])
    def test_a_row_that_fits_several_changes_nothing(self, status: str) -> None:
        links = link(LinkKind.AMBIGUOUS, KEY, f"{KEY}1", rivals=("a", "b"))
        finding = the(found(case({**self.provisional, "status": status}, None), around(links=links)))
        assert (finding.drift_class, finding.entity, finding.update) == ("ambiguous_link", None, {})
        assert finding.evidence["candidates"] == ["loan:7", "loan:71"]
        assert finding.evidence["other_rows"] == ["a", "b"]
        assert "loan 7 or loan 71, and 2 other rows fit as well" in finding.words
        assert (
            "other"
            not in the(
                found(case(self.provisional, None), around(links=link(LinkKind.AMBIGUOUS, KEY, f"{KEY}1")))
            ).words
        )

    def test_a_row_whose_loan_has_its_row_already_is_a_duplicate(self) -> None:
        finding = the(found(case(self.provisional, None), around(links=link(LinkKind.TAKEN))))
        assert (finding.drift_class, finding.entity, finding.chain_key) == ("duplicate_row", "loan:7", KEY)
        several = the(found(case(self.provisional, None), around(links=link(LinkKind.TAKEN, KEY, f"{KEY}1"))))
        assert (several.drift_class, several.entity) == ("duplicate_row", None)


class TestMissing:
    def test_a_loan_without_a_row_brings_its_whole_row(self) -> None:
        paid = expected(status="completed", chain_status="Paid", completed_at=DONE, remaining_balance=Decimal(0))
        finding = the(found(case(None, paid)))
        assert (finding.drift_class, finding.row_id, finding.chain_key) == ("missing_row", None, KEY)
        assert finding.insert == {
            "loan_id": "7",
            "user_wallet": BORROWER,
            "vendor_id": VENDOR_ROW,
            "amount": Decimal(100),
            "guarantee": Decimal(20),
            "loan_amount": Decimal(80),
            "interest_rate": Decimal(4),
            "total_repayment": Decimal(105),
            "remaining_balance": Decimal(0),
            "term": 3,
            "status": "completed",
            "completed_at": DONE,
            "defaulted_at": None,
            "created_at": MADE,
            "updated_at": NOW,
        }

    def test_the_row_of_a_vendor_that_the_app_has_not_is_without_one(self) -> None:
        assert (the(found(case(None, expected(), vendors={}))).insert or {"vendor_id": 1})["vendor_id"] is None

    @pytest.mark.parametrize(
        "name", ["status", "amount", "guarantee", "interest_rate", "total_repayment", "remaining_balance", "term"]
    )
    def test_a_row_that_would_have_a_hole_is_reported_and_not_brought(self, name: str) -> None:
        finding = the(found(case(None, expected(**{name: None}))))
        assert (finding.drift_class, finding.insert, finding.can_be_written) == ("missing_row", None, False)

    def test_a_status_that_is_not_known_is_not_written_as_none(self) -> None:
        words = the(found(case(None, expected(status=None, chain_status=None)))).words
        assert "None" not in words
        assert "not known" in words

    def test_a_loan_is_given_time(self) -> None:
        young = expected(created_at=TIP - HOUR)
        assert found(case(None, young)) is None
        assert found(case(None, expected(created_at=TIP - HOUR - timedelta(seconds=1)))) is not None
        assert found(case(None, expected()), around(watermark_at=None)) is None
        assert found(case(None, expected(created_at=None))) is None

    def test_a_loan_that_some_row_may_be_is_not_missing(self) -> None:
        assert found(case(None, expected()), around(links=Links(claimed=frozenset({KEY})))) is None

    def test_a_loan_of_an_unknown_borrower_is_not_missing(self) -> None:
        assert found(case(None, expected(user_wallet=None))) is None


def test_the_words_name_what_a_person_needs() -> None:
    assert VENDOR not in the(found(case(row(), expected(status="completed", chain_status="Paid")))).words
    for finding in (
        the(found(case(row(status="pending"), expected()))),
        the(found(case(row(amount=Decimal(1)), expected()))),
        the(found(case(row(remaining_balance=Decimal(1)), expected()))),
        the(found(case(None, expected()))),
    ):
        assert "loan 7" in finding.words
