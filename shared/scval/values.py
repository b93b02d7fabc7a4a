"""What an ScVal is in Python: immutable, hashable, one exact type for each arm.

    Void None      U32 I32 U64 I64 U128 I128 U256 I256 Timepoint Duration   int subclasses
    Bool bool      Symbol, Address   str subclasses      Bytes bytes        String   a bytes subclass
    Vec  tuple     Map   a tuple subclass of (key, value) pairs             Error    a pair of numbers

The subclasses compare like what they subclass (`U32(1) == U64(1) == True`), so Python's equality is not the chain's: whoever
must tell types apart asks `type(value) is U64`. A Map is pairs and not a dict for that reason: a dict would merge the keys
U32 1 and U64 1. Of a Map whose keys are all symbols, `dict(value)` is exact.
"""

import functools
from collections.abc import Sequence
from operator import lt
from typing import NamedTuple, TypeAlias

from shared import errors, strkey


class U32(int):
    __slots__ = ()


class I32(int):
    __slots__ = ()


class U64(int):
    __slots__ = ()


class I64(int):
    __slots__ = ()


class Timepoint(int):
    """Unix seconds, unsigned 64 bits."""

    __slots__ = ()


class Duration(int):
    """Seconds, unsigned 64 bits."""

    __slots__ = ()


class U128(int):
    __slots__ = ()


class I128(int):
    __slots__ = ()


class U256(int):
    __slots__ = ()


class I256(int):
    __slots__ = ()


class Symbol(str):
    """At most 32 of a-z, A-Z, 0-9 and _."""

    __slots__ = ()


class String(bytes):
    """The chain's String: bytes, by custom but not by rule UTF-8."""

    __slots__ = ()

    def text(self) -> str:
        """As text; raises Undecodable if it is not UTF-8."""
        try:
            return self.decode()
        except UnicodeDecodeError as error:
            raise errors.Undecodable(f"a String that is not UTF-8: {error}") from None


class Address(str):
    """A strkey, `G…` or `C…`."""

    __slots__ = ()


class Error(NamedTuple):
    """`kind` 0: the contract's own code; 1 to 9: the host's kind of error (SCErrorType) with its code (SCErrorCode)."""

    kind: int
    code: int


class Map(tuple[tuple["Value", "Value"], ...]):
    """(key, value) pairs in the host's order of keys, none twice."""

    __slots__ = ()


Value: TypeAlias = (
    "bool | Error | U32 | I32 | U64 | I64 | Timepoint | Duration | U128 | I128 | U256 | I256"
    " | bytes | String | Symbol | tuple[Value, ...] | Map | Address | None"
)

ARMS: dict[type, int] = {
    bool: 0,
    type(None): 1,
    Error: 2,
    U32: 3,
    I32: 4,
    U64: 5,
    I64: 6,
    Timepoint: 7,
    Duration: 8,
    U128: 9,
    I128: 10,
    U256: 11,
    I256: 12,
    bytes: 13,
    String: 14,
    Symbol: 15,
    tuple: 16,
    Map: 17,
    Address: 18,
}
"""The number of each type's arm in SCValType."""

_PLAIN = ARMS.keys() - {type(None), tuple, Map, Address}
"""Types whose values Python orders as the host does."""


def ascending(keys: Sequence[Value]) -> bool:
    """Whether the keys of a Map stand in the host's order, none twice: by arm, then by content."""
    if len(keys) < 2:
        return True
    kinds = set(map(type, keys))
    ranks: Sequence[object] = keys if len(kinds) == 1 and kinds <= _PLAIN else [_rank(key) for key in keys]
    return all(map(lt, ranks, ranks[1:]))  # type: ignore[arg-type]  # of one plain type, or ranks: either compares


def _rank(value: Value) -> tuple[int, object]:
    content: object = value
    if value is None:
        content = 0
    elif isinstance(value, Address):
        content = address_bytes(value)
    elif isinstance(value, Map):
        content = [(_rank(key), _rank(entry)) for key, entry in value]
    elif isinstance(value, tuple) and not isinstance(value, Error):
        content = [_rank(element) for element in value]
    return ARMS[type(value)], content


@functools.lru_cache(maxsize=65_536)
def address_bytes(address: str) -> bytes:
    """The SCAddress of a strkey, as XDR; raises strkey.Invalid."""
    if address.startswith("C"):
        return b"\0\0\0\1" + strkey.decode_contract(address)
    return b"\0\0\0\0\0\0\0\0" + strkey.decode_account(address)
