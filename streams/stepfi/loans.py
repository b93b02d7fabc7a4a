"""The fold of a loan. Status comes from events alone, amounts and terms from the creation or an entry, charges from an entry.

What an event does not tell is unknown until the entry is read (I5): a repayment says the balance that remains, not how it was
split over the buckets, so it asks for an observation.
"""

from dataclasses import dataclass

import orjson

from shared.stepfi import tables, values
from streams.facts import Fact
from streams.fold import Fold, replace


@dataclass(frozen=True, kw_only=True)
class LoanState:
    """A row of `chain.loans`; None is unknown."""

    key: str
    position: str
    observed_at: str | None = None
    asked_at: str | None = None
    contract: str
    loan_id: int
    terms_since: str | None = None
    borrower: str | None = None
    vendor: str | None = None
    total_amount: int | None = None
    guarantee_amount: int | None = None
    schedule: str | None = None
    details_since: str | None = None
    loan_type: str | None = None
    interest_rate_bps: int | None = None
    interest_amount: int | None = None
    service_fee_amount: int | None = None
    funded_at: int | None = None
    status_since: str | None = None
    status: str | None = None
    balance_since: str | None = None
    remaining_balance: int | None = None
    buckets_since: str | None = None
    principal_outstanding: int | None = None
    interest_outstanding: int | None = None
    service_fee_outstanding: int | None = None
    late_fees_outstanding: int | None = None
    late_fee_accrual_timestamp: int | None = None
    created_at: int | None = None
    created_tx: str | None = None
    approved_at: int | None = None
    completed_at: int | None = None
    defaulted_at: int | None = None
    cancelled_at: int | None = None


def write_schedule(schedule: tuple[values.Installment, ...]) -> str:
    """The schedule as the column holds it: numbers as text, for no reader may round them."""
    rows = [
        {"amount": str(one.amount), "due_date": str(one.due_date), "paid": one.paid, "paid_at": str(one.paid_at)}
        for one in schedule
    ]
    return orjson.dumps(rows, option=orjson.OPT_SORT_KEYS).decode()


def _start(fact: Fact) -> LoanState:
    """Whatever the first event is, only the creation or the entry says the terms: the entry is asked for."""
    _, contract, loan_id = fact.key.split(":")
    return LoanState(
        key=fact.key, position=fact.position, contract=contract, loan_id=int(loan_id), asked_at=fact.position
    )


def _opened(state: LoanState, fact: Fact, event: values.LoanOpened) -> LoanState:
    return replace(
        state,
        borrower=event.borrower,
        vendor=event.vendor,
        total_amount=event.total_amount,
        guarantee_amount=event.guarantee_amount,
        schedule=write_schedule(event.schedule),
        terms_since=fact.position,
        status="Active" if event.active else "Pending",
        status_since=fact.position,
        created_at=fact.at,
        created_tx=fact.tx_hash,
        asked_at=fact.position,
    )


def _observed(state: LoanState, fact: Fact, entry: values.LoanEntry) -> LoanState:
    """An entry says all but when what happened; a time of an event stays while the status is the one that it led to."""
    return replace(
        state,
        observed_at=fact.position,
        asked_at=None,
        terms_since=fact.position,
        borrower=entry.borrower,
        vendor=entry.vendor,
        total_amount=entry.total_amount,
        guarantee_amount=entry.guarantee_amount,
        schedule=write_schedule(entry.schedule),
        details_since=fact.position,
        loan_type=entry.loan_type,
        interest_rate_bps=entry.interest_rate_bps,
        interest_amount=entry.interest_amount,
        service_fee_amount=entry.service_fee_amount,
        funded_at=entry.funded_at,
        status_since=fact.position,
        status=entry.status,
        balance_since=fact.position,
        remaining_balance=entry.remaining_balance,
        buckets_since=fact.position,
        principal_outstanding=entry.principal_outstanding,
        interest_outstanding=entry.interest_outstanding,
        service_fee_outstanding=entry.service_fee_outstanding,
        late_fees_outstanding=entry.late_fees_outstanding,
        late_fee_accrual_timestamp=entry.late_fee_accrual_timestamp,
        created_at=entry.created_at,
        completed_at=state.completed_at if entry.status == "Paid" else None,
        defaulted_at=state.defaulted_at if entry.status == "Defaulted" else None,
        cancelled_at=state.cancelled_at if entry.status == "Cancelled" else None,
    )


