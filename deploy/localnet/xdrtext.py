"""XDR as it travels in JSON: base64, read as leniently as the server reads it, and the JSON form (SEP-51)."""

import base64
import binascii
import contextlib
import enum
import functools
from collections.abc import Callable
from typing import Protocol, Self, TypeVar

from stellar_sdk import StrKey, xdr
from xdrlib3 import Error as XdrError
from xdrlib3 import Unpacker

from deploy.localnet import rpcerrors

LEDGER_ENTRY_EXT_V0 = "AAAAAA=="


class Form(enum.Enum):
    """How XDR is asked for."""

    BASE64 = "base64"
    JSON = "json"


def checked_form(name: str) -> Form:
    """What `xdrFormat` asks for; absent or empty is base64. Raises MethodError -32602 for any other name."""
    fault = form_fault(name)
    if fault:
        raise rpcerrors.invalid_params(fault)
    return Form(name or "base64")


def form_fault(name: str) -> str | None:
    if name in ("", "base64", "json"):
        return None
    return f"got '{name}': expected base64, json for optional 'xdrFormat'"


class XdrValue(Protocol):
    """What all XDR classes of the SDK can do, as far as it is used here."""

    @classmethod
    def from_xdr(cls, xdr: str) -> Self: ...

    def to_xdr_bytes(self) -> bytes: ...

    def to_json_dict(self) -> object: ...


Value = TypeVar("Value", bound=XdrValue)


def decode_prefix(text: str) -> bytes:
    """The bytes of base64 text up to its first fault.

    Like the server's stream decoder: line breaks are skipped, stray bits before the padding are ignored, and only whole groups of
    four count.
    """
    groups = text.replace("\r", "").replace("\n", "")
    with contextlib.suppress(binascii.Error, ValueError):
        return binascii.a2b_base64(groups, strict_mode=True)
    decoded = bytearray()
    for start in range(0, len(groups), 4):
        group = groups[start : start + 4]
        try:
            decoded += binascii.a2b_base64(group, strict_mode=True)
        except (binascii.Error, ValueError):
            lenient = _without_stray_bits(group)
            if lenient is None:
                break
            decoded += lenient
        if "=" in group:
            break
    return bytes(decoded)


def _without_stray_bits(group: str) -> bytes | None:
    """One padded group whose last character has bits that say nothing, or None if it is no base64 at all."""
    body = group.rstrip("=")
    if (
        len(group) != 4
        or len(body) not in (2, 3)
        or not all(c.isalnum() or c in "+/" for c in body)
        or not group.isascii()
    ):
        return None
    return base64.b64decode(group)


def read(text: str, unpack: Callable[[Unpacker], Value]) -> Value:
    """Decode base64 XDR. Raises ValueError, with the server's own words where they do not name its internals."""
    data = decode_prefix(text)
    if len(data) < 4:
        end = "EOF" if not data and not text else "unexpected EOF"
        seen = " ".join(map(str, data))
        raise ValueError(
            f"decoding ScValType: decoding ScValType: xdr:DecodeInt: {end} while decoding 4 bytes - read: '[{seen}]'"
        )
    unpacker = Unpacker(data)
    try:
        value = unpack(unpacker)
    except (EOFError, XdrError, ValueError, NotImplementedError) as error:
        raise ValueError(f"xdr: {error}") from error
    if value.to_xdr_bytes() != data[: unpacker.get_position()]:
        raise ValueError("xdr: non-zero padding")
    consumed = -(-unpacker.get_position() // 3) * 4
    length = len(text.replace("\r", "").replace("\n", ""))
    if consumed != length:
        raise ValueError(f"input not fully consumed. expected to read: {length}, actual: {consumed}")
    return value


@functools.lru_cache(maxsize=4096)
def canonical_scval(text: str) -> str:
    """An ScVal in its one canonical base64 form. Raises ValueError."""
    return encode(read(text, xdr.SCVal.unpack))


@functools.lru_cache(maxsize=65536)
def canonical_key(text: str) -> bytes:
    """The bytes of a LedgerKey. Raises ValueError."""
    return read(text, xdr.LedgerKey.unpack).to_xdr_bytes()


def plain_bytes(text: str) -> bytes:
    """The bytes of canonical base64."""
    return base64.b64decode(text, validate=True)


def encode(value: XdrValue) -> str:
    return base64.b64encode(value.to_xdr_bytes()).decode()


def as_json(text: str, kind: type[XdrValue]) -> object:
    """Canonical base64 XDR in its JSON form."""
    return value_as_json(kind.from_xdr(text))


def shown(text: str, kind: type[XdrValue], form: Form) -> object:
    """Canonical base64 XDR in the form asked for."""
    return as_json(text, kind) if form is Form.JSON else text


def shown_value(value: XdrValue, form: Form) -> object:
    """A value in the form asked for."""
    return value_as_json(value) if form is Form.JSON else encode(value)


def value_as_json(value: XdrValue) -> object:
    """A value in its JSON form: the SDK's, with those names put right in which the server's differs."""
    return _standard(value.to_json_dict(), "")


# The SDK lower-cases `txSUCCESS` to `txsuccess`; the standard form is `tx_success`.
_STANDARD_NAMES = {
    code.name.lower(): f"{code.name[:2]}_{code.name[2:]}".lower()
    for code in (*xdr.TransactionResultCode, *xdr.OperationResultCode)
}


def _standard(value: object, name: str) -> object:
    """What the values of contracts say can be no member's name, so names can be judged without knowing the type."""
    if isinstance(value, dict):
        return {_STANDARD_NAMES.get(member, member): _standard(inner, member) for member, inner in value.items()}
    if isinstance(value, list):
        return [_standard(item, name) for item in value]
    if isinstance(value, str):
        if name == "contract_id" and not StrKey.is_valid_contract(value):
            return StrKey.encode_contract(bytes.fromhex(value))
        if name == "result" or name in _STANDARD_NAMES:
            return _STANDARD_NAMES.get(value, value)
    return value
