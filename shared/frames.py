"""Frames: the records of the topic, and the only way into the authoritative tables.

    {v, network, scope, kind, …}
      origin        contracts, through             first record of a partition: this scope begins behind `through`. A further
                                                   one names more contracts: from there on they are read as well
      live, fill    after, through, closedAt?,     one scanned page: (after, through] holds exactly these events
                    events, contracts?             (of these contracts alone, where a fill names some)
      gap           after, through, reason         this range can no longer be had from any configured node
      observation   latestLedger, entries          an answer of getLedgerEntries
      closed        after, through, ledger,        this range is superseded by the observations before this record:
                    contracts?                     they tell the whole state as of the ledger

Events and entries stand as Stellar RPC names their fields, XDR verbatim, so a decoder's mistake is mended by replay. A record
that is not valid stops the worker: to skip it would claim a coverage that nothing proves.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, TypeVar

import orjson

from shared import errors, members, position

VERSION = 1
FRAME_BYTES = 64 * 1024
"""Frames are cut here; a single event or entry may be larger, up to the topic's message limit."""

PageKind = Literal["live", "fill"]


class Event(NamedTuple):
    """A contract or system event, as getEvents says it; topics and value are base64 XDR."""

    id: str
    type: str
    contract: str
    tx_hash: str
    closed_at: str
    topics: tuple[str, ...]
    value: str

    @property
    def ledger(self) -> int:
        return position.ledger_of(self.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A ledger entry as getLedgerEntries says it, or its absence (`xdr` None). `live_until` 0 means archived or unknown."""

    key: str
    xdr: str | None
    last_modified: int | None = None
    live_until: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    network: str
    scope: str
    contracts: tuple[str, ...]
    through: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """`closed_at` (unix seconds) is the close of the ledger that `through` ends, where the answer told it.

    `contracts` are those that were asked; None stands for all of the scope.
    """

    network: str
    scope: str
    kind: PageKind
    after: str
    through: str
    events: tuple[Event, ...] = ()
    closed_at: int | None = None
    contracts: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    network: str
    scope: str
    after: str
    through: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    network: str
    scope: str
    latest_ledger: int
    entries: tuple[Entry, ...] = field(default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """The range is superseded by state: what the contracts (None: all of the scope) held as of `ledger` was observed."""

    network: str
    scope: str
    after: str
    through: str
    ledger: int
    contracts: tuple[str, ...] | None = None


Frame = Origin | Page | Gap | Observation | Closed
T = TypeVar("T")


def encode(frame: Frame) -> bytes:
    """The record's value: compact JSON, members in a fixed order."""
    head: dict[str, Any] = {"v": VERSION, "network": frame.network, "scope": frame.scope}
    match frame:
        case Origin():
            body: dict[str, Any] = {"kind": "origin", "contracts": frame.contracts, "through": frame.through}
        case Page():
            body = {"kind": frame.kind, "after": frame.after, "through": frame.through}
            if frame.closed_at is not None:
                body["closedAt"] = frame.closed_at
            if frame.contracts is not None:
                body["contracts"] = frame.contracts
            body["events"] = [event_to_wire(event) for event in frame.events]
        case Gap():
            body = {"kind": "gap", "after": frame.after, "through": frame.through, "reason": frame.reason}
        case Observation():
            body = {"kind": "observation", "latestLedger": frame.latest_ledger}
            body["entries"] = [entry_to_wire(entry) for entry in frame.entries]
        case Closed():
            body = {"kind": "closed", "after": frame.after, "through": frame.through, "ledger": frame.ledger}
            if frame.contracts is not None:
                body["contracts"] = frame.contracts
    return orjson.dumps(head | body)


def decode(data: bytes | None, *, network: str) -> Frame:
    """The frame of a record; raises FrameInvalid, which names the member, when it is none or of another network."""
    try:
        parsed = orjson.loads(data or b"")
    except orjson.JSONDecodeError as error:
        raise errors.FrameInvalid(f"a record that is no JSON: {error}") from None
    record = members.expect(parsed, "record", dict)
    if (version := members.member(record, "v", int)) != VERSION:
        raise errors.FrameInvalid(f"a frame of version {version}; this version of chaintrue reads {VERSION}")
    if (found := members.text(record, "network")) != network:
        raise errors.FrameInvalid(
            f"a frame of the network {found!r} in the topic of {network!r}",
            cure="set CHAINTRUE_NETWORK__PASSPHRASE and CHAINTRUE_KAFKA__TOPIC to what belongs together",
        )
    return _decode(record)


def _decode(record: dict[str, Any]) -> Frame:
    head = {"network": record["network"], "scope": members.text(record, "scope")}
    match members.text(record, "kind"):
        case "origin":
            through = _position(record, "through")
            return Origin(**head, contracts=members.texts(record, "contracts"), through=through)
        case "live" | "fill" as kind:
            return _decode_page(kind, head, record)
        case "gap":
            after, through = _range(record)
            return Gap(**head, after=after, through=through, reason=members.text(record, "reason"))
        case "observation":
            entries = tuple(entry_from_wire(entry) for entry in members.objects(record, "entries"))
            return Observation(**head, latest_ledger=members.ledger(record, "latestLedger"), entries=entries)
        case "closed":
            after, through = _range(record)
            ledger = members.ledger(record, "ledger")
            return Closed(**head, after=after, through=through, ledger=ledger, contracts=_contracts(record))
        case other:
            raise errors.FrameInvalid(f"a frame of the unknown kind {other!r}")


def _decode_page(kind: PageKind, head: dict[str, str], record: dict[str, Any]) -> Page:
    after, through = _range(record)
    events = tuple(event_from_wire(event) for event in members.objects(record, "events"))
    last = after
    for event in events:
        if not last < event.id <= through:
            raise errors.FrameInvalid(f"event {event.id} is out of order or outside of ({after}, {through}]")
        last = event.id
    closed_at = members.optional_number(record, "closedAt")
    contracts = _contracts(record)
    return Page(
        **head, kind=kind, after=after, through=through, events=events, closed_at=closed_at, contracts=contracts
    )


def _contracts(record: dict[str, Any]) -> tuple[str, ...] | None:
    return members.texts(record, "contracts") if "contracts" in record else None


def _range(record: dict[str, Any]) -> tuple[str, str]:
    after, through = _position(record, "after"), _position(record, "through")
    if after > through:
        raise errors.FrameInvalid(f"a range that ends before it begins: ({after}, {through}]")
    return after, through


def _position(record: dict[str, Any], name: str) -> str:
    return position.check(members.text(record, name))


def event_to_wire(event: Event) -> dict[str, Any]:
    return {
        "id": event.id,
        "type": event.type,
        "contractId": event.contract,
        "txHash": event.tx_hash,
        "ledgerClosedAt": event.closed_at,
        "topic": event.topics,
        "value": event.value,
    }


def event_from_wire(record: dict[str, Any]) -> Event:
    """The event of an object with RPC's member names; raises FrameInvalid."""
    return Event(
        id=_position(record, "id"),
        type=members.text(record, "type"),
        contract=members.text(record, "contractId"),
        tx_hash=members.text(record, "txHash"),
        closed_at=members.text(record, "ledgerClosedAt"),
        topics=members.texts(record, "topic") if "topic" in record else (),
        value=members.text(record, "value"),
    )


def entry_to_wire(entry: Entry) -> dict[str, Any]:
    return {
        "key": entry.key,
        "xdr": entry.xdr,
        "lastModifiedLedgerSeq": entry.last_modified,
        "liveUntilLedgerSeq": entry.live_until,
    }


def entry_from_wire(record: dict[str, Any]) -> Entry:
    """The entry of an object with RPC's member names; raises FrameInvalid."""
    return Entry(
        key=members.text(record, "key"),
        xdr=members.optional_text(record, "xdr"),
        last_modified=members.optional_number(record, "lastModifiedLedgerSeq"),
        live_until=members.optional_number(record, "liveUntilLedgerSeq"),
    )


def cut(page: Page, *, limit: int = FRAME_BYTES) -> Iterator[Page]:
    """The page in frames of at most `limit` bytes: all but the last end at their last event, the last at the page's end."""
    after = page.after
    room = limit - len(encode(replace(page, events=())))
    for piece, is_last in _pieces(page.events, _event_bytes, room=room):
        through = page.through if is_last else piece[-1].id
        closed_at = page.closed_at if is_last else None
        yield replace(page, after=after, through=through, events=piece, closed_at=closed_at)
        after = through


def cut_entries(observation: Observation, *, limit: int = FRAME_BYTES) -> Iterator[Observation]:
    """The observation in frames of at most `limit` bytes."""
    room = limit - len(encode(replace(observation, entries=())))
    for piece, _ in _pieces(observation.entries, _entry_bytes, room=room):
        yield replace(observation, entries=piece)


def _pieces(items: Sequence[T], weigh: Callable[[T], int], *, room: int) -> Iterator[tuple[tuple[T, ...], bool]]:
    piece: list[T] = []
    size = 0
    for item in items:
        weight = weigh(item) + 1  # the comma before the next one
        if piece and size + weight > room:
            yield tuple(piece), False
            piece, size = [], 0
        piece.append(item)
        size += weight
    yield tuple(piece), True


def _event_bytes(event: Event) -> int:
    return len(orjson.dumps(event_to_wire(event)))


def _entry_bytes(entry: Entry) -> int:
    return len(orjson.dumps(entry_to_wire(entry)))