def _approved(state: LoanState, fact: Fact, _: values.LoanApproved) -> LoanState:
    """Later versions fund the loan with it, the first one does not: whether it is funded, the entry says."""
    return replace(
        state,
        status="Active",
        status_since=fact.position,
        approved_at=fact.at,
        funded_at=None,
        asked_at=fact.position,
    )


def _cancelled(state: LoanState, fact: Fact, _: values.LoanCancelled) -> LoanState:
    return replace(state, status="Cancelled", status_since=fact.position, cancelled_at=fact.at)


def _repaid(state: LoanState, fact: Fact, event: values.LoanRepaid) -> LoanState:
    state = _balance(state, fact, event)
    return _paid(state, fact) if event.fully_repaid else state


def _installment_paid(state: LoanState, fact: Fact, event: values.InstallmentPaid) -> LoanState:
    state = _balance(replace(state, schedule=_tick(state.schedule, event)), fact, event)
    return _paid(state, fact) if event.remaining_balance == 0 else state


def _paid(state: LoanState, fact: Fact) -> LoanState:
    return replace(state, status="Paid", status_since=fact.position, completed_at=fact.at)


def _defaulted(state: LoanState, fact: Fact, event: values.LoanDefaulted) -> LoanState:
    return replace(
        state,
        status="Defaulted",
        status_since=fact.position,
        defaulted_at=fact.at,
        remaining_balance=event.remaining_balance,
        balance_since=fact.position,
    )


def _vendor_paid(state: LoanState, fact: Fact, _: values.VendorPaid) -> LoanState:
    """It may be what makes a pending loan active: then the status is unknown until the entry is read."""
    if state.status == "Pending":
        state = replace(state, status=None, status_since=None)
    return replace(state, funded_at=None, asked_at=fact.position)


def _unread(state: LoanState, fact: Fact, _: values.Unread) -> LoanState:
    """Nothing that the entry tells is known; when the loan was made, and when it came to which status, stays as told."""
    return LoanState(
        key=state.key,
        position=state.position,
        observed_at=state.observed_at,
        asked_at=fact.position,
        contract=state.contract,
        loan_id=state.loan_id,
        created_at=state.created_at,
        created_tx=state.created_tx,
        approved_at=state.approved_at,
        completed_at=state.completed_at,
        defaulted_at=state.defaulted_at,
        cancelled_at=state.cancelled_at,
    )


def _grace_warned(state: LoanState, _: Fact, __: values.GraceWarned) -> LoanState:
    return state


def _balance(
    state: LoanState, fact: Fact, event: values.LoanRepaid | values.InstallmentPaid | values.LateFeeApplied
) -> LoanState:
    """The balance is told; how it is split over the buckets is not."""
    return replace(
        state,
        remaining_balance=event.remaining_balance,
        balance_since=fact.position,
        buckets_since=None,
        principal_outstanding=None,
        interest_outstanding=None,
        service_fee_outstanding=None,
        late_fees_outstanding=None,
        late_fee_accrual_timestamp=None,
        asked_at=fact.position,
    )


def _tick(schedule: str | None, event: values.InstallmentPaid) -> str | None:
    """The schedule with that installment paid; unknown stays unknown."""
    if schedule is None:
        return None
    rows = orjson.loads(schedule)
    if event.index >= len(rows):
        return None  # a schedule that the event contradicts is not known
    rows[event.index] |= {"paid": True, "paid_at": str(event.paid_at)}
    return orjson.dumps(rows, option=orjson.OPT_SORT_KEYS).decode()


FOLD = Fold(
    prefix="loan",
    table=tables.loans,
    state=LoanState,
    start=_start,
    steps={
        values.LoanOpened: _opened,
        values.LoanApproved: _approved,
        values.LoanCancelled: _cancelled,
        values.LoanRepaid: _repaid,
        values.InstallmentPaid: _installment_paid,
        values.LateFeeApplied: _balance,
        values.LoanDefaulted: _defaulted,
        values.GraceWarned: _grace_warned,
        values.VendorPaid: _vendor_paid,
        values.Unread: _unread,
        values.LoanEntry: _observed,
    },
)
