"""StepFi's events, from topics and data to values. Strict: a shape that is not known is `Undecodable`, never a guess.

Each decoder takes the topics behind the name, and the data. Later versions of the contracts that say the same in another shape
are read too; where a version says more, the name stays known and the entry is read instead.
"""

from collections.abc import Callable
from enum import Enum

from shared import errors, scval
from shared.stepfi import shapes, statuses, values


class Role(Enum):
    """Which of StepFi's contracts a contract id is."""

    CREDITLINE = "creditline"
    LIQUIDITY_POOL = "liquidity_pool"
    REPUTATION = "reputation"
    VENDOR_REGISTRY = "vendor_registry"
    PARAMETERS = "parameters"
    VOUCHING = "vouching"


def _opened(topics: shapes.Values, data: object, *, active: bool) -> values.LoanOpened:
    borrower, vendor = shapes.only(topics, scval.Address, scval.Address)
    loan_id, total, guarantee, schedule = shapes.items(data, 4)
    return values.LoanOpened(
        loan_id=shapes.u64(loan_id),
        borrower=shapes.address(borrower),
        vendor=shapes.address(vendor),
        total_amount=shapes.i128(total),
        guarantee_amount=shapes.i128(guarantee),
        schedule=shapes.read_schedule(schedule),
        active=active,
    )


def _created(topics: shapes.Values, data: object) -> values.LoanOpened:
    return _opened(topics, data, active=True)


def _requested(topics: shapes.Values, data: object) -> values.LoanOpened:
    return _opened(topics, data, active=False)


def _approved(topics: shapes.Values, data: object) -> values.LoanApproved:
    (loan_id,) = shapes.only(topics, scval.U64)
    shapes.expect(type(None), data)
    return values.LoanApproved(shapes.u64(loan_id))


def _borrower_and_loan(topics: shapes.Values) -> tuple[str, int]:
    borrower, loan_id = shapes.only(topics, scval.Address, scval.U64)
    return shapes.address(borrower), shapes.u64(loan_id)


def _cancelled(topics: shapes.Values, data: object) -> values.LoanCancelled:
    borrower, loan_id = _borrower_and_loan(topics)
    refunded, at = shapes.items(data, 2)
    shapes.i128(refunded), shapes.u64(at)
    return values.LoanCancelled(loan_id, borrower)


def _repaid(topics: shapes.Values, data: object) -> values.LoanRepaid:
    borrower, loan_id = _borrower_and_loan(topics)
    paid, remaining, full, at = shapes.items(data, 4)
    shapes.i128(paid), shapes.u64(at)
    return values.LoanRepaid(
        loan_id=loan_id,
        borrower=borrower,
        remaining_balance=shapes.i128(remaining),
        fully_repaid=shapes.expect(bool, full),
    )


def _installment_paid(topics: shapes.Values, data: object) -> values.InstallmentPaid:
    (loan_id,) = shapes.only(topics, scval.U64)
    index, amount, remaining, at = shapes.items(data, 4)
    shapes.i128(amount)
    return values.InstallmentPaid(
        loan_id=shapes.u64(loan_id),
        index=shapes.u32(index),
        remaining_balance=shapes.i128(remaining),
        paid_at=shapes.u64(at),
    )


def _late_fee(topics: shapes.Values, data: object) -> values.LateFeeApplied:
    borrower, loan_id = _borrower_and_loan(topics)
    fee, remaining, at = shapes.items(data, 3)
    shapes.i128(fee), shapes.u64(at)
    return values.LateFeeApplied(loan_id=loan_id, borrower=borrower, remaining_balance=shapes.i128(remaining))


def _defaulted(topics: shapes.Values, data: object) -> values.LoanDefaulted:
    borrower, loan_id = _borrower_and_loan(topics)
    total, unpaid, forfeited, at = shapes.items(data, 4)
    shapes.i128(forfeited), shapes.u64(at)
    return values.LoanDefaulted(
        loan_id=loan_id, borrower=borrower, total_amount=shapes.i128(total), remaining_balance=shapes.i128(unpaid)
    )


def _grace(topics: shapes.Values, data: object) -> values.GraceWarned:
    _, loan_id = _borrower_and_loan(topics)
    shapes.items(data, 3)
    return values.GraceWarned(loan_id)


def _vendor_paid(topics: shapes.Values, data: object) -> values.VendorPaid:
    (loan_id,) = shapes.only(topics, scval.U64)
    shapes.items(data, 3)
    return values.VendorPaid(shapes.u64(loan_id))


def _deposit(topics: shapes.Values, data: object) -> values.Deposited:
    (provider,) = shapes.only(topics, scval.Address)
    amount, shares = shapes.items(data, 2)
    return values.Deposited(provider=shapes.address(provider), amount=shapes.i128(amount), shares=shapes.i128(shares))


def _withdrawal(topics: shapes.Values, data: object) -> values.Withdrawn:
    (provider,) = shapes.only(topics, scval.Address)
    shares, amount = shapes.items(data, 2)
    return values.Withdrawn(provider=shapes.address(provider), shares=shapes.i128(shares), amount=shapes.i128(amount))


