"""What the chain says to a finding about a loan. Pure: confirmed, proven absent, or unknown, with the proof."""

from collections.abc import Mapping
from dataclasses import replace

from shared import errors, ledger_entry
from shared.stepfi import amounts, entries, statuses, values
from shared.stepfi.events import Role
from shared.stepfi.settings import Stepfi
from sweeper.model import Answer, Finding, Row, Value
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


def judge(
    finding: Finding, number: int, held: Held | None, *, stored: Row | None, counter: int | None, settings: Stepfi
) -> Finding:
    """The finding with the chain's answer. `stored` is what our tables say of the loan now.

    That may be later than the finding: a loan that was repaid in between has the same in its entry and in our tables, and
    what the finding would write is of before. So what is to be written has to be what the entry says, too.
    """
    answer, reason = _answer(number, held, stored=stored, counter=counter)
    if answer is Answer.CONFIRMED and (stale := _stale(finding, held, settings)):
        answer, reason = Answer.UNKNOWN, f"the loan has moved on since it was compared, in {', '.join(stale)}"
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


def _stale(finding: Finding, held: Held | None, settings: Stepfi) -> list[str]:
    """The columns that would be written with what the entry does not say."""
    written = finding.update or finding.insert or {}
    entry = next((one for one in _read(held) if isinstance(one, values.LoanEntry)), None)
    said = {} if entry is None else _columns(entry, settings)
    return [column for column, value in said.items() if column in written and written[column] != value]


def _columns(entry: values.LoanEntry, settings: Stepfi) -> Mapping[str, Value]:
    """What the entry makes of the app's columns."""
    decimals = settings.amount_decimals
    return {
        "loan_id": str(entry.loan_id),
        "user_wallet": entry.borrower,
        "status": statuses.app_loan_status(entry.status, cancelled=settings.cancelled_status),
        "remaining_balance": amounts.to_app(entry.remaining_balance, decimals=decimals),
        "amount": amounts.to_app(entry.total_amount, decimals=decimals),
        "guarantee": amounts.to_app(entry.guarantee_amount, decimals=decimals),
    }


def _read(held: Held | None) -> tuple[object, ...]:
    if held is None or held.xdr is None:
        return ()
    try:
        return entries.read(Role.CREDITLINE, ledger_entry.read_entry(held.xdr))
    except errors.Undecodable:
        return ()
