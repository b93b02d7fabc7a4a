"""JSON-RPC 2.0 and the reading of single fields: whatever a node sends ends as a value, `Malformed` or `Failed`."""

import base64
import binascii
import re
from datetime import datetime
from functools import lru_cache
from typing import TypeAlias

import orjson

from shared import errors
from shared import position as positions
from shared.rpc import retry
from shared.rpc.faults import Failed, Fault, Malformed
from shared.rpc.methods import Method

Object: TypeAlias = dict[str, object]

U32_MAX = 2**32 - 1
_HASH = re.compile(r"[0-9a-f]{64}")
_SHOWN_CHARACTERS = 200
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_WORDS = ("message", "error_description", "detail", "description", "reason", "title", "msg")
"""Members in which gateways say what is wrong, outside of JSON-RPC."""


def request(request_id: int, method: Method, params: Object) -> bytes:
    body: Object = {"jsonrpc": "2.0", "id": request_id, "method": method.value}
    if params:
        body["params"] = params
    return orjson.dumps(body)


def result(body: bytes, *, request_id: int, method: Method) -> Object:
    """Return the `result` object of an answer.

    Raises Failed for a JSON-RPC error, and for what a gateway says in its own way; Malformed for everything else.
    """
    try:
        answer = orjson.loads(body.removeprefix(_BYTE_ORDER_MARK))
    except orjson.JSONDecodeError:
        malformed = Malformed("body", f"is not JSON: {brief(body)!r}")
        fault = retry.with_words(Fault.MALFORMED, brief(body))
        raise malformed if fault is Fault.MALFORMED else Failed(fault, str(malformed)) from None
    if not isinstance(answer, dict):
        raise Malformed("body", f"expected an object, found {kind(answer)}")
    if (foreign := _foreign(answer)) is not None:
        raise foreign
    if answer.get("jsonrpc") != "2.0":
        raise Malformed("jsonrpc", 'expected "2.0"')
    refused = answer.get("error") is not None
    echo = answer.get("id")
    if (type(echo) is not int or echo != request_id) and not (refused and echo is None):
        raise Malformed("id", "is not that of the request")
    if refused:
        raise _refusal(answer["error"], method)
    return record(answer.get("result"), "result")


def _foreign(answer: Object) -> Failed | None:
    """Return the failure that a gateway tells in an object of its own; None for an answer as JSON-RPC has it."""
    error = answer.get("error")
    if "result" in answer or (answer.get("jsonrpc") == "2.0" and _is_error(error)):
        return None
    inner = error if isinstance(error, dict) else {}
    named = [*(inner.get(name) for name in _WORDS), error, *(answer.get(name) for name in _WORDS)]
    words = next((text for text in named if isinstance(text, str) and text.strip()), None)
    if words is None:
        return None
    codes = {str(fields.get(name)) for fields in (answer, inner) for name in ("code", "status", "statusCode")}
    fault = Fault.RATE_LIMITED if "429" in codes else retry.with_words(Fault.NODE_ERROR, words)
    return Failed(fault, f"not a JSON-RPC answer: {brief(words)!r}")


def _is_error(error: object) -> bool:
    return isinstance(error, dict) and type(error.get("code")) is int and type(error.get("message")) is str


def _refusal(error: object, method: Method) -> Failed:
    fields = record(error, "error")
    try:
        code, message = integer(fields, "code"), string(fields, "message")
    except Malformed as malformed:
        raise malformed.inside("error") from None
    words = f"error {code}: {brief(message)}"
    if method is Method.GET_EVENTS:
        if code == -32600 and (held := retry.range_in(message)) is not None:
            return Failed(Fault.OUT_OF_RANGE, words, held=held)
        if (limit := retry.page_limit_in(message)) is not None:
            return Failed(Fault.REFUSED, words, page_limit=limit)
    return Failed(retry.with_words(retry.of_code(method, code), message), words)


def brief(text: bytes | str) -> str:
    """A node's words on one line, cut to a length that a log bears."""
    decoded = text[: _SHOWN_CHARACTERS * 4].decode("utf-8", "replace") if isinstance(text, bytes) else text
    line = " ".join("".join(char if char.isprintable() else " " for char in decoded[: _SHOWN_CHARACTERS * 4]).split())
    return line if len(line) <= _SHOWN_CHARACTERS else line[: _SHOWN_CHARACTERS - 1] + "…"


def kind(value: object) -> str:
    """What a JSON value is, in words."""
    if value is None:
        return "null or nothing"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "an array" if isinstance(value, list) else "an object"


def record(value: object, where: str) -> Object:
    if not isinstance(value, dict):
        raise Malformed(where, f"expected an object, found {kind(value)}")
    return value


def array(fields: Object, name: str) -> list[object]:
    value = fields.get(name)
    if not isinstance(value, list):
        raise Malformed(name, f"expected an array, found {kind(value)}")
    return value


def string(fields: Object, name: str) -> str:
    value = fields.get(name)
    if type(value) is not str:
        raise Malformed(name, f"expected a string, found {kind(value)}")
    return value


def integer(fields: Object, name: str) -> int:
    value = fields.get(name)
    if type(value) is not int:  # a boolean is an int too, but not here
        raise Malformed(name, f"expected a whole number, found {kind(value)}")
    return value


def u32(fields: Object, name: str) -> int:
    value = integer(fields, name)
    if not 0 <= value <= U32_MAX:
        raise Malformed(name, f"{value} is not a 32-bit number")
    return value


def sequence(fields: Object, name: str) -> int:
    """A ledger sequence: no ledger has the number 0."""
    value = u32(fields, name)
    if value == 0:
        raise Malformed(name, "0 is no ledger")
    return value


def unix_seconds(fields: Object, name: str) -> int:
    """A close time in unix seconds: a number in some methods and versions, a string of digits in others."""
    value = fields.get(name)
    if type(value) is str and value.isascii() and value.isdigit() and len(value) <= 12:
        return int(value)
    if type(value) is int and 0 <= value < 10**12:
        return value
    raise Malformed(name, f"expected unix seconds, found {brief(repr(value)) if value is not None else kind(value)}")


def timestamp(fields: Object, name: str) -> str:
    """An RFC 3339 time in UTC, as the node wrote it."""
    value = string(fields, name)
    if not _is_utc(value):
        raise Malformed(name, f"{brief(value)!r} is not an RFC 3339 time in UTC")
    return value


@lru_cache(maxsize=256)  # all events of a ledger have one time
def _is_utc(text: str) -> bool:
    try:
        return text.endswith("Z") and datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def position(fields: Object, name: str) -> str:
    """An event id or cursor."""
    value = string(fields, name)
    try:
        if value.isascii():
            return positions.check(value)
    except errors.FrameInvalid:
        pass
    raise Malformed(name, f"{brief(value)!r} is not an event id or cursor")


def transaction_hash(fields: Object, name: str) -> str:
    value = string(fields, name)
    if not is_hash(value):
        raise Malformed(name, f"{brief(value)!r} is not 64 hex digits")
    return value


def is_hash(value: str) -> bool:
    return _HASH.fullmatch(value) is not None


def is_canonical(key: str) -> bool:
    """Whether the text is base64 as a node writes it."""
    try:
        return bool(key) and base64.b64encode(base64.b64decode(key, validate=True)).decode("ascii") == key
    except (binascii.Error, ValueError):
        return False
