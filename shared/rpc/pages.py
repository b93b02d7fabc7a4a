"""Asking for a page of getEvents, and reading it: the proof that a stretch of the chain was scanned, nothing taken on trust."""

from collections.abc import Collection

from shared import position
from shared.frames import Event
from shared.rpc import answers, wire
from shared.rpc.faults import Failed, Fault, Malformed
from shared.rpc.wire import Object

_CONTRACTS_PER_FILTER = 5


def request(contracts: tuple[str, ...], start_ledger: int | None, cursor: str | None, limit: int) -> Object:
    """One shape in every filter, neither type nor topics: mixed shapes made nodes before 27.1.1 miss events."""
    groups = [contracts[at : at + _CONTRACTS_PER_FILTER] for at in range(0, len(contracts), _CONTRACTS_PER_FILTER)]
    pagination: Object = {"limit": limit}
    params: Object = {"filters": [{"contractIds": group} for group in groups], "pagination": pagination}
    if cursor is not None:
        pagination["cursor"] = cursor
    else:
        params["startLedger"] = start_ledger
    return params


def read(
    result: Object, *, node: str, contracts: Collection[str], start_ledger: int | None, cursor: str | None
) -> answers.EventPage:
    """The page that begins at `start_ledger` or behind `cursor`, one of which is given.

    Raises Failed when the node does not hold the ledger at which the page begins: some providers answer such a request with an
    empty page instead of the range error, and their cursor means nothing.
    """
    held = answers.held_range(result)
    after = cursor if cursor is not None else position.end_of((start_ledger or 1) - 1)
    first = start_ledger if start_ledger is not None else position.ledger_of(after)
    if first not in held:
        words = f"it answers for ledger {first}, and holds {held.oldest} to {held.latest}"
        raise Failed(Fault.OUT_OF_RANGE, words, held=held)
    events = tuple(_events(wire.array(result, "events"), contracts, after))
    through = wire.position(result, "cursor")
    _check_cursor(through, after=after, last=events[-1].id if events else after, latest=held.latest)
    return answers.EventPage(
        events=events,
        cursor=through,
        latest_ledger=held.latest,
        oldest_ledger=held.oldest,
        latest_close_time=wire.unix_seconds(result, "latestLedgerCloseTime"),
        oldest_close_time=wire.unix_seconds(result, "oldestLedgerCloseTime"),
        node=node,
    )


def _check_cursor(through: str, *, after: str, last: str, latest: int) -> None:
    """The cursor is the proof of what was scanned, so it must be one that an honest scan can end at."""
    if through < last:
        raise Malformed("cursor", f"{through} lies before {last}, which the page has passed")
    if position.ledger_of(through) > latest:
        raise Malformed("cursor", f"{through} lies behind the latest ledger, {latest}")
    if through == after and position.complete_ledger(after) < latest:
        raise Malformed("cursor", f"{through} did not move, though ledger {latest} is there to scan")


def _events(items: list[object], contracts: Collection[str], after: str) -> list[Event]:
    events = []
    for index, item in enumerate(items):
        try:
            event = _event(wire.record(item, ""), contracts, after)
        except Malformed as malformed:
            raise malformed.inside(f"events[{index}]") from None
        after = event.id
        events.append(event)
    return events


def _event(fields: Object, contracts: Collection[str], after: str) -> Event:
    event = Event(
        id=wire.position(fields, "id"),
        type=wire.string(fields, "type"),
        contract=wire.string(fields, "contractId"),
        tx_hash=wire.transaction_hash(fields, "txHash"),
        closed_at=wire.timestamp(fields, "ledgerClosedAt"),
        topics=_topics(fields),
        value=wire.string(fields, "value"),
    )
    if event.id <= after:
        raise Malformed("id", f"{event.id} is not behind {after}")
    if event.contract not in contracts:
        raise Malformed("contractId", f"{wire.brief(event.contract)!r} was not asked for")
    if wire.u32(fields, "ledger") != event.ledger:
        raise Malformed("ledger", f"is not that of the id, {event.ledger}")
    return event


def _topics(fields: Object) -> tuple[str, ...]:
    if fields.get("topic") is None:  # an event without topics comes without the member
        return ()
    topics = wire.array(fields, "topic")
    for index, topic in enumerate(topics):
        if type(topic) is not str:
            raise Malformed(f"topic[{index}]", f"expected a string, found {wire.kind(topic)}")
    return tuple(topic for topic in topics if type(topic) is str)
