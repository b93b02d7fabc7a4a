"""The rules of `loans`: one pure function a drift class, in the order of `sweeper.classes`. Authority is per column:

owned by the chain   loan_id (once linked), status, remaining_balance, completed_at and defaulted_at (where they are NULL,
                     or where a status is reversed), vendor_id (where it is NULL)
compared             user_wallet, amount, guarantee, the vendor: never written
the app's own        everything else
"""

from collections.abc import Mapping
from dataclasses import replace

from shared.stepfi import amounts
from sweeper.comparison import Case
from sweeper.model import Answer, Both, Finding, Value
from sweeper.stepfi import loan_values
from sweeper.stepfi.loan_links import Link, LinkKind

TABLE = "loans"
NEVER_ON_CHAIN = frozenset({"under_review", "rejected"})
PROVISIONAL_PREFIXES = ("pending-", "pending_", "loan_")
CLAIMS_CHAIN = frozenset({"active", "completed", "defaulted"})
NOT_KNOWN = "loans_not_known"
"""Evidence of a link by terms: loans that our tables do not know, one of which the row may be."""
_LONGEST_ID = len(str((1 << 64) - 1))
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


def is_real_id(loan_id: str) -> bool:
    """Whether the app's id is one of the chain: a decimal u64, as the contract counts."""
    digits = len(loan_id) <= _LONGEST_ID and loan_id.isascii() and loan_id.isdecimal()
    return digits and (loan_id == "0" or loan_id[0] != "0") and int(loan_id) < 1 << 64


def is_provisional(loan_id: str) -> bool:
    """Whether the id is one that the app made up until the chain's is known."""
    return loan_id.startswith(PROVISIONAL_PREFIXES)


def duplicate_row(case: Case, around: loan_values.Surroundings) -> Finding | None:
    link = _link(case, around)
    if case.row is None or link is None or link.kind is not LinkKind.TAKEN:
        return None
    loan = link.candidates[0] if len(link.candidates) == 1 else None
    words = f"The provisional row {case.row['loan_id']} fits {_loans(link)}, which has a row of its own already."
    return _report("duplicate_row", case, words=words, loan=loan, evidence=_link_evidence(link))


def forged_owner(case: Case, _: loan_values.Surroundings) -> Finding | None:
    row, expected = case.row, case.expected
    if row is None or expected is None or expected["user_wallet"] in (None, row["user_wallet"]):
        return None
    words = (
        f"The app says that loan {expected['loan_id']} is of {row['user_wallet']}; on chain its borrower is another."
    )
    return _report("forged_owner", case, words=words, loan=expected["key"])


def ambiguous_link(case: Case, around: loan_values.Surroundings) -> Finding | None:
    link = _link(case, around)
    if case.row is None or link is None or link.kind is not LinkKind.AMBIGUOUS:
        return None
    rivals = len(link.rivals)
    others = f", and {rivals} other {'row fits' if rivals == 1 else 'rows fit'} as well" if rivals else ""
    words = (
        f"The provisional row {case.row['loan_id']} fits {_loans(link)}{others}: "
        "which is whose cannot be proven, so nothing is changed."
    )
    return _report("ambiguous_link", case, words=words, evidence=_link_evidence(link))


def absent_on_chain(case: Case, around: loan_values.Surroundings) -> Finding | None:
    row = case.row
    if row is None or case.expected is not None or _link(case, around) is not None:
        return None
    name, status = row["loan_id"], row["status"]
    if not is_real_id(name) and (status in NEVER_ON_CHAIN or status == around.cancelled):
        return None  # nothing in it says that it ever was on chain
    if not is_provisional(name):
        words = f"The app has loan {name} as {_word(status)}; the contract knows no such loan."
        return _report("absent_on_chain", case, words=words, entity=f"loan:{name}")
    if status == "pending" or not around.is_older(row["created_at"], around.link_window):
        return None
    unknown = "" if status in CLAIMS_CHAIN else ", a status that the app does not know"
    words = (
        f"The app has {name} as {_word(status)}{unknown}; no loan on chain has its wallet, vendor, amounts and time."
    )
    finding = _report("absent_on_chain", case, words=words, evidence={"every_loan_known": around.all_known})
    return replace(finding, answer=Answer.ABSENT if around.all_known else Answer.UNKNOWN)


def abandoned_provisional(case: Case, around: loan_values.Surroundings) -> Finding | None:
    row = case.row
    if row is None or case.expected is not None or _link(case, around) is not None or row["status"] != "pending":
        return None
    if not is_provisional(row["loan_id"]) or not around.all_known:
        return None
    if not around.is_older(row["created_at"], around.link_window):
        return None
    words = (
        f"The app waits for {row['loan_id']} since {row['created_at']:%Y-%m-%d %H:%M}; no such loan came to the chain."
    )
    return _report("abandoned_provisional", case, words=words)


