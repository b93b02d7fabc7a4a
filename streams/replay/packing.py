"""Facts in few bytes, for the time between loading and folding.

The process that unpacks is the one that has packed, so nothing needs a name: the classes of payloads have numbers. Values
alone are written, by `marshal`, which takes half the time of `pickle` and can name nothing that would be run.
"""

import marshal
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

from streams.facts import Fact

_PLAIN = frozenset({int, str, bool, bytes, type(None)})


@dataclass(frozen=True, slots=True)
class _Shape:
    """A dataclass: its number, its values in the order of its fields, and an instance of such values."""

    number: int
    values: Callable[[Any], Sequence[Any]]
    make: Callable[[Iterable[Any]], Any]


class Packing:
    """Packs and unpacks facts but for their bodies. A payload is a dataclass of plain values, tuples and such dataclasses."""

    def __init__(self) -> None:
        self._shapes: dict[type, _Shape] = {}
        self._numbered: list[_Shape] = []

    def pack(self, fact: Fact) -> bytes:
        """All of the fact but its key, its position and its body: a fold takes the payload."""
        _, _, kind, _, payload, at, tx_hash, problem, conflict = fact
        shape = self._shape(type(payload))
        values: Any = shape.values(payload)
        nested = not _PLAIN.issuperset(map(type, values))
        if nested:
            values = list(map(self._written, values))
        return marshal.dumps((shape.number, nested, values, kind, at, tx_hash, problem, conflict))

    def unpack(self, key: str, position: str, packed: bytes) -> Fact:
        """The fact, but for its body."""
        number, nested, values, kind, at, tx_hash, problem, conflict = marshal.loads(packed)  # noqa: S302 - see above
        if nested:
            values = map(self._read, values)
        payload = self._numbered[number].make(values)
        return Fact(key, position, kind, "", payload, at, tx_hash, problem, conflict)

    def _written(self, value: Any) -> Any:
        """What marshal takes: a dataclass is a list, its number first."""
        kind = type(value)
        if kind in _PLAIN:
            return value
        if kind is tuple:
            return tuple(map(self._written, value))
        shape = self._shape(kind)
        return [shape.number, *map(self._written, shape.values(value))]

    def _read(self, value: Any) -> Any:
        kind = type(value)
        if kind is list:
            number, *values = value
            return self._numbered[number].make(map(self._read, values))
        return tuple(map(self._read, value)) if kind is tuple else value

    def _shape(self, kind: type) -> _Shape:
        """Raises TypeError for a class that cannot be packed."""
        shape = self._shapes.get(kind)
        if shape is None:
            shape = _shape_of(kind, len(self._numbered))
            self._shapes[kind] = shape
            self._numbered.append(shape)
        return shape


def _shape_of(kind: Any, number: int) -> _Shape:
    try:
        names = [field.name for field in fields(kind)]
    except TypeError:
        raise TypeError(f"a payload holds a {kind.__name__}, which is neither plain nor a dataclass") from None
    get = attrgetter(*names) if names else lambda _: ()
    values = get if len(names) != 1 else lambda value: (get(value),)
    return _Shape(number, values, _maker(kind))


def _maker(kind: Any) -> Callable[[Iterable[Any]], Any]:
    """Makes instances of a dataclass from values in the order of its fields, past an `__init__` that is slow when frozen."""
    names = [field.name for field in fields(kind)]
    if not all(hasattr(kind.__dict__.get(name), "__set__") for name in names):  # no slots
        return lambda values: kind(**dict(zip(names, values, strict=True)))
    setters = [kind.__dict__[name].__set__ for name in names]
    new = object.__new__

    def make(values: Iterable[Any]) -> Any:
        made = new(kind)
        for setter, value in zip(setters, values):  # noqa: B905 - as many as were packed, and `strict` takes its time
            setter(made, value)
        return made

    return make
