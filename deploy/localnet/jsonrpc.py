"""The JSON-RPC 2.0 envelope, as strict and as lenient as the server's."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Never

import orjson

from deploy.localnet import rpcerrors
from deploy.localnet.shapes import Number

Id = str  # the JSON text of an id: it is echoed as it was written
NULL: Id = "null"


class NotJson(Exception):
    """The body is not exactly one JSON text."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request. Without an id it is a notification; with a fault it is answered by that alone."""

    id: Id | None
    method: str = ""
    params: object = None
    fault: rpcerrors.MethodError | None = None


@dataclass(frozen=True, slots=True)
class Message:
    calls: list[Call]
    batch: bool


def parse(body: bytes) -> Message:
    """Read a body. Raises NotJson."""
    try:
        value = _DECODER.decode(_whole(body.decode("utf-8", "replace")))
    except (ValueError, RecursionError) as error:
        raise NotJson from error
    if isinstance(value, list):
        return Message([_call(item) for item in value], batch=True)
    return Message([_call(value)], batch=False)


def render(message: Message, answers: list[bytes]) -> bytes:
    """The body of the answer; empty when there is nothing to say."""
    if not answers:
        return b""
    return b"[" + b",".join(answers) + b"]" if message.batch else answers[0]


def success(call_id: Id, result: dict[str, object]) -> bytes:
    return _answer(call_id, b"result", result)


def failure(call_id: Id, error: rpcerrors.MethodError) -> bytes:
    return _answer(call_id, b"error", error.as_json())


def _answer(call_id: Id, name: bytes, content: dict[str, object]) -> bytes:
    return b'{"jsonrpc":"2.0","id":' + call_id.encode() + b',"' + name + b'":' + orjson.dumps(content) + b"}"


def _call(value: object) -> Call:
    if value is not None and not isinstance(value, dict):
        return Call(NULL, fault=rpcerrors.MethodError(rpcerrors.PARSE_ERROR, "request is not a JSON object"))
    members: dict[str, object] = value or {}
    fault = next(_faults(members), None)
    call_id = _id(members.get("id"))
    if fault is not None:
        return Call(call_id or NULL, fault=fault)
    return Call(call_id, method=str(members["method"]), params=members.get("params"))


def _faults(members: dict[str, object]) -> Iterator[rpcerrors.MethodError]:
    """What is wrong with an envelope, the fault that is reported first."""
    refused = rpcerrors.invalid_request
    version, method, params = members.get("jsonrpc", ""), members.get("method", ""), members.get("params")
    if not _is_text(version):
        yield rpcerrors.MethodError(rpcerrors.PARSE_ERROR, "invalid version key")
    if members.get("id") is not None and _id(members["id"]) is None:
        yield refused("invalid request ID")
    if not _is_text(method):
        yield rpcerrors.MethodError(rpcerrors.PARSE_ERROR, "invalid method name")
    if params is not None and not isinstance(params, dict | list):
        yield refused("parameters must be array or object")
    extra = [name for name in members if name not in ("jsonrpc", "id", "method", "params", "result", "error")]
    if extra:
        yield rpcerrors.MethodError(rpcerrors.INVALID_REQUEST, "extra fields in request", extra)
    if version != "2.0":
        yield refused("invalid version marker")
    if not method:
        yield refused("empty method name")


def _is_text(value: object) -> bool:
    return value is None or (isinstance(value, str) and not isinstance(value, Number))


def _id(value: object) -> Id | None:
    """The JSON text of a valid id, else None."""
    if isinstance(value, Number):
        return str(value)
    return json.dumps(value) if isinstance(value, str) else None


def _whole(text: str) -> str:
    """The text, its white space as JSON knows it; other white space at the ends is not JSON."""
    return text.strip(" \t\r\n")


def _constant(name: str) -> Never:
    raise ValueError(f"{name} is not JSON")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    return {_well_formed(name): _mended(value) for name, value in pairs}


def _mended(value: object) -> object:
    if isinstance(value, str) and not isinstance(value, Number):
        return _well_formed(value)
    return [_mended(item) for item in value] if isinstance(value, list) else value


def _well_formed(text: str) -> str:
    """Surrogates without their other half become U+FFFD, as they do in the server."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=Number, parse_float=Number, parse_constant=_constant)
