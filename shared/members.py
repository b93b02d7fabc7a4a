"""Members of the JSON objects in a record, read by exact type: what is missing or of another type raises FrameInvalid by name.

JSON has one kind of number and Python coerces gladly; a frame that was read half right would claim a coverage that it lacks.
"""

from typing import Any, TypeVar

from shared import errors

V = TypeVar("V")
Object = dict[str, Any]

_LARGEST_LEDGER = (1 << 31) - 1  # a position has 63 bits, 32 of them below the ledger
_LARGEST_SECONDS = (1 << 63) - 1


def member(record: Object, name: str, kind: type[V]) -> V:
    """The member, exactly of that kind."""
    if name not in record:
        raise errors.FrameInvalid(f"a record that is no frame: {name!r} is missing")
    return expect(record[name], name, kind)


def expect(value: object, name: str, kind: type[V]) -> V:
    if type(value) is not kind:
        raise errors.FrameInvalid(f"a record that is no frame: {name!r} is {type(value).__name__}, not {kind.__name__}")
    return value


def text(record: Object, name: str) -> str:
    value = record.get(name)
    if type(value) is str and "\0" not in value:  # the way of nearly all: a frame has thousands of texts
        return value
    return _storable(member(record, name, str), name)


def optional_text(record: Object, name: str) -> str | None:
    """The text, or None where the member is null; it has to be there."""
    return None if name in record and record[name] is None else text(record, name)


def texts(record: Object, name: str) -> tuple[str, ...]:
    values = member(record, name, list)
    for item in values:
        if type(item) is not str or "\0" in item:
            _storable(expect(item, name, str), name)
    return tuple(values)


def objects(record: Object, name: str) -> list[Object]:
    return [expect(item, name, dict) for item in member(record, name, list)]


def ledger(record: Object, name: str) -> int:
    """A ledger sequence."""
    return _within(member(record, name, int), name, _LARGEST_LEDGER)


def optional_number(record: Object, name: str) -> int | None:
    """A whole number, 0 or above; None where the member is null or missing."""
    value = record.get(name)
    return None if value is None else _within(expect(value, name, int), name, _LARGEST_SECONDS)


def _within(number: int, name: str, largest: int) -> int:
    if not 0 <= number <= largest:
        raise errors.FrameInvalid(f"a record that is no frame: {name!r} is {number}")
    return number


def _storable(value: str, name: str) -> str:
    if "\0" in value:  # PostgreSQL stores every character but this one
        raise errors.FrameInvalid(f"a record that is no frame: {name!r} holds a NUL")
    return value
