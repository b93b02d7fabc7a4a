"""The rules of `loans` about rows without a loan's id: which loan they are, may be, or provably are not. Pure."""

from dataclasses import replace

from sweeper.comparison import Case
from sweeper.model import Answer, Finding
from sweeper.stepfi import address_texts, loan_terms, loan_values
from sweeper.stepfi.loan_findings import repair, report, word
from sweeper.stepfi.loan_ids import NEVER_ON_CHAIN, is_provisional, is_real_id
from sweeper.stepfi.loan_links import POSSIBLE, Link, LinkKind

CLAIMS_CHAIN = frozenset({"active", "completed", "defaulted"})
OPEN_UNTIL = "link_window_open_until"
"""Evidence of a link whose window has not closed at the watermark: until when it is open."""
NOT_KNOWN = "loans_not_known"
"""Evidence of a link by terms: loans that our tables do not know, one of which the row may be."""
_MOST_NAMED, _MOST_LISTED = 5, 50
"""Loans in a message, and in its evidence."""
_RESOLVE = (
    "set loan_id of the row to the number of its loan, or the status of the row to rejected if it is none of these loans; "
    "a row that stays provisional keeps these loans from being inserted."
)


def duplicate_row(case: Case, around: loan_values.Surroundings) -> Finding | None:
    link = _link(case, around)
    if case.row is None or link is None or link.kind is not LinkKind.TAKEN:
        return None
    loan = link.candidates[0] if len(link.candidates) == 1 else None
    owner = (
        f"the row {' and the row '.join(link.rivals)} is proven to be"
        if link.rivals
        else "has a row of its own already"
    )
    words = f"The provisional row {case.row['loan_id']} fits {_loans(link)}, which {owner}."
    if link.near:
        words += f" It may also be {' or '.join(map(_name, list(link.near)[:_MOST_NAMED]))}. Hint: {_RESOLVE}"
    return report("duplicate_row", case, words=words, loan=loan, evidence=_link_evidence(link))


def ambiguous_link(case: Case, around: loan_values.Surroundings) -> Finding | None:
    link = _link(case, around)
    if case.row is None or link is None or link.kind is not LinkKind.AMBIGUOUS:
        return None
    rivals = len(link.rivals)
    others = f", and {rivals} other {'row fits' if rivals == 1 else 'rows fit'} as well" if rivals else ""
    name = word(case.row["loan_id"])
    if link.by == POSSIBLE:
        some = list(link.near.items())[:_MOST_NAMED]
        near = "; ".join(f"{_name(loan)}: {', '.join(reasons)}" for loan, reasons in some)
        words = f"The row {name} may be {_loans(link)}, but nothing proves it{others} ({near}). Nothing is changed."
    else:
        words = (
            f"The provisional row {name} fits {_loans(link)}{others}, by its {link.by}: "
            "which is whose cannot be proven, so nothing is changed."
        )
    return report("ambiguous_link", case, words=f"{words} Hint: {_RESOLVE}", evidence=_link_evidence(link))


def absent_on_chain(case: Case, around: loan_values.Surroundings) -> Finding | None:
    row = case.row
    if row is None or case.expected is not None or _is_linked(case, around):
        return None
    name, status = row["loan_id"] or "", row["status"]
    if not is_real_id(name) and (status in NEVER_ON_CHAIN or status == around.cancelled):
        return None  # nothing in it says that it ever was on chain
    if not is_provisional(name):
        words = f"The app has loan {word(name)} as {word(status)}; the contract knows no such loan."
        return report("absent_on_chain", case, words=words, entity=f"loan:{name}")
    if status == "pending" or not around.is_window_closed(row):
        return None
    unknown = "" if status in CLAIMS_CHAIN else ", a status that the app does not know"
    words = f"The app has {name} as {word(status)}{unknown}; no loan on chain has its wallet, vendor, amounts and time."
    evidence: dict[str, object] = {"every_loan_known": around.all_known}
    link = _link(case, around)
    left_over = () if link is None else link.contradicted
    if left_over:
        evidence["loans_left_over"] = [_entity(loan) for loan in left_over]
        names = " and ".join(map(_name, left_over[:_MOST_NAMED]))
        words += f" But {names} of its wallet and time has no row, so the absence is not proven."
    wallet = loan_terms.wallet_of(row)
    names_wallet = wallet is not None and address_texts.is_address(wallet)
    if not names_wallet:
        words += " But its wallet is no address, so the absence is not proven."
    finding = report("absent_on_chain", case, words=words, evidence=evidence)
    is_proven = around.all_known and names_wallet and not left_over
    return replace(finding, answer=Answer.ABSENT if is_proven else Answer.UNKNOWN)