def _funded(topics: shapes.Values, data: object) -> values.LoanFunded:
    shapes.only(topics, scval.Address)
    if type(data) is tuple:
        return _capped_funding(data)
    return values.LoanFunded(shapes.i128(data))


def _capped_funding(data: object) -> values.LoanFunded:
    """Of later versions: the merchant, the amount, and what the caps leave. The pool locks the amount as it ever did."""
    merchant, amount, outflow_remaining, merchant_remaining = shapes.items(data, 4)
    shapes.address(merchant), shapes.i128(outflow_remaining), shapes.i128(merchant_remaining)
    return values.LoanFunded(shapes.i128(amount), capped=True)


def _pool_repaid(topics: shapes.Values, data: object) -> values.PoolRepaid:
    shapes.only(topics, scval.Address)
    principal, interest = shapes.items(data, 2)
    shapes.i128(interest)
    return values.PoolRepaid(shapes.i128(principal))


def _guarantee(topics: shapes.Values, data: object) -> values.GuaranteeReceived:
    shapes.only(topics, scval.Address)
    return values.GuaranteeReceived(shapes.i128(data))


def _interest(topics: shapes.Values, data: object) -> values.InterestDistributed:
    shapes.only(topics)
    _, to_providers, _, _ = (shapes.i128(item) for item in shapes.items(data, 4))
    return values.InterestDistributed(to_providers)


def _loss(topics: shapes.Values, data: object) -> values.LossTaken:
    shapes.only(topics, scval.Address)
    return values.LossTaken(shapes.i128(data))


def _score(topics: shapes.Values, data: object) -> values.ScoreChanged:
    (user,) = shapes.only(topics, scval.Address)
    old, new, reason = shapes.items(data, 3)
    return values.ScoreChanged(
        user=shapes.address(user),
        old=shapes.u32(old),
        new=shapes.u32(new),
        reason=str(shapes.expect(scval.Symbol, reason)),
    )


def _registered(topics: shapes.Values, data: object) -> values.VendorRegistered:
    (vendor,) = shapes.only(topics, scval.Address)
    return values.VendorRegistered(vendor=shapes.address(vendor), name=shapes.vendor_name(data))


def _vendor_status(topics: shapes.Values, data: object) -> values.VendorStatusChanged:
    (vendor,) = shapes.only(topics, scval.Address)
    return values.VendorStatusChanged(vendor=shapes.address(vendor), status=statuses.vendor_status(data))


def _upgraded(topics: shapes.Values, data: object) -> values.Upgraded:
    shapes.only(topics)
    shapes.items(data, 3)
    return values.Upgraded()


Decoder = Callable[[shapes.Values, object], object]

_DECODERS: dict[Role, dict[str, Decoder]] = {
    Role.CREDITLINE: {
        "LOANCRTD": _created,
        "LOANRQST": _requested,
        "LOANAPPROVED": _approved,
        "LOANCNCL": _cancelled,
        "LOANRPD": _repaid,
        "INSTPAID": _installment_paid,
        "LOANLTFE": _late_fee,
        "LOANDFLT": _defaulted,
        "LOANGRC": _grace,
        "VENDPAID": _vendor_paid,
    },
    Role.LIQUIDITY_POOL: {
        "LQDEPST": _deposit,
        "LQWTHDR": _withdrawal,
        "LQFUND": _funded,
        "LQREPAY": _pool_repaid,
        "LQGUART": _guarantee,
        "LQINTDST": _interest,
        "LQLOSS": _loss,
    },
    Role.REPUTATION: {"SCORECHGD": _score},
    Role.VENDOR_REGISTRY: {"MERCHTREG": _registered, "MERCHTSTATUS": _vendor_status},
    Role.PARAMETERS: {},
    Role.VOUCHING: {},
}

_OTHERS: dict[Role, frozenset[str]] = {
    Role.CREDITLINE: frozenset({"PAUSED", "UNPAUSED", "UPGDPRP"}),
    Role.LIQUIDITY_POOL: frozenset({"PAUSED", "UNPAUSED", "CAPSUPD", "VREGUPD", "UPGDPRP"}),
    Role.REPUTATION: frozenset({"UPDCHGD", "ADMINCHGD", "UPGDPRP"}),
    Role.VENDOR_REGISTRY: frozenset({"UPGDPRP"}),
    Role.PARAMETERS: frozenset({"PARMUPDT", "PARMADMN", "MSCONFIG", "PROPNEW", "PROPAPPR", "PROPEXEC", "UPGDPRP"}),
    Role.VOUCHING: frozenset({"MENTORVOUCHED", "VOUCHREVOKED", "MENTORVERIFIED", "UPGDPRP"}),
}


def decode(role: Role, topics: shapes.Values, data: object) -> object:
    """The event as one of the values above; raises Undecodable for a name or a shape that is not known."""
    if not topics:
        raise errors.Undecodable("an event without topics")
    name = str(shapes.expect(scval.Symbol, topics[0]))
    if name == "CONTRACTUPGRADED":
        return _upgraded(topics[1:], data)
    decoder = _DECODERS[role].get(name)
    if decoder is not None:
        return decoder(topics[1:], data)
    if name in _OTHERS[role]:
        return values.Other(name)
    raise errors.Undecodable(f"{role.value} has no event {name!r} that this version knows")
