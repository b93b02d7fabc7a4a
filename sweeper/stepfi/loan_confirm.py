"""What the chain says to a finding about a loan. Pure: confirmed, proven absent, or unknown, with the proof."""

from dataclasses import replace

from shared import errors, ledger_entry
from shared.stepfi import entries, values
from shared.stepfi.events import Role
from sweeper.model import Answer, Finding, Row
from sweeper.questions import Held
from sweeper.stepfi.loan_rules import is_real_id

_COMPARED = ("borrower", "vendor", "status", "remaining_balance", "total_amount", "guarantee_amount")


def number_of(finding: Finding) -> int | None:
    """The loan that the finding is about; None where there is none to ask for."""
    name = (finding.chain_key or finding.entity or "").rpartition(":")[2]
    return int(name) if is_real_id(name) else None


def counter(held: Held | None) -> int | None:
    """The number of loans that the contract has given out, from its instance; None where it could not be read."""
    told = _read(held)
    return next((one.loan_count for one in told if isinstance(one, values.CreditlineEntry)), None)


def judge(finding: Finding, number: int, held: Held | None, *, stored: Row | None, counter: int | None) -> Finding:
    """The finding with the chain's answer. `stored` is what our tables say of the loan."""
    answer, reason = _answer(number, held, stored=stored, counter=counter)
    evidence = {"chain": reason, "loans_given_out": counter, **({} if held is None else held.evidence())}
    return replace(finding, answer=answer).with_evidence(**evidence)


def _answer(number: int, held: Held | None, *, stored: Row | None, counter: int | None) -> tuple[Answer, str]:
    if held is None:
        return Answer.UNKNOWN, "no node answered"
    if stored is None:
        if counter is not None and not 1 <= number <= counter:
            return Answer.ABSENT, f"the contract has given out loans 1 to {counter}"
        return Answer.UNKNOWN, "our tables have no such loan, and the chain cannot rule it out"
    entry = next((one for one in _read(held) if isinstance(one, values.LoanEntry)), None)
    if entry is None:
        return Answer.UNKNOWN, "the node has no readable entry: archived, or the node is behind"
    differing = [
        column for column in _COMPARED if stored[column] is not None and stored[column] != getattr(entry, column)
    ]
    if not differing:
        return Answer.CONFIRMED, "the entry says the same as our tables"
    state = "is archived and differs" if held.is_archived else "has moved on"
    return Answer.UNKNOWN, f"the entry {state} from our tables in {', '.join(differing)}"


def _read(held: Held | None) -> tuple[object, ...]:
    if held is None or held.xdr is None:
        return ()
    try:
        return entries.read(Role.CREDITLINE, ledger_entry.read_entry(held.xdr))
    except errors.Undecodable:
        return ()