def abandoned_provisional(case: Case, around: loan_values.Surroundings) -> Finding | None:
    row = case.row
    if row is None or case.expected is not None or _is_linked(case, around) or row["status"] != "pending":
        return None
    if not is_provisional(row["loan_id"] or "") or not around.all_known or not around.is_window_closed(row):
        return None
    words = (
        f"The app waits for {row['loan_id']} since {row['created_at']:%Y-%m-%d %H:%M}; no such loan came to the chain."
    )
    return report("abandoned_provisional", case, words=words)


def unresolved_provisional_id(case: Case, around: loan_values.Surroundings) -> Finding | None:
    link = _link(case, around)
    if case.row is None or case.expected is None or link is None or link.kind is not LinkKind.UNIQUE:
        return None
    words = f"The app still calls it {case.row['loan_id']}; by its {link.by} it is loan {case.expected['loan_id']}."
    if link.is_open:
        words += f" The link is not proven yet: link window open until {_open_until(link, around)}."
    evidence = _link_evidence(link) | ({OPEN_UNTIL: _open_until(link, around)} if link.is_open else {})
    finding = repair("unresolved_provisional_id", case, around, words=words, evidence=evidence)
    return finding if link.is_proven else replace(finding, answer=Answer.UNKNOWN)


def _link(case: Case, around: loan_values.Surroundings) -> Link | None:
    return None if case.row is None else around.links.of_row.get(str(case.row["id"]))


def _is_linked(case: Case, around: loan_values.Surroundings) -> bool:
    """Whether some loan may be the row's."""
    link = _link(case, around)
    return link is not None and link.kind is not LinkKind.NONE


def _open_until(link: Link, around: loan_values.Surroundings) -> str:
    if link.closes_at is None:
        return "a time that is not known: the row has no usable creation time"
    unknown = "" if around.watermark_at is not None else " (the close time of the watermark is not known)"
    return f"{link.closes_at:%Y-%m-%dT%H:%M:%SZ}{unknown}"


def _name(key: str) -> str:
    return f"loan {key.rpartition(':')[2]}"


def _entity(key: str) -> str:
    return f"loan:{key.rpartition(':')[2]}"


def _loans(link: Link) -> str:
    """The candidates in words; the evidence has more of them."""
    more = len(link.candidates) - _MOST_NAMED
    return " or ".join(map(_name, link.candidates[:_MOST_NAMED])) + (f" or {more} others" if more > 0 else "")


def _link_evidence(link: Link) -> dict[str, object]:
    near = [f"{_entity(loan)}: {', '.join(reasons)}" for loan, reasons in list(link.near.items())[:_MOST_LISTED]]
    return {
        "linked_by": None if link.by == POSSIBLE else link.by,
        "candidates": [_entity(key) for key in link.candidates[:_MOST_LISTED]],
        "other_rows": list(link.rivals[:_MOST_LISTED]),
        **({"candidates_in_all": len(link.candidates)} if len(link.candidates) > _MOST_LISTED else {}),
        **({"near_misses": near} if near else {}),
        **({NOT_KNOWN: list(link.unknown)} if link.unknown else {}),
    }
