"""What the chain says to a finding about a loan: confirmed, proven absent, or unknown; entries encoded by stellar-sdk."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from shared import position
from shared.stepfi.events import Role
from shared.stepfi.settings import Stepfi
from sweeper.model import Answer, Finding
from sweeper.questions import Held
from sweeper.stepfi import loan_confirm
from tests.unit.stepfi import contracts as stepfi
from tests.unit.stepfi.contracts import BORROWER, VENDOR, i128, u64, unit
from tests.unit.sweeper.loan_cases import NOW

SETTINGS = Stepfi(amount_decimals=7)
STORED = {
    "loan_id": Decimal(7),
    "position": position.end_of(35),
    "borrower": BORROWER,
    "vendor": VENDOR,
    "status": "Active",
    "remaining_balance": Decimal(1050),
    "total_amount": Decimal(1000),
    "guarantee_amount": Decimal(200),
}


def held(entry: Any = None, *, live_until: int | None = 5000) -> Held:
    xdr = None if entry is None else entry.xdr
    return Held(key="k", xdr=xdr, last_modified=40, live_until=live_until, ledger=50, node="https://one")


def finding(**changed: Any) -> Finding:
    values: dict[str, Any] = {
        "drift_class": "stale_status",
        "table": "loans",
        "row_id": "r",
        "entity": "loan:7",
        "words": "",
        "chain_key": "loan:C:7",
        "evidence": {"known_at": "x"},
        "update": {"status": "active", "remaining_balance": Decimal("0.0001050"), "updated_at": NOW},
    }
    return Finding(**values | changed)


def judged(
    one: Finding, entry: Held | None, *, stored: Any = STORED, counter: int | None = 12, watermark: int = 39
) -> Finding:
    number = loan_confirm.number_of(one)
    assert number is not None
    return loan_confirm.judge(
        one, number, entry, stored=stored, counter=counter, watermark=watermark, settings=SETTINGS
    )


def test_an_entry_that_says_the_same_confirms_with_its_proof() -> None:
    one = judged(finding(), held(stepfi.loan_entry()))
    assert one.answer is Answer.CONFIRMED
    assert one.evidence == {
        "known_at": "x",
        "chain": "the entry says the same as our tables",
        "loans_given_out": 12,
        "asked_at_ledger": 50,
        "node": "https://one",
        "entry_last_modified_ledger": 40,
        "entry_live_until_ledger": 5000,
    }


def test_a_loan_with_more_fields_confirms_as_well() -> None:
    assert judged(finding(), held(stepfi.loan_entry(vendor_paid=stepfi.boolean(True)))).answer is Answer.CONFIRMED


def test_a_row_of_another_wallet_is_not_written_though_our_tables_do_not_know_the_borrower_yet() -> None:
    stored = {**STORED, "borrower": None}
    own, forged = (finding(guard={"user_wallet": wallet}) for wallet in (BORROWER, VENDOR))
    assert judged(own, held(stepfi.loan_entry()), stored=stored).answer is Answer.CONFIRMED
    one = judged(forged, held(stepfi.loan_entry()), stored=stored)
    assert one.answer is Answer.UNKNOWN
    assert one.evidence["chain"] == "the entry names another borrower than the row"


def test_the_entry_of_the_one_loan_that_fits_says_nothing_of_those_that_are_not_known() -> None:
    doubted = finding(evidence={"known_at": "x", "loans_not_known": ["loan 5", "loans 8 to 9"]}, answer=Answer.UNKNOWN)
    one = judged(doubted, held(stepfi.loan_entry()))
    assert one.answer is Answer.UNKNOWN
    assert one.evidence["chain"].endswith("our tables do not know: loan 5, loans 8 to 9")


@pytest.mark.parametrize(
    ("changed", "column"),
    [
        ({"status": unit("Paid")}, "status"),
        ({"remaining_balance": i128(1049)}, "remaining_balance"),
        ({"total_amount": i128(1)}, "total_amount"),
        ({"guarantee_amount": i128(1)}, "guarantee_amount"),
        ({"vendor": stepfi.address(BORROWER)}, "vendor"),
        ({"borrower": stepfi.address(VENDOR)}, "borrower"),
    ],
)
def test_an_entry_that_differs_proves_nothing_against_either(changed: dict[str, Any], column: str) -> None:
    one = judged(finding(), held(stepfi.loan_entry(**changed)))
    assert one.answer is Answer.UNKNOWN
    assert one.evidence["chain"] == f"the entry has moved on from our tables in {column}"
    archived = judged(finding(), held(stepfi.loan_entry(**changed), live_until=0))
    assert archived.answer is Answer.UNKNOWN
    assert "is archived and differs" in archived.evidence["chain"]


def test_an_entry_that_the_watermark_vouches_for_contradicts_our_tables() -> None:
    other = held(stepfi.loan_entry(status=unit("Paid")))
    one = judged(finding(), other, watermark=40)
    assert one.answer is Answer.UNKNOWN
    assert one.contradicted_by == other
    assert one.evidence["chain"] == "the entry contradicts our tables in status: it stands so since ledger 40"


@pytest.mark.parametrize(
    ("changed", "stored", "watermark"),
    [
        ({}, STORED, 39),
        ({"live_until": 0}, STORED, 40),
        ({"last_modified": None}, STORED, 40),
        ({"ledger": 40}, {**STORED, "position": position.end_of(40)}, 40),
    ],
    ids=["behind the watermark", "archived", "without its ledger", "not newer than our tables"],
)
def test_an_entry_that_differs_for_another_reason_contradicts_nothing(
    changed: dict[str, Any], stored: Any, watermark: int
) -> None:
    other = replace(held(stepfi.loan_entry(status=unit("Paid"))), **changed)
    one = judged(finding(), other, stored=stored, watermark=watermark)
    assert (one.answer, one.contradicted_by) == (Answer.UNKNOWN, None)


def test_a_loan_that_our_tables_lack_contradicts_them_though_its_row_claims_what_they_cannot_know() -> None:
    claim = finding(drift_class="absent_on_chain", entity="loan:7", chain_key=None, update={})
    entry = held(stepfi.loan_entry())
    assert judged(claim, entry, stored=None, watermark=40).contradicted_by == entry
    assert judged(claim, entry, stored=None, watermark=39).contradicted_by is None


def test_an_archived_entry_that_says_the_same_is_as_good_as_a_live_one() -> None:
    assert judged(finding(), held(stepfi.loan_entry(), live_until=0)).answer is Answer.CONFIRMED


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (None, "no node answered"),
        (held(None), "no readable entry"),
        (held(None, live_until=0), "no readable entry"),
        (held(stepfi.loan_entry(status=unit("Funded"))), "no readable entry"),
        (replace(held(stepfi.loan_entry()), xdr="AAAA"), "no readable entry"),
        (held(stepfi.shares_entry(5)), "no readable entry"),
    ],
    ids=["silence", "nothing", "archived", "other version", "garbage", "other entry"],
)
def test_without_a_readable_entry_nothing_is_said(entry: Held | None, reason: str) -> None:
    one = judged(finding(), entry)
    assert one.answer is Answer.UNKNOWN
    assert reason in one.evidence["chain"]


def test_what_our_tables_do_not_know_is_not_held_against_the_entry() -> None:
    stored = {**STORED, "status": None, "vendor": None}
    one = finding(update={"remaining_balance": Decimal("0.000105")})
    assert judged(one, held(stepfi.loan_entry()), stored=stored).answer is Answer.CONFIRMED


PAID = held(stepfi.loan_entry(status=unit("Paid"), remaining_balance=i128(0)))
PAID_STORED = {**STORED, "status": "Paid", "remaining_balance": Decimal(0)}


class TestMovedOn:
    """Entry and tables say the same, of a moment after the comparison: what the finding would write is of before."""

    def test_an_update_of_before(self) -> None:
        one = judged(finding(), PAID, stored=PAID_STORED)
        assert one.answer is Answer.UNKNOWN
        assert one.evidence["chain"] == "the loan has moved on since it was compared, in status, remaining_balance"

    def test_a_row_of_before(self) -> None:
        insert = {
            "loan_id": "7",
            "user_wallet": BORROWER,
            "status": "active",
            "amount": Decimal("0.0001"),
            "guarantee": Decimal("0.00002"),
            "remaining_balance": Decimal("0.000105"),
        }
        missing = finding(drift_class="missing_row", row_id=None, update={}, insert=insert)
        assert judged(missing, held(stepfi.loan_entry())).answer is Answer.CONFIRMED
        assert judged(missing, PAID, stored=PAID_STORED).answer is Answer.UNKNOWN

    def test_columns_that_are_not_written_may_have_moved(self) -> None:
        only = {"completed_at": NOW, "vendor_id": None, "updated_at": NOW}
        assert judged(finding(update=only), PAID, stored=PAID_STORED).answer is Answer.CONFIRMED
        assert judged(finding(update={}), PAID, stored=PAID_STORED).answer is Answer.CONFIRMED

    def test_the_app_s_word_for_a_cancelled_loan_is_a_setting(self) -> None:
        entry, stored = held(stepfi.loan_entry(status=unit("Cancelled"))), {**STORED, "status": "Cancelled"}
        update = {"status": "rejected"}
        for word, answer in (("rejected", Answer.CONFIRMED), ("cancelled", Answer.UNKNOWN)):
            one = loan_confirm.judge(
                finding(update=update),
                7,
                entry,
                stored=stored,
                counter=12,
                watermark=39,
                settings=Stepfi(cancelled_status=word),
            )
            assert one.answer is answer


class TestAbsent:
    claim = finding(drift_class="absent_on_chain", entity="loan:13", chain_key=None, update={})

    @pytest.mark.parametrize("entity", ["loan:13", "loan:0", "loan:18446744073709551615"])
    def test_a_number_that_was_not_given_out_is_proven_absent(self, entity: str) -> None:
        one = judged(replace(self.claim, entity=entity), held(None), stored=None)
        assert one.answer is Answer.ABSENT
        assert one.evidence["chain"] == "the contract has given out loans 1 to 12"

    def test_a_loan_of_our_tables_that_the_counter_rules_out_is_written_nowhere(self) -> None:
        """One of the two is wrong; a row that is missing for it is not made by either."""
        missing = finding(drift_class="missing_row", row_id=None, entity="loan:13", chain_key="loan:C:13", update={})
        one = judged(missing, held(None), stored={**STORED, "loan_id": Decimal(13)})
        assert one.answer is Answer.UNKNOWN
        assert one.evidence["chain"] == "our tables have the loan, though the contract has given out loans 1 to 12"

    @pytest.mark.parametrize(("number", "counter"), [(12, 12), (1, 12), (13, None), (1, 13)])
    def test_a_number_that_was_given_out_is_not_absent_though_no_entry_is_there(
        self, number: int, counter: int | None
    ) -> None:
        """It is archived, or the node is behind: never gone."""
        one = judged(replace(self.claim, entity=f"loan:{number}"), held(None), stored=None, counter=counter)
        assert one.answer is Answer.UNKNOWN

    def test_without_an_answer_even_the_counter_of_another_moment_proves_nothing(self) -> None:
        assert judged(self.claim, None, stored=None).answer is Answer.UNKNOWN


def test_which_loan_is_asked_for() -> None:
    assert loan_confirm.number_of(finding()) == 7
    assert loan_confirm.number_of(finding(chain_key=None, entity="loan:8")) == 8
    for entity in ("loan:pending-1", "loan:07", None, "loan:"):
        assert loan_confirm.number_of(finding(chain_key=None, entity=entity)) is None


def test_the_counter() -> None:
    line = stepfi.instance(Role.CREDITLINE, {"LOANCNT": u64(12)})
    assert loan_confirm.counter(held(line)) == 12
    assert loan_confirm.counter(held(stepfi.instance(Role.CREDITLINE, {}))) == 0
    for unreadable in (None, held(None), held(stepfi.loan_entry())):
        assert loan_confirm.counter(unreadable) is None
