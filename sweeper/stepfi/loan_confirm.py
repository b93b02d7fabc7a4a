"""What the chain says to a finding about a loan. Pure: confirmed, proven absent, or unknown, with the proof."""

from collections.abc import Mapping
from dataclasses import replace

from shared import errors, ledger_entry
from shared.stepfi import amounts, entries, statuses, values
from shared.stepfi.events import Role
from shared.stepfi.settings import Stepfi
from sweeper import contradiction
from sweeper.contradiction import Verdict
from sweeper.model import Answer, Finding, Row, Value
from sweeper.questions import Held
from sweeper.stepfi.loan_ids import is_real_id
from sweeper.stepfi.loan_link_rules import NOT_KNOWN, OPEN_UNTIL

_COMPARED = ("borrower", "vendor", "status", "remaining_balance", "total_amount", "guarantee_amount")


def number_of(finding: Finding) -> int | None:
    """The loan that the finding is about; None where there is none to ask for."""
    name = finding.chain_key.rpartition(":")[2] if finding.chain_key else (finding.entity or "").removeprefix("loan:")
    return int(name) if is_real_id(name) else None


def counter(held: Held | None) -> int | None:
    """The number of loans that the contract has given out, from its instance; None where it could not be read."""
    told = _read(held)
    return next((one.loan_count for one in told if isinstance(one, values.CreditlineEntry)), None)


def judge(
    finding: Finding,
    number: int,
    held: Held | None,
    *,
    stored: Row | None,
    counter: int | None,
    watermark: int,
    settings: Stepfi,
) -> Finding:
    """The finding with the chain's answer. `stored` is what our tables say of the loan now.

    That may be later than the finding: a loan that was repaid in between has the same in its entry and in our tables, and
    what the finding would write is of before. So what is to be written has to be what the entry says, too.
    """
    answer, reason, contradicts = compare(number, held, stored=stored, counter=counter, watermark=watermark)
    if answer is Answer.ABSENT and stored is not None:  # one of the two is wrong, and nothing is written by either
        answer, reason = Answer.UNKNOWN, f"our tables have the loan, though {reason}"
    if answer is Answer.CONFIRMED and (stale := _stale(finding, held, settings)):
        answer, reason = Answer.UNKNOWN, f"the loan has moved on since it was compared, in {', '.join(stale)}"
    if answer is Answer.CONFIRMED and (doubt := _doubt(finding, held)):
        answer, reason = Answer.UNKNOWN, doubt
    evidence = {"chain": reason, "loans_given_out": counter, **({} if held is None else held.evidence())}
    return replace(finding, answer=answer, contradicted_by=held if contradicts else None).with_evidence(**evidence)


def compare(number: int, held: Held | None, *, stored: Row | None, counter: int | None, watermark: int) -> Verdict:
    """What the entry of the loan says to what our tables hold of it; `counter` None where it was not asked for."""
    entry = _entry(held)
    if held is not None and entry is None and counter is not None and not 1 <= number <= counter:
        return Verdict(Answer.ABSENT, f"the contract has given out loans 1 to {counter}")
    if held is not None and entry is None and stored is None:
        return Verdict(Answer.UNKNOWN, "our tables have no such loan, and the chain cannot rule it out")
    return contradiction.judge(
        held,
        readable=entry is not None,
        differing=[] if entry is None else _differing(entry, stored),
        known_at=None if stored is None else stored["position"],
        watermark=watermark,
    )


def _differing(entry: values.LoanEntry, stored: Row | None) -> list[str]:
    if stored is None:
        return ["all of the loan, which they do not have"]
    return [column for column in _COMPARED if stored[column] is not None and stored[column] != getattr(entry, column)]


def _doubt(finding: Finding, held: Held | None) -> str | None:
    """Why the row may not be this loan's, though the entry is as our tables have it; they need not know its borrower yet."""
    entry = _entry(held)
    if unknown := finding.evidence.get(NOT_KNOWN):
        return f"the row may as well be one of those that our tables do not know: {', '.join(unknown)}"
    if open_until := finding.evidence.get(OPEN_UNTIL):
        return f"link window open until {open_until}: another loan of the same terms may still come"
    if entry is not None and finding.guard.get("user_wallet", entry.borrower) != entry.borrower:
        return "the entry names another borrower than the row"
    return None


def _stale(finding: Finding, held: Held | None, settings: Stepfi) -> list[str]:
    """The columns that would be written with what the entry does not say."""
    written = finding.update or finding.insert or {}
    entry = _entry(held)
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


def _entry(held: Held | None) -> values.LoanEntry | None:
    return next((one for one in _read(held) if isinstance(one, values.LoanEntry)), None)


def _read(held: Held | None) -> tuple[object, ...]:
    if held is None or held.xdr is None:
        return ()
    try:
        return entries.read(Role.CREDITLINE, ledger_entry.read_entry(held.xdr))
    except errors.Undecodable:
        return ()
