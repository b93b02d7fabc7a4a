"""The arms that hold no further ScVal: each from (data, position, depth left) to (value, next position), or Undecodable.

Lengths are held against the bytes that remain before anything is built from them; repeated symbols and addresses come from
bounded caches.
"""

import functools
import re
import struct
from collections.abc import Callable
from typing import TypeAlias

from shared import errors, strkey
from shared.scval.values import (
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
    String,
    Symbol,
    Timepoint,
    Value,
)

Body: TypeAlias = Callable[[bytes, int, int], tuple[Value, int]]

_SYMBOL_LIMIT = 32
_SYMBOL = re.compile(rb"[A-Za-z0-9_]*")
_CONTRACT = b"\0\0\0\1"
_ACCOUNT_ED25519 = b"\0\0\0\0\0\0\0\0"
_ADDRESS_ARMS = {2: "muxed account", 3: "claimable balance", 4: "liquidity pool", 5: "muxed contract"}
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")

word_at = struct.Struct(">I").unpack_from
two_words_at = struct.Struct(">II").unpack_from


def refusal(what: str, at: int, why: object) -> errors.Undecodable:
    """The refusal of what stands at byte `at`."""
    return errors.Undecodable(f"{what} at byte {at}: {why}")


def short(what: str, data: bytes, at: int, size: int) -> errors.Undecodable:
    """The refusal of data that end too early."""
    return refusal(what, at, f"takes {size} bytes, {max(0, len(data) - at)} remain")


def void(_data: bytes, at: int, _depth: int) -> tuple[None, int]:
    return None, at


def boolean(data: bytes, at: int, _depth: int) -> tuple[bool, int]:
    raw = data[at : at + 4]
    if raw == b"\0\0\0\1":
        return True, at + 4
    if raw == b"\0\0\0\0":
        return False, at + 4
    raise refusal("Bool", at, f"{raw.hex() or 'nothing'} is neither 0 nor 1")


def error(data: bytes, at: int, _depth: int) -> tuple[Error, int]:
    try:
        kind, code = two_words_at(data, at)
    except struct.error:
        raise short("Error", data, at, 8) from None
    if kind > 9 or (kind and code > 9):
        raise refusal("Error", at, f"kind {kind} with code {code} is unknown")
    return Error(kind, code), at + 8


def opaque(data: bytes, at: int, _depth: int = 0, *, what: str = "Bytes") -> tuple[bytes, int]:
    """A length, so many bytes, and zeros up to a multiple of four."""
    try:
        length: int = word_at(data, at)[0]
    except struct.error:
        raise short(what, data, at, 4) from None
    start = at + 4
    end = start + length
    padding = _PADDING[length % 4]
    if end + len(padding) > len(data):
        raise short(what, data, start, length + len(padding))
    if data[end : end + len(padding)] != padding:
        raise refusal(what, end, "padding that is not zero")
    return data[start:end], end + len(padding)


def string(data: bytes, at: int, _depth: int) -> tuple[String, int]:
    raw, at = opaque(data, at, what="String")
    return String(raw), at


def symbol(data: bytes, at: int, _depth: int) -> tuple[Symbol, int]:
    try:
        end = at + 4 + (word_at(data, at)[0] + 3 & -4)
    except struct.error:
        raise short("Symbol", data, at, 4) from None
    if end - at > 4 + _SYMBOL_LIMIT:
        raise refusal("Symbol", at, f"length {word_at(data, at)[0]} is over {_SYMBOL_LIMIT}")
    try:
        return symbol_of(data[at:end]), end
    except errors.Undecodable:
        text, _ = opaque(data, at, what="Symbol")  # tells what is wrong with length and padding, if that is it
        raise refusal("Symbol", at + 4, f"{text!r} has characters that no symbol has") from None


@functools.lru_cache(maxsize=4_096)
def symbol_of(raw: bytes) -> Symbol:
    """From the length word, the text and its padding; shared, so that equal symbols are one object."""
    text, _ = opaque(raw, 0)
    if not _SYMBOL.fullmatch(text):
        raise refusal("Symbol", 4, "not of its characters")
    return Symbol(text.decode())


def address(data: bytes, at: int, _depth: int = 0) -> tuple[Address, int]:
    """An SCAddress, which also stands outside of ScVals."""
    end = at + (36 if data[at : at + 4] == _CONTRACT else 40)
    try:
        return address_of(data[at:end]), end
    except ValueError:
        raise _address_refusal(data, at, end) from None


@functools.lru_cache(maxsize=65_536)
def address_of(raw: bytes) -> Address:
    """From the whole SCAddress; ValueError if it is none that is read."""
    if raw.startswith(_CONTRACT):
        return Address(strkey.encode_contract(raw[4:]))
    if raw.startswith(_ACCOUNT_ED25519):
        return Address(strkey.encode_account(raw[8:]))
    raise ValueError(raw)


def _address_refusal(data: bytes, at: int, end: int) -> errors.Undecodable:
    arm = int.from_bytes(data[at : at + 4], "big")
    if arm > 1:
        return refusal("Address", at, f"arm {arm} ({_ADDRESS_ARMS.get(arm, 'unknown')}) is not read")
    if end > len(data):
        return short("Address", data, at, end - at)
    return refusal("Address", at + 4, "a public key that is not ed25519")


def _integer(kind: Callable[[int], Value], name: str, layout: str) -> Body:
    unpack, size = struct.Struct(layout).unpack_from, struct.calcsize(layout)

    def body(data: bytes, at: int, _depth: int) -> tuple[Value, int]:
        try:
            return kind(unpack(data, at)[0]), at + size
        except struct.error:
            raise short(name, data, at, size) from None

    return body


def _wide_integer(kind: Callable[[int], Value], name: str, *, size: int, signed: bool) -> Body:
    def body(data: bytes, at: int, _depth: int) -> tuple[Value, int]:
        raw = data[at : at + size]
        if len(raw) != size:
            raise short(name, data, at, size)
        return kind(int.from_bytes(raw, "big", signed=signed)), at + size

    return body


INTEGERS: dict[type, Body] = {
    U32: _integer(U32, "U32", ">I"),
    I32: _integer(I32, "I32", ">i"),
    U64: _integer(U64, "U64", ">Q"),
    I64: _integer(I64, "I64", ">q"),
    Timepoint: _integer(Timepoint, "Timepoint", ">Q"),
    Duration: _integer(Duration, "Duration", ">Q"),
    U128: _wide_integer(U128, "U128", size=16, signed=False),
    I128: _wide_integer(I128, "I128", size=16, signed=True),
    U256: _wide_integer(U256, "U256", size=32, signed=False),
    I256: _wide_integer(I256, "I256", size=32, signed=True),
}
