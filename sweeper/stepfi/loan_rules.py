"""The rules of `loans`: one pure function a drift class, in the order of `sweeper.classes`. Authority is per column:

owned by the chain   loan_id (once linked), status, remaining_balance, completed_at and defaulted_at (where they are NULL,
                     or where a status is reversed), vendor_id (where it is NULL)
compared             user_wallet, amount, guarantee, the vendor: never written
the app's own        everything else
"""

from shared.stepfi import amounts
from sweeper.comparison import Case
from sweeper.model import Finding
from sweeper.stepfi import loan_values
from sweeper.stepfi.loan_findings import TABLE, repair, report, vendor_evidence, vendor_words, word
from sweeper.stepfi.loan_link_rules import (
    abandoned_provisional,
    absent_on_chain,
    ambiguous_link,
    duplicate_row,
    unresolved_provisional_id,
)


def forged_owner(case: Case, _: loan_values.Surroundings) -> Finding | None:
    row, expected = case.row, case.expected
    if row is None or expected is None or expected["user_wallet"] in (None, row["user_wallet"]):
        return None
    words = (
        f"The app says that loan {expected['loan_id']} is of {row['user_wallet']}; on chain its borrower is another."
    )
    return report("forged_owner", case, words=words, loan=expected["key"])


def app_ahead_of_chain(case: Case, around: loan_values.Surroundings) -> Finding | None:
    row, expected = case.row, case.expected
    if row is None or expected is None or row["status"] not in ("completed", "defaulted"):
        return None
    if expected["status"] not in ("pending", "active"):
        return None
    words = f"The app says {word(row['status'])}; on chain loan {expected['loan_id']} is {expected['chain_status']}."
    return repair("app_ahead_of_chain", case, around, words=words)


def stale_status(case: Case, around: loan_values.Surroundings) -> Finding | None:
    row, expected = case.row, case.expected
    if row is None or expected is None or expected["status"] in (None, row["status"]):
        return None
    words = f"The app says {word(row['status'])}; on chain loan {expected['loan_id']} is {expected['chain_status']}."
    return repair("stale_status", case, around, words=words)


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
    return repair("terms_mismatch", case, around, words=words, evidence={"amount_ratio_chain_to_app": ratio})


def stale_value(case: Case, around: loan_values.Surroundings) -> Finding | None:
    if case.row is None or case.expected is None:
        return None
    differing = loan_values.owned_differences(case, around)
    if differing:
        words = f"{', '.join(differing)} of loan {case.expected['loan_id']} are not what the chain says."
        return repair("stale_value", case, around, words=words)
    if case.row["vendor_id"] is None and loan_values.vendor_choices(case):
        return repair("stale_value", case, around, words=f"Loan {case.expected['loan_id']} has no vendor in the app.")
    return None


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
    vendors = vendor_evidence(case)
    return Finding(
        drift_class="missing_row",
        table=TABLE,
        row_id=None,
        entity=f"loan:{expected['loan_id']}",
        words=words + vendor_words(vendors),
        evidence=vendors,
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
