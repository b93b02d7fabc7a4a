"""Values of every arm, and what stellar-sdk makes of them, so that its encoder judges our reader and writer."""

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from stellar_sdk import Address, StrKey, xdr
from stellar_sdk import scval as sdk

from shared import scval
from shared.scval import Value

ACCOUNT = StrKey.encode_ed25519_public_key(bytes(range(32)))
CONTRACT = StrKey.encode_contract(bytes(range(32)))

_INTEGERS: list[tuple[Callable[[int], Value], int, bool]] = [
    (scval.U32, 32, False),
    (scval.I32, 32, True),
    (scval.U64, 64, False),
    (scval.I64, 64, True),
    (scval.Timepoint, 64, False),
    (scval.Duration, 64, False),
    (scval.U128, 128, False),
    (scval.I128, 128, True),
    (scval.U256, 256, False),
    (scval.I256, 256, True),
]
_SYMBOLS = st.text("abcXYZ019_", max_size=32).map(scval.Symbol)


def addresses() -> st.SearchStrategy[scval.Address]:
    keys = st.binary(min_size=32, max_size=32)
    strkeys = st.one_of(keys.map(StrKey.encode_ed25519_public_key), keys.map(StrKey.encode_contract))
    return strkeys.map(scval.Address)


def values() -> st.SearchStrategy[Value]:
    """Every arm that contracts emit, nested. Maps are structs: keys of other arms are tested by hand."""
    return st.recursive(
        _leaves(),
        lambda inner: st.one_of(
            st.lists(inner, max_size=5).map(tuple),
            st.dictionaries(_SYMBOLS, inner, max_size=5).map(lambda fields: scval.Map(sorted(fields.items()))),
        ),
        max_leaves=12,
    )


def _leaves() -> st.SearchStrategy[Value]:
    return st.one_of(
        st.none(),
        st.booleans(),
        st.builds(scval.Error, st.just(0), st.integers(0, 2**32 - 1)),
        st.builds(scval.Error, st.integers(1, 9), st.integers(0, 9)),
        *[_integers(*integer) for integer in _INTEGERS],
        st.binary(max_size=70),
        st.binary(max_size=70).map(scval.String),
        _SYMBOLS,
        addresses(),
    )


def _integers(kind: Callable[[int], Value], bits: int, signed: bool) -> st.SearchStrategy[Value]:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return st.one_of(st.sampled_from([low, high, 0, 1, high // 2]), st.integers(low, high)).map(kind)


def by_sdk(value: Value) -> xdr.SCVal:
    """The same value as stellar-sdk builds it."""
    return _SDK[type(value)](value)


def _error(value: scval.Error) -> xdr.SCVal:
    kind = xdr.SCErrorType(value.kind)
    if value.kind == 0:
        error = xdr.SCError(kind, contract_code=xdr.Uint32(value.code))
    else:
        error = xdr.SCError(kind, code=xdr.SCErrorCode(value.code))
    return xdr.SCVal(xdr.SCValType.SCV_ERROR, error=error)


def _map(value: scval.Map) -> xdr.SCVal:
    entries = [xdr.SCMapEntry(by_sdk(key), by_sdk(entry)) for key, entry in value]
    return xdr.SCVal(xdr.SCValType.SCV_MAP, map=xdr.SCMap(entries))


_SDK: dict[type, Callable[[Any], xdr.SCVal]] = {
    type(None): lambda _: sdk.to_void(),
    bool: sdk.to_bool,
    scval.Error: _error,
    scval.U32: sdk.to_uint32,
    scval.I32: sdk.to_int32,
    scval.U64: sdk.to_uint64,
    scval.I64: sdk.to_int64,
    scval.Timepoint: sdk.to_timepoint,
    scval.Duration: sdk.to_duration,
    scval.U128: sdk.to_uint128,
    scval.I128: sdk.to_int128,
    scval.U256: sdk.to_uint256,
    scval.I256: sdk.to_int256,
    bytes: sdk.to_bytes,
    scval.String: sdk.to_string,
    scval.Symbol: sdk.to_symbol,
    tuple: lambda value: sdk.to_vec([by_sdk(element) for element in value]),
    scval.Map: _map,
    scval.Address: lambda value: sdk.to_address(Address(value)),
}
