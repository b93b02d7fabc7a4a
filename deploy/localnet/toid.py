"""Positions as Stellar RPC writes them: TOIDs, and event ids, which double as cursors.

A TOID is `ledger << 32 | transaction order << 12 | operation`; an event id is `"%019d-%010d"` of a TOID and an event index.
"""

import re
from dataclasses import dataclass

MAX_ORDER = (1 << 20) - 1
MAX_OPERATION = (1 << 12) - 1
MAX_INDEX = (1 << 32) - 1
_INT64 = (-(1 << 63), (1 << 63) - 1)
_SIGNED = re.compile(r"[+-]?[0-9]+\Z")
_UNSIGNED = re.compile(r"[0-9]+\Z")


def pack(ledger: int, order: int, operation: int) -> int:
    """The TOID of an operation."""
    return ledger << 32 | order << 12 | operation


def ledger_of(toid: int) -> int:
    return toid >> 32


def order_of(toid: int) -> int:
    return toid >> 12 & MAX_ORDER


@dataclass(frozen=True, slots=True, order=True)
class EventId:
    """Where an event stands in the chain. Ids compare as the chain is ordered."""

    toid: int
    index: int

    @property
    def ledger(self) -> int:
        return ledger_of(self.toid)

    def __str__(self) -> str:
        return f"{self.toid:019d}-{self.index:010d}"

    def following(self) -> "EventId":
        """The least id that a page behind this cursor may hold. The index wraps at 32 bits, as the server's does."""
        return EventId(self.toid, self.index + 1 & MAX_INDEX)


def end_of_ledger(ledger: int) -> EventId:
    """The cursor that says: everything up to the end of this ledger was scanned."""
    return EventId(pack(ledger, MAX_ORDER, MAX_OPERATION), MAX_INDEX)


def parse_event_id(text: str) -> EventId:
    """Read a cursor. Raises ValueError with the server's own words."""
    parts = text.split("-", 1)
    if len(parts) != 2:
        raise ValueError(f"invalid event id {text}")
    try:
        return EventId(parse_int64(parts[0]), parse_uint32(parts[1]))
    except ValueError as error:
        raise ValueError(f"invalid event id {text}: {error}") from None


def parse_int64(text: str) -> int:
    """A decimal 64-bit integer. Raises ValueError with the server's own words."""
    if not _SIGNED.match(text):
        raise ValueError(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    value = int(text) if len(text) < 100 else _INT64[1] + 1
    if not _INT64[0] <= value <= _INT64[1]:
        raise ValueError(f'strconv.ParseInt: parsing "{text}": value out of range')
    return value


def parse_uint32(text: str) -> int:
    """A decimal 32-bit unsigned integer. Raises ValueError with the server's own words."""
    if not _UNSIGNED.match(text):
        raise ValueError(f'strconv.ParseUint: parsing "{text}": invalid syntax')
    value = int(text) if len(text) < 100 else MAX_INDEX + 1
    if value > MAX_INDEX:
        raise ValueError(f'strconv.ParseUint: parsing "{text}": value out of range')
    return value