def unresolved_provisional_id(case: Case, around: loan_values.Surroundings) -> Finding | None:
    link = _link(case, around)
    if case.row is None or case.expected is None or link is None or link.kind is not LinkKind.UNIQUE:
        return None
    words = f"The app still calls it {case.row['loan_id']}; by its {link.by} it is loan {case.expected['loan_id']}."
    finding = _repair("unresolved_provisional_id", case, around, words=words, evidence=_link_evidence(link))
    return replace(finding, answer=Answer.UNKNOWN) if link.unknown else finding


def app_ahead_of_chain(case: Case, around: loan_values.Surroundings) -> Finding | None:
    row, expected = case.row, case.expected
    if row is None or expected is None or row["status"] not in ("completed", "defaulted"):
        return None
    if expected["status"] not in ("pending", "active"):
        return None
    words = f"The app says {_word(row['status'])}; on chain loan {expected['loan_id']} is {expected['chain_status']}."
    return _repair("app_ahead_of_chain", case, around, words=words)


def stale_status(case: Case, around: loan_values.Surroundings) -> Finding | None:
    row, expected = case.row, case.expected
    if row is None or expected is None or expected["status"] in (None, row["status"]):
        return None
    words = f"The app says {_word(row['status'])}; on chain loan {expected['loan_id']} is {expected['chain_status']}."
    return _repair("stale_status", case, around, words=words)


def terms_mismatch(case: Case, around: loan_values.Surroundings) -> Finding | None:
    if case.row is None or case.expected is None:
        return None
    differing = loan_values.mismatched_terms(case, around)
    if not differing:
        return None
    ratio = amounts.ratio(case.expected["amount"], case.row["amount"])
    words = (
        f"{', '.join(differing)} of loan {case.expected['loan_id']} are not the chain's: "
        "another scale or another loan, so its amounts are left alone."
    )
    return _repair("terms_mismatch", case, around, words=words, evidence={"amount_ratio_chain_to_app": ratio})


def stale_value(case: Case, around: loan_values.Surroundings) -> Finding | None:
    if case.row is None or case.expected is None:
        return None
    differing = loan_values.owned_differences(case, around)
    if not differing:
        return None
    words = f"{', '.join(differing)} of loan {case.expected['loan_id']} are not what the chain says."
    return _repair("stale_value", case, around, words=words)


def missing_row(case: Case, around: loan_values.Surroundings) -> Finding | None:
    expected = case.expected
    if case.row is not None or expected is None or expected["key"] in around.links.claimed:
        return None
    if not (expected["user_wallet"] or "").startswith("G"):
        return None  # the app knows accounts alone: a contract's loan cannot have a row, nor one of an unknown borrower
    if expected["created_at"] is None or not around.is_older(expected["created_at"], around.insert_grace):
        return None
    loan, status = f"loan {expected['loan_id']}", expected["chain_status"] or "of a status that is not known now"
    words = f"On chain there is {loan} of {expected['user_wallet']}, {status}; the app has no row for it."
    return Finding(
        drift_class="missing_row",
        table=TABLE,
        row_id=None,
        entity=f"loan:{expected['loan_id']}",
        words=words,
        insert=loan_values.new_row(case, around),
        chain_key=expected["key"],
    )


RULES = (
    duplicate_row,
    forged_owner,
    ambiguous_link,
    absent_on_chain,
    abandoned_provisional,
    unresolved_provisional_id,
    app_ahead_of_chain,
    stale_status,
    terms_mismatch,
    stale_value,
    missing_row,
)


def _link(case: Case, around: loan_values.Surroundings) -> Link | None:
    return None if case.row is None else around.links.of_row.get(str(case.row["id"]))


def _repair(
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
    if update:
        words += loan_values.rest([column for column in columns if column not in update], terms)
        update["updated_at"] = around.now
    return Finding(
        drift_class=drift_class,
        table=TABLE,
        row_id=str(row["id"]),
        entity=f"loan:{expected['loan_id']}",
        words=words,
        columns=columns,
        evidence={"known_at": expected["position"], **(evidence or {})},
        update=update,
        guard={column: row[column] for column in _GUARDED},
        chain_key=expected["key"],
    )


def _report(
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


def _loans(link: Link) -> str:
    return " or ".join(f"loan {key.rpartition(':')[2]}" for key in link.candidates)


def _link_evidence(link: Link) -> dict[str, object]:
    return {
        "linked_by": link.by,
        "candidates": [f"loan:{key.rpartition(':')[2]}" for key in link.candidates],
        "other_rows": list(link.rivals),
        **({NOT_KNOWN: list(link.unknown)} if link.unknown else {}),
    }


def _word(status: str | None) -> str:
    """A status for a sentence; what stands in its column may be anything."""
    return "nothing" if status is None else status[:60] or "''"
