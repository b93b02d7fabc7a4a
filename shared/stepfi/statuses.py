"""Status words: the chain's, the app's, and the one place where one becomes the other.

chain       Pending   Active   Paid        Defaulted   Cancelled
app loans   pending   active   completed   defaulted   (a setting: the app has no word of its own)
"""

from shared import errors, scval

LOAN_STATUSES = ("Pending", "Active", "Paid", "Defaulted", "Cancelled")
LOAN_TYPES = ("Standard", "LearnerInstallment")

VENDOR_STATUSES = ("Pending", "Approved", "Suspended", "Rejected")
"""By the number that the vendor registry emits."""

TIERS = ((90, "gold"), (75, "silver"), (60, "bronze"))
"""Least score and name; below them the app's low tier, a setting."""

_APP_LOAN_STATUS = {"Pending": "pending", "Active": "active", "Paid": "completed", "Defaulted": "defaulted"}


def app_loan_status(chain: str, *, cancelled: str) -> str:
    """The app's word for a loan's status; `cancelled` is the app's word for a cancelled loan."""
    return cancelled if chain == "Cancelled" else _APP_LOAN_STATUS[chain]


def app_vendor_status(chain: str) -> str:
    """The app's word for a vendor's status."""
    return chain.lower()


def tier(score: int, *, low: str) -> str:
    """The app's tier for a score; `low` is its word below bronze."""
    return next((name for least, name in TIERS if score >= least), low)


def vendor_status(value: object) -> str:
    """The vendor registry's status: a number, or (before June 2026) whether the vendor is active."""
    if type(value) is bool:
        return "Approved" if value else "Suspended"
    if type(value) is scval.U32 and value < len(VENDOR_STATUSES):
        return VENDOR_STATUSES[value]
    raise errors.Undecodable(f"{type(value).__name__} {str(value)[:60]!r} is no status of a vendor")


def app_loan_status_sql(column: str, *, cancelled: str) -> str:
    """The mapping of loans as a SQL expression; `cancelled` is the name of a bound parameter."""
    cases = " ".join(f"WHEN '{chain}' THEN '{app}'" for chain, app in _APP_LOAN_STATUS.items())
    return f"CASE {column} {cases} WHEN 'Cancelled' THEN CAST(:{cancelled} AS text) END"


def tier_sql(column: str, *, low: str) -> str:
    """The tier of a score as a SQL expression, NULL where the score is; `low` is the name of a bound parameter."""
    cases = " ".join(f"WHEN {column} >= {least} THEN '{name}'" for least, name in TIERS)
    return f"CASE WHEN {column} IS NULL THEN NULL {cases} ELSE CAST(:{low} AS text) END"
