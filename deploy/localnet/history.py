"""A recorded history: what happened on the chain, ledger by ledger.

A recording is JSON Lines, plain or gzipped: a header, then transactions in chain order (`kind` `tx` for the contracts' own,
`other` for those of other people). Only an index is kept in memory; transactions are read from the file when they are asked for.
"""

import contextlib
import gzip
import shutil
import tempfile
import zlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, NotRequired, Self, TypedDict, cast

import orjson

from deploy.localnet import toid, xdrtext
from shared import errors

_ENTRIES_OF_A_TRANSACTION = 1 << 16
_CACHED_TRANSACTIONS = 1024
_CURE = "Name a .jsonl or .jsonl.gz recording."
SECONDS_PER_LEDGER = 5
# Ids, events and metadata are served as Protocol 23 and later have them, whatever protocol the contracts ran under.
SERVED_PROTOCOL = 28


class Account(TypedDict):
    address: str


class Entry(TypedDict):
    """A ledger entry as a transaction left it. `xdr` is LedgerEntryData; classic entries have no live-until."""

    key: str
    xdr: str
    lastModifiedLedgerSeq: int
    liveUntilLedgerSeq: NotRequired[int]


class Event(TypedDict):
    """An event as getEvents returns it; `topic` is missing when there is none."""

    type: str
    ledger: int
    ledgerClosedAt: str
    contractId: str
    id: str
    operationIndex: int
    transactionIndex: int
    txHash: str
    inSuccessfulContractCall: NotRequired[bool]
    topic: NotRequired[list[str]]
    value: str


class Header(TypedDict):
    """Line 1. `previousLedgerHash` (hex) is the hash of the ledger before the first, where it is known."""

    scenario: str
    contracts: dict[str, str]
    accounts: dict[str, Account]
    networkPassphrase: str
    protocol: int
    servedAsProtocol: NotRequired[int]
    startLedger: int
    startClosedAt: int
    genesisEntries: list[Entry]
    previousLedgerHash: NotRequired[str]


class Transaction(TypedDict):
    """A transaction. `txOrder` is 1-based; a failed one has neither events nor entries, but for fee events."""

    kind: str
    ledger: int
    txOrder: int
    closedAt: int
    txHash: str
    status: str
    source: NotRequired[str]
    contractId: NotRequired[str]
    function: NotRequired[str]
    args_xdr: NotRequired[list[str]]
    returnValue: NotRequired[str]
    events: NotRequired[list[Event]]
    entries: NotRequired[list[Entry]]
    feeBump: NotRequired[bool]
    innerTxHash: NotRequired[str]
    envelopeXdr: NotRequired[str]
    resultXdr: NotRequired[str]
    resultMetaXdr: NotRequired[str]


class EventRef(NamedTuple):
    """Where an event's text is: the number of its transaction, and its place in it. They compare as the chain is ordered."""

    position: int
    number: int
    transaction: int
    place: int


