"""A row of `loans` and the loan that it is, as the comparison gives them to the rules; tests change what they are about."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from stellar_sdk import Keypair

from sweeper.comparison import Case
from sweeper.model import Finding, Row
from sweeper.stepfi import loan_rules
from sweeper.stepfi.loan_links import Link, LinkKind, Links
from sweeper.stepfi.loan_values import Surroundings

NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)
TIP = NOW - timedelta(seconds=30)
MADE = NOW - timedelta(days=10)
DONE = NOW - timedelta(days=1)
HOUR, SKEW = timedelta(hours=1), timedelta(seconds=120)
ROW, VENDOR_ROW, OTHER_VENDOR_ROW = UUID(int=1), UUID(int=2), UUID(int=3)
BORROWER, STRANGER, VENDOR, OTHER_VENDOR = (
    Keypair.from_raw_ed25519_seed(letter.encode() * 32).public_key for letter in "BSVO"
)
CONTRACT = f"C{'L' * 55}"
CONTRACT_BORROWER = f"C{'B' * 55}"
KEY = f"loan:{CONTRACT}:7"
PROVISIONAL = "pending-1756000000000-a1b2c3d4"


def row(**changed: Any) -> Row:
    """The row of loan 7 with all that the chain owns as it is on chain."""
    return {
        "id": ROW,
        "loan_id": "7",
        "user_wallet": BORROWER,
        "vendor_id": VENDOR_ROW,
        "vendor_wallet": VENDOR,
        "amount": Decimal("100.00"),
        "loan_amount": Decimal("80.00"),
        "guarantee": Decimal("20.00"),
        "status": "active",
        "remaining_balance": Decimal("105.00"),
        "completed_at": None,
        "defaulted_at": None,
        "created_at": MADE,
        "updated_at": MADE,
        **changed,
    }


def expected(**changed: Any) -> Row:
    """Loan 7 in the app's words and units."""
    return {
        "key": KEY,
        "position": "0000000429496729600-0000000000",
        "loan_id": "7",
        "user_wallet": BORROWER,
        "vendor": VENDOR,
        "chain_status": "Active",
        "status": "active",
        "amount": Decimal("100.0000000"),
        "guarantee": Decimal("20.0000000"),
        "remaining_balance": Decimal("105.0000000"),
        "total_repayment": Decimal("105.0000000"),
        "interest_rate": Decimal("4.00"),
        "term": 3,
        "created_at": MADE,
        "completed_at": None,
        "defaulted_at": None,
        **changed,
    }


UNKNOWN = dict.fromkeys(
    (
        *("user_wallet", "vendor", "chain_status", "status", "amount", "guarantee", "remaining_balance"),
        *("total_repayment", "interest_rate", "term", "created_at", "completed_at", "defaulted_at"),
    )
)
"""What the tables say of a loan that is known by name alone."""


def case(
    row: Row | None,
    expected: Row | None,
    *,
    vendors: dict[str, UUID] | None = None,
    choices: dict[str, list[UUID]] | None = None,
) -> Case:
    known = {VENDOR: VENDOR_ROW, OTHER_VENDOR: OTHER_VENDOR_ROW} if vendors is None else vendors
    return Case(row=row, expected=expected, related={"vendors": known, "vendor_choices": choices or {}})


def link(kind: LinkKind, *candidates: str, rivals: tuple[str, ...] = (), by: str = "terms", **more: Any) -> Links:
    """What row ROW may be."""
    found = Link(kind=kind, by=by, candidates=candidates or (KEY,), rivals=rivals, **more)
    claimed = frozenset() if kind is LinkKind.TAKEN else frozenset(found.candidates)
    return Links(of_row={str(ROW): found}, claimed=claimed)


def around(**changed: Any) -> Surroundings:
    values: dict[str, Any] = {
        "links": Links(),
        "now": NOW,
        "watermark_at": TIP,
        "link_window": HOUR,
        "clock_skew": SKEW,
        "insert_grace": HOUR,
        "tolerance": Decimal(0),
        "cancelled": "cancelled",
        "all_known": True,
    }
    return Surroundings(**values | changed)


def found(case: Case, surroundings: Surroundings | None = None) -> Finding | None:
    """The first class that matches, as `Comparison.classify` decides it."""
    surroundings = surroundings or around()
    findings = (rule(case, surroundings) for rule in loan_rules.RULES)
    return next((finding for finding in findings if finding is not None), None)


def the(finding: Finding | None) -> Finding:
    assert finding is not None
    return finding
