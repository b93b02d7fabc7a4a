"""Answers as values: strict readers of `result` objects. They know what was asked, and raise Malformed naming the field.

Keys that nobody knows are ignored, those that newer nodes no longer send are never asked for. Each answer names its `node`.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from shared import position
from shared.frames import Entry, Event
from shared.rpc import wire
from shared.rpc.faults import LedgerRange, Malformed
from shared.rpc.wire import Object


class Ranged(Protocol):
    """An answer that tells what its node holds; close times in unix seconds, None where the node does not tell."""

    @property
    def latest_ledger(self) -> int: ...
    @property
    def oldest_ledger(self) -> int: ...
    @property
    def latest_close_time(self) -> int | None: ...
    @property
    def oldest_close_time(self) -> int | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    passphrase: str
    protocol_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """`protocol_version` is 0 where the node could not tell."""

    version: str
    protocol_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Ledgers inclusive; close times in unix seconds, None on nodes that do not tell."""

    latest_ledger: int
    oldest_ledger: int
    latest_close_time: int | None
    oldest_close_time: int | None
    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What all nodes together hold: from the oldest ledger of any to the newest, inclusive. `silent` are the nodes that gave no
    answer: they may hold more. `foreign` are those that seem to be of another network, which hold nothing of ours."""

    oldest_ledger: int
    latest_ledger: int
    silent: tuple[str, ...]
    foreign: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A node that serves our network. `version` may be empty; `protocol_version` is 0 where the node could not tell."""

    node: str
    version: str
    protocol_version: int
    health: Health


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPage:
    """Every event of the asked contracts from the request's start (a cursor: behind it) up to and including `cursor`.

    Only `cursor` may be advanced to: `latest_ledger` can be far ahead of what one call scans.
    """

    events: tuple[Event, ...]
    cursor: str
    latest_ledger: int
    oldest_ledger: int
    latest_close_time: int
    oldest_close_time: int
    node: str

    @property
    def at_tip(self) -> bool:
        """Whether the node holds nothing behind `cursor` yet."""
        return position.complete_ledger(self.cursor) >= self.latest_ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class EntriesAnswer:
    """The asked entries in one snapshot, that of `latest_ledger`; a key that is not in `entries` is absent there."""

    latest_ledger: int
    entries: Mapping[str, Entry]
    node: str


class TransactionStatus(StrEnum):
    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    NOT_FOUND = "NOT_FOUND"


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """What a node holds of a transaction. NOT_FOUND (then the four None fields are None) is no proof that it never was.

    `envelope_xdr` and `result_xdr` are base64, of the outer transaction where an inner hash was asked for.
    """

    status: TransactionStatus
    ledger: int | None
    created_at: int | None
    envelope_xdr: str | None
    result_xdr: str | None
    latest_ledger: int
    latest_close_time: int
    oldest_ledger: int
    oldest_close_time: int
    node: str


def network(result: Object) -> Network:
    return Network(passphrase=wire.string(result, "passphrase"), protocol_version=wire.u32(result, "protocolVersion"))


def version(result: Object) -> Version:
    return Version(version=wire.string(result, "version"), protocol_version=wire.u32(result, "protocolVersion"))


def health(result: Object, *, node: str) -> Health:
    held = held_range(result)
    if wire.string(result, "status") != "healthy":
        raise Malformed("status", 'expected "healthy"')
    return Health(
        latest_ledger=held.latest,
        oldest_ledger=held.oldest,
        latest_close_time=_optional_seconds(result, "latestLedgerCloseTime"),
        oldest_close_time=_optional_seconds(result, "oldestLedgerCloseTime"),
        node=node,
    )


def entries(result: Object, *, node: str, keys: Collection[str]) -> EntriesAnswer:
    latest = wire.sequence(result, "latestLedger")
    found: dict[str, Entry] = {}
    for index, item in enumerate(wire.array(result, "entries")):
        try:
            entry = _entry(wire.record(item, ""), latest, keys)
            if found.setdefault(entry.key, entry) is not entry:
                raise Malformed("key", f"{wire.brief(entry.key)} is there twice")  # noqa: TRY301 - it gets its place below
        except Malformed as malformed:
            raise malformed.inside(f"entries[{index}]") from None
    return EntriesAnswer(latest_ledger=latest, entries=found, node=node)


def _entry(fields: Object, latest: int, keys: Collection[str]) -> Entry:
    key = wire.string(fields, "key")
    if key not in keys:
        raise Malformed("key", f"{wire.brief(key)} was not asked for")
    last_modified = wire.u32(fields, "lastModifiedLedgerSeq")
    if last_modified > latest:
        raise Malformed("lastModifiedLedgerSeq", f"{last_modified} lies behind the answer's own ledger, {latest}")
    has_end = fields.get("liveUntilLedgerSeq") is not None  # classic entries have none
    return Entry(
        key=key,
        xdr=wire.string(fields, "xdr"),
        last_modified=last_modified,
        live_until=wire.u32(fields, "liveUntilLedgerSeq") if has_end else None,
    )


def transaction(result: Object, *, node: str, tx_hash: str) -> Transaction:
    held = held_range(result)
    word = wire.string(result, "status")
    if word not in set(TransactionStatus):
        raise Malformed("status", f"{wire.brief(word)!r} is none of {', '.join(TransactionStatus)}")
    if result.get("txHash") is not None and wire.string(result, "txHash").lower() != tx_hash:
        raise Malformed("txHash", "is not the one that was asked for")
    found = word != TransactionStatus.NOT_FOUND  # the fields below stand at zero values otherwise
    return Transaction(
        status=TransactionStatus(word),
        ledger=wire.sequence(result, "ledger") if found else None,
        created_at=wire.unix_seconds(result, "createdAt") if found else None,
        envelope_xdr=wire.string(result, "envelopeXdr") if found else None,
        result_xdr=wire.string(result, "resultXdr") if found else None,
        latest_ledger=held.latest,
        latest_close_time=wire.unix_seconds(result, "latestLedgerCloseTime"),
        oldest_ledger=held.oldest,
        oldest_close_time=wire.unix_seconds(result, "oldestLedgerCloseTime"),
        node=node,
    )


def held_range(result: Object) -> LedgerRange:
    """The range in an answer: every method tells it, but for getLedgerEntries."""
    held = LedgerRange(oldest=wire.sequence(result, "oldestLedger"), latest=wire.sequence(result, "latestLedger"))
    if held.oldest > held.latest:
        raise Malformed("oldestLedger", f"{held.oldest} lies behind latestLedger, {held.latest}")
    return held


def _optional_seconds(result: Object, name: str) -> int | None:
    return wire.unix_seconds(result, name) if result.get(name) is not None else None
