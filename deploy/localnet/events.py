"""getEvents: filters, the scan window, pages and their cursors."""

from typing import TypedDict, cast

from stellar_sdk import StrKey, xdr

from deploy.localnet import chain, history, rpcerrors, toid, xdrtext
from deploy.localnet.shapes import Record, Sequence, Text, Unsigned, decode

SCAN_WINDOW = 10_000
DEFAULT_LIMIT = 100
MAX_LIMIT = 10_000
MAX_FILTERS = 5
MAX_CONTRACTS = 5
MAX_TOPICS = 5
MAX_SEGMENTS = 4
ANY = "*"
REST = "**"


class Filter(TypedDict, total=False):
    """Topic segments are `*`, `**` or canonical base64."""

    type: frozenset[str]
    contractIds: list[str]
    topics: list[list[str]]


class Pagination(TypedDict, total=False):
    cursor: toid.EventId
    limit: int


class Request(TypedDict, total=False):
    startLedger: int
    endLedger: int
    filters: list[Filter]
    pagination: Pagination
    xdrFormat: str


def _types(text: str) -> frozenset[str]:
    return frozenset(text.split(",")) if text else frozenset()


def _segment(text: str) -> str:
    return text if text in (ANY, REST) else xdrtext.canonical_scval(text)


SHAPE = Record(
    "protocol.GetEventsRequest",
    {
        "startLedger": Unsigned(32, "uint32"),
        "endLedger": Unsigned(32, "uint32"),
        "filters": Sequence(
            Record(
                "protocol.EventFilter",
                {
                    "type": Text(parse=_types, parses_null=True),
                    "contractIds": Sequence(Text(), "[]string"),
                    "topics": Sequence(
                        Sequence(Text(parse=_segment, parses_null=True), "protocol.TopicFilter"),
                        "[]protocol.TopicFilter",
                    ),
                },
            ),
            "[]protocol.EventFilter",
        ),
        "pagination": Record(
            "protocol.PaginationOptions", {"cursor": Text(parse=toid.parse_event_id), "limit": Unsigned(64, "uint")}
        ),
        "xdrFormat": Text(),
    },
)


def get_events(params: object, view: chain.View) -> dict[str, object]:
    """A page of events. The checks come in the server's order: types, format, start, limit, filters, and the range last."""
    request = cast(Request, decode(params, SHAPE))
    form = xdrtext.checked_form(request.get("xdrFormat", ""))
    cursor = _checked_cursor(request)
    limit = request.get("pagination", {}).get("limit", 0)
    if limit > MAX_LIMIT:
        raise rpcerrors.invalid_params(f"limit must not exceed {MAX_LIMIT}")
    filters = _checked_filters(request.get("filters", []))
    held = view.range()
    start = cursor.ledger if cursor else request["startLedger"]
    if start not in held and not view.lenient:
        raise rpcerrors.invalid_request(f"startLedger must be within the ledger range: {held.oldest} - {held.latest}")
    end = min(start + SCAN_WINDOW, held.latest + 1, request.get("endLedger", 0) or held.latest + 1)
    first = cursor.following() if cursor else toid.EventId(toid.pack(start, 0, 0), 0)
    first = max(first, toid.EventId(toid.pack(view.rows_from, 0, 0), 0))
    limit = limit or DEFAULT_LIMIT
    page = _matching(view.history, first=first, end=end, filters=filters, limit=limit) if start in held else []
    full = len(page) == limit
    return {
        "events": [_rendered(event, form) for event in page],
        "cursor": page[-1]["id"] if full else str(toid.end_of_ledger(end - 1)),
        "latestLedger": held.latest,
        "oldestLedger": held.oldest,
        "latestLedgerCloseTime": str(held.latest_closed_at),
        "oldestLedgerCloseTime": str(held.oldest_closed_at),
    }


def _checked_cursor(request: Request) -> toid.EventId | None:
    cursor = request.get("pagination", {}).get("cursor")
    if cursor is None:
        if not request.get("startLedger"):
            raise rpcerrors.invalid_params("startLedger must be positive")
        return None
    if request.get("startLedger") or request.get("endLedger"):
        raise rpcerrors.invalid_params("ledger ranges and cursor cannot both be set")
    return cursor


def _checked_filters(filters: list[Filter]) -> list[Filter]:
    if len(filters) > MAX_FILTERS:
        raise rpcerrors.invalid_params(f"maximum {MAX_FILTERS} filters per request")
    for number, one in enumerate(filters, start=1):
        fault = _filter_fault(one)
        if fault:
            raise rpcerrors.invalid_params(f"filter {number} invalid: {fault}")
    return filters


def _filter_fault(one: Filter) -> str | None:
    if one.get("type", frozenset()) - {"contract", "system"}:
        return "filter type invalid: if set, type must be either 'system' or 'contract'"
    contracts, topics = one.get("contractIds", []), one.get("topics", [])
    if len(contracts) > MAX_CONTRACTS:
        return f"maximum {MAX_CONTRACTS} contract IDs per filter"
    if len(topics) > MAX_TOPICS:
        return f"maximum {MAX_TOPICS} topics per filter"
    for number, contract in enumerate(contracts, start=1):
        if not StrKey.is_valid_contract(contract):
            return f"contract ID {number} invalid"
    for number, segments in enumerate(topics, start=1):
        fault = _topic_fault(segments)
        if fault:
            return f"topic {number} invalid: {fault}"
    return None


def _topic_fault(segments: list[str]) -> str | None:
    if not segments:
        return "topic must have at least 1 segment"
    if len(segments) - (segments[-1] == REST) > MAX_SEGMENTS:
        return f"topic cannot have more than {MAX_SEGMENTS} segments"
    if REST in segments[:-1]:
        return f"segment {segments.index(REST) + 1} invalid: wildcard '**' is only allowed as the last segment"
    return None


def _matching(
    recording: history.History, *, first: toid.EventId, end: int, filters: list[Filter], limit: int
) -> list[history.Event]:
    page: list[history.Event] = []
    for ref in recording.event_refs(first, end):
        event = recording.event(ref)
        if not filters or any(matches(one, event) for one in filters):
            page.append(event)
            if len(page) == limit:
                break
    return page


def matches(one: Filter, event: history.Event) -> bool:
    """Whether an event passes a filter: type, contract and topics, each only if the filter names any."""
    types, contracts, topics = one.get("type"), one.get("contractIds"), one.get("topics")
    return (
        (not types or event["type"] in types)
        and (not contracts or event["contractId"] in contracts)
        and (not topics or any(_topic_matches(segments, event.get("topic", [])) for segments in topics))
    )


def _topic_matches(segments: list[str], topic: list[str]) -> bool:
    exact = segments
    if segments[-1] == REST:
        exact, topic = segments[:-1], topic[: len(segments) - 1]
    return len(exact) == len(topic) and all(wanted in (ANY, given) for wanted, given in zip(exact, topic, strict=True))


def _rendered(event: history.Event, form: xdrtext.Form) -> dict[str, object]:
    rendered: dict[str, object] = {name: value for name, value in event.items() if name not in ("topic", "value")}
    suffix = "Json" if form is xdrtext.Form.JSON else ""
    if event.get("topic"):
        rendered[f"topic{suffix}"] = [xdrtext.shown(segment, xdr.SCVal, form) for segment in event["topic"]]
    rendered[f"value{suffix}"] = xdrtext.shown(event["value"], xdr.SCVal, form)
    return rendered