class History:
    """A recording, opened. Close it, or use it as a context manager.

    Raises SettingError when the file is missing, or is no recording.
    """

    def __init__(self, path: Path) -> None:
        self._file = _open(path)
        self._offsets = array("Q")
        self._ledgers = array("I")
        self._orders = array("I")
        self._numbers: dict[bytes, int] = {}
        self._versions: dict[bytes, array[int]] = {}
        self._events: list[EventRef] = []
        try:
            self.header = self._index()
        except (KeyError, TypeError, ValueError) as error:
            self._file.close()
            raise errors.SettingError(f"{path} is not a recorded history: {error!r}", cure=_CURE) from error
        self.transaction = lru_cache(maxsize=_CACHED_TRANSACTIONS)(self._read)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    @property
    def first_ledger(self) -> int:
        return self.header["startLedger"]

    @property
    def protocol(self) -> int:
        """The protocol version of its ledgers, as a node says it."""
        return self.header.get("servedAsProtocol", SERVED_PROTOCOL)

    @property
    def last_ledger(self) -> int:
        """The last ledger that holds a transaction of the recording."""
        return self._busy[-1]

    def transactions(self, ledger: int) -> list[Transaction]:
        """The transactions of one ledger, in the order they were applied."""
        first, end = bisect_left(self._ledgers, ledger), bisect_right(self._ledgers, ledger)
        return [self.transaction(number) for number in range(first, end)]

    def numbers_from(self, ledger: int, order: int, latest: int) -> Iterator[int]:
        """The numbers of the transactions at or behind a position, up to the end of a ledger."""
        first, end = bisect_left(self._ledgers, ledger), bisect_right(self._ledgers, latest)
        return (n for n in range(first, end) if self._ledgers[n] > ledger or self._orders[n] >= order)

    def number_of(self, tx_hash: bytes) -> int | None:
        """The number of the transaction with this hash (of a fee bump, the outer or the inner one)."""
        return self._numbers.get(tx_hash)

    def ledger_of(self, number: int) -> int:
        return self._ledgers[number]

    def next_busy_ledger(self, ledger: int) -> int | None:
        """The first ledger after this one that holds a transaction."""
        at = bisect_right(self._busy, ledger)
        return self._busy[at] if at < len(self._busy) else None

    def event_refs(self, first: toid.EventId, end_ledger: int) -> Iterator[EventRef]:
        """The events from an id on, before the given ledger, in chain order."""
        at = bisect_left(self._events, (first.toid, first.index))
        while at < len(self._events) and toid.ledger_of(self._events[at].position) < end_ledger:
            yield self._events[at]
            at += 1

    def event(self, ref: EventRef) -> Event:
        return self.transaction(ref.transaction)["events"][ref.place]

    def entry(self, key: bytes, ledger: int) -> Entry | None:
        """The newest version of an entry written at or before the ledger."""
        versions = self._versions.get(key)
        if versions is None or ledger < self.first_ledger:
            return None
        written = bisect_right(self._ledgers, ledger)
        at = bisect_left(versions, (written + 1) * _ENTRIES_OF_A_TRANSACTION)
        if at == 0:
            return None
        number, place = divmod(versions[at - 1], _ENTRIES_OF_A_TRANSACTION)
        return self.header["genesisEntries"][place] if number == 0 else self.transaction(number - 1)["entries"][place]

    def closed_at(self, ledger: int) -> int:
        """When a ledger closed, in unix seconds; of an empty ledger interpolated between its busy neighbours."""
        at = bisect_right(self._busy, ledger) - 1
        if at < 0:
            return self.header["startClosedAt"] + (ledger - self.first_ledger) * SECONDS_PER_LEDGER
        before, closed = self._busy[at], self._closed[at]
        if at + 1 == len(self._busy):
            return closed + (ledger - before) * SECONDS_PER_LEDGER
        return closed + (ledger - before) * (self._closed[at + 1] - closed) // (self._busy[at + 1] - before)

    def _read(self, number: int) -> Transaction:
        self._file.seek(self._offsets[number])
        return cast(Transaction, orjson.loads(self._file.readline()))

    def _index(self) -> Header:
        header = cast(Header, orjson.loads(self._file.readline()))
        self._busy = [header["startLedger"]]
        self._closed = [header["startClosedAt"]]
        for place, entry in enumerate(header["genesisEntries"]):
            self._add_version(entry, number=0, place=place)
        offset = self._file.tell()
        for line in self._file:
            if not line.isspace():
                self._add(cast(Transaction, orjson.loads(line)), offset)
            offset += len(line)
        self._events.sort()
        return header

    def _add(self, transaction: Transaction, offset: int) -> None:
        number, position = len(self._offsets), (transaction["ledger"], transaction["txOrder"])
        before = (self._ledgers[-1], self._orders[-1]) if number else (self._busy[0], 0)
        if position <= before:
            raise ValueError(f"transactions are not in chain order at {position}")
        self._offsets.append(offset)
        self._ledgers.append(position[0])
        self._orders.append(position[1])
        self._numbers[bytes.fromhex(transaction["txHash"])] = number
        if "innerTxHash" in transaction:
            self._numbers[bytes.fromhex(transaction["innerTxHash"])] = number
        if position[0] != self._busy[-1]:
            self._busy.append(position[0])
            self._closed.append(transaction["closedAt"])
        for place, event in enumerate(transaction.get("events", ())):
            event_id = toid.parse_event_id(event["id"])
            self._events.append(EventRef(event_id.toid, event_id.index, number, place))
        for place, entry in enumerate(transaction.get("entries", ())):
            self._add_version(entry, number=number + 1, place=place)

    def _add_version(self, entry: Entry, *, number: int, place: int) -> None:
        key = xdrtext.plain_bytes(entry["key"])
        self._versions.setdefault(key, array("Q")).append(number * _ENTRIES_OF_A_TRANSACTION + place)


def _open(path: Path) -> BinaryIO:
    """The recording as a file that can be read anywhere; a packed one is unpacked to a temporary file."""
    try:
        return _unpacked(path) if path.suffix == ".gz" else path.open("rb")
    except (OSError, EOFError, zlib.error) as error:
        raise errors.SettingError(f"{path} cannot be read: {error}", cure=_CURE) from error


def _unpacked(path: Path) -> BinaryIO:
    with contextlib.ExitStack() as undone:
        unpacked = cast(BinaryIO, undone.enter_context(tempfile.TemporaryFile()))
        with gzip.open(path) as packed:
            shutil.copyfileobj(packed, unpacked)
        unpacked.seek(0)
        undone.pop_all()  # it is whole: the history closes it
        return unpacked
