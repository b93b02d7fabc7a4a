"""Under which keys facts stand: the things that an event or an entry tells of."""

from collections.abc import Iterator

from shared import errors, frames, scval
from shared.stepfi import values
from shared.stepfi.events import Role

_CREATIONS = frozenset({"LOANCRTD", "LOANRQST"})
"""The events of a loan whose id stands in the data, not in a topic."""


def of_event(event: frames.Event, payload: object, *, role: Role | None) -> Iterator[str]:
    """The things that an event tells of; at least one."""
    contract = event.contract
    loan_id = getattr(payload, "loan_id", None)
    if loan_id is not None:
        yield f"loan:{contract}:{loan_id}"
        return
    match payload:
        case values.LoanFunded() | values.PoolRepaid():  # the most frequent ones
            yield f"pool:{contract}"
        case values.Deposited(provider=provider) | values.Withdrawn(provider=provider):
            yield f"provider:{contract}:{provider}"
            yield f"pool:{contract}"
        case values.ScoreChanged(user=user):
            yield f"score:{contract}:{user}"
            yield f"score_change:{contract}:{event.id}"
        case values.VendorRegistered(vendor=vendor) | values.VendorStatusChanged(vendor=vendor):
            yield f"vendor:{contract}:{vendor}"
        case values.Upgraded():
            yield f"contract:{contract}"
            if role is Role.LIQUIDITY_POOL:
                yield f"pool:{contract}"
        case values.Other():
            # The pool's totals are sums, and these events say that its code may not add up as the first version's does.
            yield f"pool:{contract}" if role is Role.LIQUIDITY_POOL else f"event:{contract}"
        case _:
            yield f"pool:{contract}"


def of_unread(event: frames.Event, *, role: Role | None) -> Iterator[str]:
    """The things that an event names although it cannot be read: what it did to them is not known.

    Where the contract's instance tells of its things (how many loans there are, all scores), the instance is one of them.
    """
    contract = event.contract
    topics = [_value(topic) for topic in event.topics]
    addresses = dict.fromkeys(str(topic) for topic in topics[1:] if type(topic) is scval.Address)
    match role:
        case Role.CREDITLINE:
            yield from (f"loan:{contract}:{loan_id}" for loan_id in _loans(event, topics))
            yield f"contract:{contract}"
        case Role.LIQUIDITY_POOL:
            yield from (f"provider:{contract}:{address}" for address in addresses)
            yield f"pool:{contract}"
        case Role.VENDOR_REGISTRY:
            yield from (f"vendor:{contract}:{address}" for address in addresses)
        case Role.REPUTATION:
            # Scores move by SCORECHGD alone: the addresses of other events may be those of people who never had one.
            users = addresses if topics[:1] == ["SCORECHGD"] else ()
            yield from (f"score:{contract}:{address}" for address in users)
            yield f"contract:{contract}"


def _loans(event: frames.Event, topics: list[object]) -> Iterator[int]:
    """The loan that an unread event of the creditline names."""
    data = _value(event.value) if topics and topics[0] in _CREATIONS else None
    first = data[:1] if type(data) is tuple else ()
    named = (int(one) for one in (*topics[1:], *first) if type(one) is scval.U64)
    yield from dict.fromkeys(named)


def _value(text: str) -> object:
    """What base64 text holds; None too where it cannot be read."""
    try:
        return scval.read_base64(text)
    except errors.Undecodable:
        return None


_PREFIXES: dict[type, str] = {
    values.InstanceEntry: "contract",
    values.CreditlineEntry: "creditline",
    values.PoolEntry: "pool",
    values.ScoreMapEntry: "score_map",
}


def of_entry(contract: str, payload: object) -> str:
    """The thing that an entry tells of."""
    match payload:
        case values.LoanEntry(loan_id=loan_id):
            return f"loan:{contract}:{loan_id}"
        case values.SharesEntry(provider=provider):
            return f"provider:{contract}:{provider}"
        case values.VendorEntry(vendor=vendor):
            return f"vendor:{contract}:{vendor}"
    return f"{_PREFIXES[type(payload)]}:{contract}"
