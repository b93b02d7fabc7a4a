"""The shapes in which StepFi's contracts write their values: strict, by type, by key name. A mismatch is `Undecodable`."""

from typing import TypeVar, cast

from shared import errors, scval
from shared.stepfi import values

V = TypeVar("V")
Values = tuple[object, ...]


def expect(kind: type[V], value: object) -> V:
    """The value when it is exactly of that kind; raises Undecodable."""
    if type(value) is not kind:
        raise errors.Undecodable(f"{kind.__name__} is needed where {type(value).__name__} {str(value)[:60]!r} stands")
    return value


def items(value: object, count: int) -> Values:
    """The items of a Vec of that length."""
    if type(value) is not tuple or len(value) != count:
        raise errors.Undecodable(f"a Vec of {count} is needed where {type(value).__name__} {str(value)[:60]!r} stands")
    return value


def only(topics: Values, *kinds: type) -> Values:
    if tuple(map(type, topics)) == kinds:
        return topics
    if len(topics) != len(kinds):
        raise errors.Undecodable(f"{len(kinds)} topics are needed behind the name, there are {len(topics)}")
    return tuple(expect(kind, topic) for kind, topic in zip(kinds, topics, strict=True))


def address(value: object) -> str:
    return str(expect(scval.Address, value))


def i128(value: object) -> int:
    return int(expect(scval.I128, value))


def u64(value: object) -> int:
    return int(expect(scval.U64, value))


def u32(value: object) -> int:
    return int(expect(scval.U32, value))


def read_schedule(value: object) -> tuple[values.Installment, ...]:
    """A Vec of installment Maps, by key name; keys of later versions are let pass."""
    return tuple(_installment(item) for item in expect(tuple, value))


def _installment(value: object) -> values.Installment:
    fields = named(value)
    try:
        return values.Installment(
            amount=i128(fields["amount"]),
            due_date=u64(fields["due_date"]),
            paid=expect(bool, fields["paid"]),
            paid_at=u64(fields["paid_at"]),
        )
    except KeyError as error:
        raise errors.Undecodable(f"an installment without {error}") from None


def named(value: object) -> dict[str, object]:
    """The fields of a struct: a Map whose keys are Symbols."""
    fields = dict(expect(scval.Map, value))
    for key in fields:
        if type(key) is not scval.Symbol:
            expect(scval.Symbol, key)
    return cast(dict[str, object], fields)


def vendor_name(value: object) -> str:
    """A String as text for a column of text: what is not UTF-8, or a NUL that PostgreSQL refuses, is shown as an escape."""
    return bytes(expect(scval.String, value)).decode("utf-8", "backslashreplace").replace("\0", "\\x00")


def variant(value: object, known: tuple[str, ...]) -> str:
    """The name of a unit variant: a Vec of one Symbol, among those that are known."""
    (name,) = items(value, 1)
    word = str(expect(scval.Symbol, name))
    if word not in known:
        raise errors.Undecodable(f"{word!r} is none of {', '.join(known)}")
    return word
