"""The reader: one function for the body of each arm, found by the arm's four bytes in one dict.

This is the hot path of indexing and replay, so the loops of Vec and Map look up their elements' arms themselves.
"""

import binascii
import functools
import struct

from shared import errors
from shared.scval import leaves
from shared.scval.leaves import Body, refusal, short, two_words_at, word_at
from shared.scval.values import ARMS, Address, Error, Map, String, Symbol, Value, ascending

DEPTH_LIMIT = 128
"""Vecs and Maps within each other. The host itself ends at 100 (DEFAULT_HOST_DEPTH_LIMIT), so whatever a contract can emit is
read; and reading, ranking and comparing that deep stays far from the interpreter's own limit of 1,000 frames."""

_SYSTEM_ARMS = {19: "contract instance", 20: "key of a contract instance", 21: "key of a nonce", 22: "executable tag"}
_SHORT = 64
"""Letters of base64 of a text that is worth remembering: any Symbol and any address, and no more, so that memory is bounded."""
_STRAY_FREE = {1: "AQgw", 2: "AEIMQUYcgkosw048"}
"""The last letters of base64 whose unused bits are zero, by the bytes in the last group."""


def read_base64(text: str) -> Value:
    """The ScVal that base64 text holds, as Stellar RPC gives topics and values; raises Undecodable."""
    return read(from_base64(text))


def read_topic(text: str) -> Value:
    """As `read_base64`, for topics: names and addresses, of which most were read before."""
    return _remembered(text) if len(text) <= _SHORT else read_base64(text)


@functools.lru_cache(maxsize=65_536)
def _remembered(text: str) -> Value:
    """Shared, as values are immutable; what cannot be read is not remembered."""
    return read_base64(text)


def read(data: bytes) -> Value:
    """The one ScVal that is the whole of `data`; raises Undecodable."""
    value, at = value_at(data, 0)
    if at != len(data):
        finish(data, at)
    return value


def from_base64(text: str) -> bytes:
    """The bytes of canonical base64: padded, without blanks, unused bits zero; raises Undecodable."""
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except ValueError as error:
        raise errors.Undecodable(f"not base64: {error}") from None
    if len(text) != (len(data) + 2) // 3 * 4:  # strict_mode lets "AAAA=" pass
        raise errors.Undecodable(f"not canonical base64: {len(text)} characters for {len(data)} bytes")
    tail = len(data) % 3
    if tail and text[tail - 4] not in _STRAY_FREE[tail]:
        raise errors.Undecodable("not canonical base64: unused bits are set")
    return data


def value_at(data: bytes, at: int, depth: int = DEPTH_LIMIT) -> tuple[Value, int]:
    """The ScVal at `at` and the position behind it; raises Undecodable."""
    body = _BODIES.get(data[at : at + 4])
    if body is None:
        raise _unknown(data, at)
    return body(data, at + 4, depth)


def map_at(data: bytes, at: int, depth: int = DEPTH_LIMIT) -> tuple[Map, int]:
    """The SCMap behind an optional flag at `at`, which must be there; raises Undecodable."""
    start, at, count = at, at + 8, _count("Map", data, at, depth, least=8)
    keys: list[Value] = []
    values: list[Value] = []
    for _ in range(count):
        body = _BODIES.get(data[at : at + 4])
        if body is None:
            raise _unknown(data, at)
        key, at = body(data, at + 4, depth - 1)
        body = _BODIES.get(data[at : at + 4])
        if body is None:
            raise _unknown(data, at)
        value, at = body(data, at + 4, depth - 1)
        keys.append(key)
        values.append(value)
    if not ascending(keys):
        raise refusal("Map", start, "keys out of the host's order, or one twice")
    return Map(zip(keys, values, strict=True)), at


def finish(data: bytes, at: int) -> None:
    """Raises Undecodable unless `at` is the end."""
    if at != len(data):
        raise errors.Undecodable(f"{len(data) - at} bytes too many behind byte {at}")


def _vec(data: bytes, at: int, depth: int) -> tuple[tuple[Value, ...], int]:
    count = _count("Vec", data, at, depth, least=4)
    at += 8
    values: list[Value] = []
    for _ in range(count):
        body = _BODIES.get(data[at : at + 4])
        if body is None:
            raise _unknown(data, at)
        value, at = body(data, at + 4, depth - 1)
        values.append(value)
    return tuple(values), at


def _count(what: str, data: bytes, at: int, depth: int, *, least: int) -> int:
    """The number of elements of at least `least` bytes each."""
    try:
        present, count = two_words_at(data, at)
    except struct.error:
        raise short(what, data, at, 8) from None
    if present != 1:
        raise refusal(what, at, f"flag {present} where contracts have 1, for present")
    if count * least > len(data) - at - 8:
        raise refusal(what, at + 4, f"{count} elements in {len(data) - at - 8} bytes")
    if depth <= 0:
        raise refusal(what, at, f"more than {DEPTH_LIMIT} levels deep")
    return int(count)


def _unknown(data: bytes, at: int) -> errors.Undecodable:
    if at + 4 > len(data):
        return short("ScVal", data, at, 4)
    (arm,) = word_at(data, at)
    return refusal("ScVal", at, f"arm {arm} ({_SYSTEM_ARMS.get(arm, 'unknown')}) is not read here")


_KINDS: dict[type, Body] = {
    bool: leaves.boolean,
    type(None): leaves.void,
    Error: leaves.error,
    **leaves.INTEGERS,
    bytes: leaves.opaque,
    String: leaves.string,
    Symbol: leaves.symbol,
    tuple: _vec,
    Map: map_at,
    Address: leaves.address,
}
_BODIES: dict[bytes, Body] = {ARMS[kind].to_bytes(4, "big"): body for kind, body in _KINDS.items()}
"""By the four bytes of the arm. The further arms are the system's own, and stand in ledger entries only."""
