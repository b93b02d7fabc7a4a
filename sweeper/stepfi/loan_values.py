"""What of a loan's row is not the chain's, and what a missing row would hold. Pure; authority is per column.

owned by the chain   loan_id (once linked), status, remaining_balance, completed_at and defaulted_at (where they are NULL,
                     or where a status is reversed), vendor_id (where it is NULL)
compared             user_wallet, amount, guarantee, the vendor: never written
the app's own        everything else
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from shared.stepfi import amounts
from sweeper.comparison import Case
from sweeper.model import Both, Row, Value
from sweeper.stepfi.loan_links import Links
from sweeper.words import listed

WRITES = frozenset(
    {"loan_id", "status", "remaining_balance", "completed_at", "defaulted_at", "vendor_id", "updated_at"}
)
INSERTS = WRITES | {
    *("user_wallet", "amount", "loan_amount", "guarantee", "interest_rate", "total_repayment", "term", "created_at")
}
TOGETHER = {"loan_id": WRITES - {"updated_at"}, "status": frozenset({"completed_at", "defaulted_at"})}
"""A link is written with everything that it settles, a status with its times; or not at all."""
AMOUNTS = frozenset({"amount", "loan_amount", "guarantee", "total_repayment", "remaining_balance"})
_TIME_OF = {"completed": "completed_at", "defaulted": "defaulted_at"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the rules are given beside a row and its loan.

    watermark_at   close of the watermark's ledger; None where it is not known, and then nothing counts as old
    link_window    how long after its row a loan is created; clock_skew: how far that time may be wrong
    cancelled      the app's word for a cancelled loan
    all_known      whether the tables hold every loan that the contract ever gave out
    """

    links: Links
    now: datetime
    watermark_at: datetime | None
    link_window: timedelta
    clock_skew: timedelta
    insert_grace: timedelta
    tolerance: Decimal
    cancelled: str
    all_known: bool

    def is_older(self, moment: datetime | None, age: timedelta) -> bool:
        """Whether so much time had passed; never of a moment that nobody wrote down."""
        return self.watermark_at is not None and moment is not None and moment < self.watermark_at - age

    def is_window_closed(self, row: Row) -> bool:
        """Return whether no loan of the row can come any more."""
        return self.is_older(row["created_at"], self.link_window + self.clock_skew)


def owned_differences(case: Case, around: Surroundings) -> dict[str, Both]:
    """The owned columns that differ, of a row and its loan. What the tables do not know is not compared."""
    row, expected = case.row or {}, case.expected or {}
    found: dict[str, Both] = {}
    if expected["loan_id"] != row["loan_id"]:
        found["loan_id"] = Both(row["loan_id"], expected["loan_id"])
    reversed_status = expected["status"] is not None and expected["status"] != row["status"]
    if reversed_status:
        found["status"] = Both(row["status"], expected["status"])
    balance = expected["remaining_balance"]
    if balance is not None and amounts.differ(row["remaining_balance"], balance, tolerance=around.tolerance):
        found["remaining_balance"] = Both(row["remaining_balance"], balance)
    for status, column in _TIME_OF.items():
        if expected["status"] == status and row[column] is None and expected[column] is not None:
            found[column] = Both(None, expected[column])
        if reversed_status and row["status"] == status and row[column] is not None:
            found[column] = Both(row[column], None)
    vendor = case.related["vendors"].get(expected["vendor"])
    if row["vendor_id"] is None and vendor is not None:
        found["vendor_id"] = Both(None, vendor)
    return found


def vendor_choices(case: Case) -> Sequence[Value]:
    """Return the app's vendors (ids) that have the wallet of the loan's vendor, where there are several: none is written."""
    wallet = (case.expected or {}).get("vendor")
    choices: Sequence[Value] = case.related.get("vendor_choices", {}).get(wallet, ())
    return choices


def mismatched_terms(case: Case, around: Surroundings) -> dict[str, Both]:
    """Amount, guarantee and vendor where they are not the chain's."""
    row, expected = case.row or {}, case.expected or {}
    found = {
        column: Both(row[column], expected[column])
        for column in ("amount", "guarantee")
        if expected[column] is not None and amounts.differ(row[column], expected[column], tolerance=around.tolerance)
    }
    if row["vendor_wallet"] is not None and expected["vendor"] not in (None, row["vendor_wallet"]):
        vendor = case.related["vendors"].get(expected["vendor"])
        found["vendor_id"] = Both(row["vendor_id"], vendor)
    if found and is_scale_known(expected):
        lent = amounts.less(expected["amount"], expected["guarantee"])
        if amounts.differ(row["loan_amount"], lent, tolerance=around.tolerance):
            found["loan_amount"] = Both(row["loan_amount"], lent)
    return found


def is_scale_known(expected: Row) -> bool:
    """Whether the loan's own amounts are known: without them a row of another scale cannot be told from one of this."""
    return expected["amount"] is not None and expected["guarantee"] is not None


def rest(left: Sequence[str], terms: Mapping[str, Both]) -> str:
    """A further sentence on a repair that leaves a part of what differs: an amount of another scale is nobody's to write."""
    why = "the terms are not the chain's" if terms else "the terms on chain are not known"
    return f" A repair leaves {listed(list(left))} alone: {why}." if left else ""


def new_row(case: Case, around: Surroundings) -> dict[str, Value] | None:
    """The whole row of a loan, where all that it needs is known: every column that must not be NULL."""
    expected: Row = case.expected or {}
    needed = ("status", "amount", "guarantee", "interest_rate", "total_repayment", "remaining_balance", "term")
    if any(expected[column] is None for column in needed):
        return None
    return {
        "loan_id": expected["loan_id"],
        "user_wallet": expected["user_wallet"],
        "vendor_id": case.related["vendors"].get(expected["vendor"]),
        **{column: expected[column] for column in needed},
        "loan_amount": amounts.less(expected["amount"], expected["guarantee"]),
        "completed_at": expected["completed_at"],
        "defaulted_at": expected["defaulted_at"],
        "created_at": expected["created_at"],
        "updated_at": around.now,
    }
