"""The rules of `loans` where a row has no loan, or a loan no row: absent, abandoned, linked, missing."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from sweeper.model import Answer, Finding
from sweeper.stepfi.loan_links import LinkKind, Links
from tests.unit.sweeper.loan_cases import (
    BORROWER,
    DONE,
    HOUR,
    KEY,
    MADE,
    NOW,
    PROVISIONAL,
    ROW,
    SKEW,
    STRANGER,
    TIP,
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
        young = row(loan_id=PROVISIONAL, status=status, created_at=TIP - HOUR - SKEW)
        assert found(case(young, None)) is None
        old = row(loan_id=PROVISIONAL, status=status, created_at=TIP - HOUR - SKEW - timedelta(seconds=1))
        assert found(case(old, None)) is not None
        assert found(case(old, None), around(watermark_at=None)) is None

    def test_a_loan_that_is_left_over_puts_the_absence_in_doubt_and_no_more(self) -> None:
        left_over = replace(link(LinkKind.NONE).of_row[str(ROW)], candidates=(), contradicted=(KEY,))
        links = Links(of_row={str(ROW): left_over})
        claiming = the(found(case(row(loan_id=PROVISIONAL), None), around(links=links)))
        assert (claiming.drift_class, claiming.answer) == ("absent_on_chain", Answer.UNKNOWN)
        assert claiming.evidence["loans_left_over"] == ["loan:7"]
        assert "loan 7 of its wallet and time has no row" in claiming.words
        waiting = the(found(case(row(loan_id=PROVISIONAL, status="pending"), None), around(links=links)))
        assert (waiting.drift_class, waiting.answer) == ("abandoned_provisional", None)
        assert the(found(case(row(loan_id="8"), None), around(links=links))).answer is None


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

    def test_a_link_by_terms_proves_nothing_while_a_loan_is_not_known_that_the_row_may_be(self) -> None:
        known = link(LinkKind.UNIQUE)
        doubted = replace(known.of_row[str(ROW)], unknown=("loan 5", "loans 8 to 9"))
        links = replace(known, of_row={str(ROW): doubted})
        finding = the(found(case(self.provisional, expected()), around(links=links)))
        assert (finding.drift_class, finding.answer) == ("unresolved_provisional_id", Answer.UNKNOWN)
        assert finding.evidence["loans_not_known"] == ["loan 5", "loans 8 to 9"]
        assert "loans_not_known" not in the(found(case(self.provisional, expected()), around(links=known))).evidence

    @pytest.mark.parametrize("watermark_at", [TIP, None])
    def test_while_the_link_window_is_open_nothing_is_proven(self, watermark_at: Any) -> None:
        links = link(LinkKind.UNIQUE, is_open=True, closes_at=NOW)
        surroundings = around(links=links, watermark_at=watermark_at)
        finding = the(found(case(self.provisional, expected()), surroundings))
        assert (finding.drift_class, finding.answer) == ("unresolved_provisional_id", Answer.UNKNOWN)
        assert "link window open until 2026-09-01T12:00:00Z" in finding.words
        assert finding.evidence["link_window_open_until"].startswith("2026-09-01T12:00:00Z")
        assert ("not known" in finding.words) == (watermark_at is None)
        never = the(found(case(self.provisional, expected()), around(links=link(LinkKind.UNIQUE, is_open=True))))
        assert "no usable creation time" in never.words

    def test_near_misses_are_told_with_their_reasons_and_how_to_resolve_them(self) -> None:
        near = {KEY: ("the row has no vendor",), f"{KEY}1": ("the clock", "the amount")}
        links = link(LinkKind.AMBIGUOUS, KEY, f"{KEY}1", by="possible match", near=near)
        finding = the(found(case(self.provisional, None), around(links=links)))
        assert (finding.drift_class, finding.update) == ("ambiguous_link", {})
        assert finding.evidence["near_misses"] == ["loan:7: the row has no vendor", "loan:71: the clock, the amount"]
        assert "loan 7: the row has no vendor" in finding.words
        assert "Hint: set loan_id" in finding.words

    def test_of_many_candidates_some_are_told(self) -> None:
        keys = [f"{KEY}{number}" for number in range(1000)]
        near = dict.fromkeys(keys, ("x" * 50,))
        links = link(LinkKind.AMBIGUOUS, *keys, by="possible match", near=near, rivals=tuple(keys))
        finding = the(found(case(self.provisional, None), around(links=links)))
        assert len(finding.words) < 1500
        assert finding.evidence["candidates_in_all"] == 1000
        assert all(len(finding.evidence[name]) == 50 for name in ("candidates", "near_misses", "other_rows"))

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
        proven = the(found(case(self.provisional, None), around(links=link(LinkKind.TAKEN, rivals=("a",)))))
        assert "which the row a is proven to be" in proven.words


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

    def test_of_several_vendors_with_the_wallet_none_is_written(self) -> None:
        choices = {VENDOR: [VENDOR_ROW, ROW]}
        both = [str(VENDOR_ROW), str(ROW)]
        missing = the(found(case(None, expected(), vendors={}, choices=choices)))
        assert missing.insert is not None
        assert (missing.insert["vendor_id"], missing.evidence["vendors_with_that_wallet"]) == (None, both)
        without = row(vendor_id=None, vendor_wallet=None)
        alone = the(found(case(without, expected(), vendors={}, choices=choices)))
        assert (alone.drift_class, alone.update, alone.evidence["vendors_with_that_wallet"]) == (
            "stale_value",
            {},
            both,
        )
        stale = the(found(case({**without, "status": "pending"}, expected(), vendors={}, choices=choices)))
        assert stale.update == {"status": "active", "updated_at": NOW}
        assert "vendor_id is not written" in stale.words
        assert found(case(row(), expected(), vendors={}, choices=choices)) is None

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


@pytest.mark.parametrize("wallet", ["", " ", None, BORROWER[:-1], "nobody"])
def test_a_row_whose_wallet_is_no_address_is_not_proven_absent(wallet: str | None) -> None:
    finding = the(found(case(row(loan_id=PROVISIONAL, status="active", user_wallet=wallet), None)))
    assert (finding.drift_class, finding.answer) == ("absent_on_chain", Answer.UNKNOWN)
