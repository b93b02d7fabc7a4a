"""Shapes of request parameters, and a decoder that refuses what Go's encoding/json refuses, in the same words.

Member names match in any letter case, unknown members are ignored, null is absent, integers must be written as such. Of several
wrong types the first is reported; a value refused by its own parser ends the decoding at once.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from deploy.localnet import rpcerrors


class Number(str):
    """A JSON number as it was written."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Text:
    """A string. `parse` reads it further and raises ValueError; `parses_null` says that null is read as an empty string."""

    parse: Callable[[str], object] | None = None
    parses_null: bool = False
    go_name: str = "string"


@dataclass(frozen=True, slots=True)
class Unsigned:
    bits: int
    go_name: str


@dataclass(frozen=True, slots=True)
class Sequence:
    item: "Shape"
    go_name: str


@dataclass(frozen=True, slots=True)
class Record:
    go_name: str
    members: Mapping[str, "Shape"] = field(default_factory=dict)


Shape = Text | Unsigned | Sequence | Record
_JSON_NAMES: dict[type, str] = {dict: "object", list: "array", str: "string", bool: "bool", Number: "number"}


class _Refused(Exception):
    """Decoding ends here."""


def decode(value: object, shape: Record) -> dict[str, object]:
    """The members that are present, by the names of the shape. Raises MethodError -32602 `invalid parameters`."""
    decoder = _Decoder()
    try:
        decoded = decoder.decode(value, shape, "")
    except _Refused as refused:
        raise rpcerrors.MethodError(rpcerrors.INVALID_PARAMS, "invalid parameters", str(refused)) from None
    if decoder.fault is not None:
        raise rpcerrors.MethodError(rpcerrors.INVALID_PARAMS, "invalid parameters", decoder.fault)
    return decoded if isinstance(decoded, dict) else {}


class _Decoder:
    def __init__(self) -> None:
        self.fault: str | None = None

    def decode(self, value: object, shape: Shape, where: str) -> object:
        """One value. `where` is `Struct.path.to.member`, or empty at the top."""
        match shape:
            case Text():
                return self._text(value, shape, where)
            case Unsigned():
                return self._unsigned(value, shape, where)
            case Sequence():
                return self._sequence(value, shape, where)
            case Record():
                return self._record(value, shape, where)

    def _sequence(self, value: object, shape: Sequence, where: str) -> object:
        if not isinstance(value, list):
            return [] if value is None else self._mismatch(value, shape, where, [])
        return [self.decode(item, shape.item, where) for item in value]

    def _record(self, value: object, shape: Record, where: str) -> object:
        if not isinstance(value, dict):
            return {} if value is None else self._mismatch(value, shape, where, {})
        by_folded_name = {name.lower(): name for name in shape.members}
        short_name = shape.go_name.rpartition(".")[2]
        path = where.partition(".")[2]
        decoded: dict[str, object] = {}
        for given, member_value in value.items():
            name = by_folded_name.get(given.lower())
            if name is None:
                continue
            member = shape.members[name]
            if member_value is None and not (isinstance(member, Text) and member.parses_null):
                continue
            member_path = f"{path}.{name}" if path else name
            decoded[name] = self.decode(member_value, member, f"{short_name}.{member_path}")
        return decoded

    def _text(self, value: object, shape: Text, where: str) -> object:
        if value is None:
            value = ""
        if isinstance(value, Number) or not isinstance(value, str):
            if shape.parse is not None:
                raise _Refused(_cannot_unmarshal(value, shape.go_name, where))
            return self._mismatch(value, shape, where, "")
        if shape.parse is None:
            return value
        try:
            return shape.parse(value)
        except ValueError as error:
            raise _Refused(str(error)) from None

    def _unsigned(self, value: object, shape: Unsigned, where: str) -> int:
        if value is None:
            return 0
        if isinstance(value, Number) and value.isdecimal() and len(value) < 40 and int(value) < 1 << shape.bits:
            return int(value)
        self._mismatch(value, shape, where, 0)
        return 0

    def _mismatch(self, value: object, shape: Shape, where: str, empty: object) -> object:
        if self.fault is None:
            literal = f" {value}" if isinstance(shape, Unsigned) and isinstance(value, Number) else ""
            self.fault = _cannot_unmarshal(value, shape.go_name, where, literal=literal)
        return empty


def _cannot_unmarshal(value: object, go_name: str, where: str, *, literal: str = "") -> str:
    target = f"Go struct field {where}" if where else "Go value"
    return f"json: cannot unmarshal {_JSON_NAMES[type(value)]}{literal} into {target} of type {go_name}"
