"""Findings about rows of `loans`: what a repair writes and relies on, and what is only reported. Pure."""

from collections.abc import Mapping

from sweeper import long_values
from sweeper.comparison import Case
from sweeper.model import Both, Finding, Value
from sweeper.stepfi import loan_values

TABLE = "loans"
VENDORS = "vendors_with_that_wallet"
"""Evidence of a row without a vendor: several vendors of the app have the wallet of the loan's vendor."""
_LONGEST_WORD = 60
_GUARDED = (
    "loan_id",
    "user_wallet",
    "vendor_id",
    "amount",
    "guarantee",
    "status",
    "remaining_balance",
    "completed_at",
    "defaulted_at",
    "created_at",
    "updated_at",
)


def repair(
    drift_class: str,
    case: Case,
    around: loan_values.Surroundings,
    *,
    words: str,
    evidence: Mapping[str, object] | None = None,
) -> Finding:
    """A finding whose repair sets every owned column at once; amounts are left alone where the terms are not the chain's.

    Nor are they written while the chain's terms are not known: the row may be of another scale.
    """
    row, expected = case.row or {}, case.expected or {}
    owned = loan_values.owned_differences(case, around)
    terms = loan_values.mismatched_terms(case, around)
    own_scale = not terms and loan_values.is_scale_known(expected)
    columns = terms | owned
    update: dict[str, Value] = {
        column: both.chain for column, both in owned.items() if own_scale or column != "remaining_balance"
    }
    vendors = vendor_evidence(case) if row["vendor_id"] is None else {}
    if update:
        words += loan_values.rest([column for column in columns if column not in update], terms)
        update["updated_at"] = around.now
    words += vendor_words(vendors)
    return Finding(
        drift_class=drift_class,
        table=TABLE,
        row_id=str(row["id"]),
        entity=f"loan:{expected['loan_id']}",
        words=words,
        columns=columns,
        evidence={"known_at": expected["position"], **(evidence or {}), **vendors},
        update=update,
        guard={column: row[column] for column in _GUARDED},
        chain_key=expected["key"],
    )


def report(
    drift_class: str,
    case: Case,
    *,
    words: str,
    loan: str | None = None,
    entity: str | None = None,
    evidence: Mapping[str, object] | None = None,
) -> Finding:
    """A finding about whose row nothing may be written."""
    row = case.row or {}
    columns = {}
    if case.expected is not None and case.expected["user_wallet"] not in (None, row["user_wallet"]):
        columns["user_wallet"] = Both(row["user_wallet"], case.expected["user_wallet"])
    return Finding(
        drift_class=drift_class,
        table=TABLE,
        row_id=str(row["id"]),
        entity=entity or (None if loan is None else f"loan:{loan.rpartition(':')[2]}"),
        words=words,
        columns=columns,
        evidence=evidence or {},
        chain_key=loan,
    )


def vendor_evidence(case: Case) -> dict[str, object]:
    choices = loan_values.vendor_choices(case)
    return {VENDORS: [str(one) for one in choices]} if choices else {}


def vendor_words(evidence: Mapping[str, object]) -> str:
    if not evidence:
        return ""
    return " Several vendors of the app have the wallet of the loan's vendor, so vendor_id is not written. Hint: merge them."


def word(status: str | None) -> str:
    """Return a status or an id for a sentence; its column may hold anything. A value that was cut keeps its length and hash."""
    if status is None:
        return "nothing"
    return status if long_values.is_cut(status) else status[:_LONGEST_WORD] or "''"
