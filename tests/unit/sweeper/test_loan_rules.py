"""The rules of `loans`: one class a drift, which one wins, what would be written, and all that must not be."""

from dataclasses import replace
from datetime import timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from shared.stepfi import statuses
from sweeper import classes
from sweeper.model import Both, Finding, Outcome
from sweeper.stepfi import loan_rules
from sweeper.stepfi.loan_ids import is_provisional, is_real_id
from tests.unit.sweeper.loan_cases import (
    BORROWER,
    CONTRACT_BORROWER,
    DONE,
    HOUR,
    MADE,
    NOW,
    OTHER_VENDOR,
    OTHER_VENDOR_ROW,
    PROVISIONAL,
    SKEW,
    STRANGER,
    TIP,
    UNKNOWN,
    VENDOR,
    VENDOR_ROW,
    around,
    case,
    expected,
    found,
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
        edge = (TIP - HOUR - SKEW).astimezone(east)
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
        assert finding.words.endswith(
            " A repair leaves amount, loan_amount and remaining_balance alone: the terms are not the chain's."
        )
        assert finding.left == ()
        repaired = replace(finding, outcome=Outcome.REPAIRED)
        assert repaired.left == ("amount", "loan_amount", "remaining_balance")
        assert not repaired.is_over

    def test_a_balance_that_is_left_for_want_of_the_terms_is_said(self) -> None:
        """The row may be of another scale: that cannot be told before the loan's own amounts are known."""
        paid = expected(
            status="completed", chain_status="Paid", amount=None, guarantee=None, remaining_balance=Decimal(0)
        )
        finding = the(found(case(row(), paid)))
        assert finding.words.endswith(" A repair leaves remaining_balance alone: the terms on chain are not known.")
        assert replace(finding, outcome=Outcome.REPAIRED).left == ("remaining_balance",)

    def test_a_repair_of_all_that_differs_leaves_nothing(self) -> None:
        finding = the(found(case(row(), expected(status="completed", chain_status="Paid"))))
        assert "leaves" not in finding.words
        assert replace(finding, outcome=Outcome.REPAIRED).is_over

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


def test_the_words_name_what_a_person_needs() -> None:
    assert VENDOR not in the(found(case(row(), expected(status="completed", chain_status="Paid")))).words
    for finding in (
        the(found(case(row(status="pending"), expected()))),
        the(found(case(row(amount=Decimal(1)), expected()))),
        the(found(case(row(remaining_balance=Decimal(1)), expected()))),
        the(found(case(None, expected()))),
    ):
        assert "loan 7" in finding.words
