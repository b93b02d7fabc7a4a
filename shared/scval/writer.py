"""The writer: canonical XDR of every value that the reader reads, and the same limits.

A value that no contract could hold (an integer out of its range, a Symbol with a blank, a Map out of order) is a caller's
mistake: ValueError, or TypeError for a type that is no ScVal.
"""

import base64
import re
from collections.abc import Callable
from typing import Any

from shared.scval.reader import DEPTH_LIMIT
from shared.scval.values import (
    ARMS,
    I32,
    I64,
    I128,
    I256,
    U32,
    U64,
    U128,
    U256,
    Address,
    Duration,
    Error,
    Map,
    String,
    Symbol,
    Timepoint,
    Value,
    address_bytes,
    ascending,
)

_SYMBOL = re.compile(r"[A-Za-z0-9_]{0,32}")
_INTEGERS: dict[type, tuple[int, bool]] = {
    U32: (4, False),
    I32: (4, True),
    U64: (8, False),
    I64: (8, True),
    Timepoint: (8, False),
    Duration: (8, False),
    U128: (16, False),
    I128: (16, True),
    U256: (32, False),
    I256: (32, True),
}
"""Bytes, and whether signed."""


def write(value: Value) -> bytes:
    """The XDR of one ScVal; raises ValueError or TypeError."""
    out = bytearray()
    put(value, out)
    return bytes(out)


def write_base64(value: Value) -> str:
    """As `write`, in the base64 that Stellar RPC speaks."""
    return base64.b64encode(write(value)).decode()


def put(value: Value, out: bytearray, depth: int = DEPTH_LIMIT) -> None:
    """Appends one ScVal to `out`."""
    kind = type(value)
    if kind not in ARMS:
        raise TypeError(f"{kind.__name__} is no ScVal: it does not say which one")
    out += word(ARMS[kind])
    if kind in _INTEGERS:
        size, signed = _INTEGERS[kind]
        put_integer(value, out, size=size, signed=signed)  # type: ignore[arg-type]  # of an integer's type by the line above
    elif kind in _BODIES:
        _BODIES[kind](value, out, depth)


def word(number: int) -> bytes:
    """An unsigned integer of 32 bits, which is also how XDR writes arms, flags and lengths."""
    return number.to_bytes(4, "big")


def put_map(value: Map, out: bytearray, depth: int = DEPTH_LIMIT) -> None:
    """Appends the body of a Map, with its flag."""
    if not ascending([key for key, _ in value]):
        raise ValueError("keys of a Map must ascend in the host's order, none twice")
    _put_count(len(value), out, depth)
    for key, entry in value:
        put(key, out, depth - 1)
        put(entry, out, depth - 1)


def put_integer(value: int, out: bytearray, *, size: int, signed: bool) -> None:
    """Appends an integer of `size` bytes."""
    try:
        out += value.to_bytes(size, "big", signed=signed)
    except OverflowError:
        raise ValueError(f"{int(value)} is out of the range of {type(value).__name__}") from None


def _put_bool(value: bool, out: bytearray, _depth: int) -> None:
    out += word(value)


def _put_error(value: Error, out: bytearray, _depth: int) -> None:
    kind, code = value
    if not (0 <= kind <= 9 and 0 <= code <= (9 if kind else 2**32 - 1)):
        raise ValueError(f"{value} is unknown")
    out += word(kind) + word(code)


def _put_opaque(value: bytes, out: bytearray, _depth: int) -> None:
    out += word(len(value)) + value + bytes(-len(value) % 4)


def _put_symbol(value: Symbol, out: bytearray, depth: int) -> None:
    if not _SYMBOL.fullmatch(value):
        raise ValueError(f"{str(value)!r} is no symbol")
    _put_opaque(value.encode(), out, depth)


def _put_vec(value: tuple[Value, ...], out: bytearray, depth: int) -> None:
    _put_count(len(value), out, depth)
    for element in value:
        put(element, out, depth - 1)


def _put_count(count: int, out: bytearray, depth: int) -> None:
    if depth <= 0:
        raise ValueError(f"more than {DEPTH_LIMIT} levels deep")
    out += word(1) + word(count)


def put_address(value: str, out: bytearray, _depth: int = 0) -> None:
    """Appends an SCAddress."""
    out += address_bytes(value)


_BODIES: dict[type, Callable[[Any, bytearray, int], None]] = {
    bool: _put_bool,
    Error: _put_error,
    bytes: _put_opaque,
    String: _put_opaque,
    Symbol: _put_symbol,
    tuple: _put_vec,
    Map: put_map,
    Address: put_address,
}
