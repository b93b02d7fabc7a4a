"""Strict ScVals: the values that contracts emit, exactly as they stand on the chain.

`read` takes one value and all of its bytes, or raises `errors.Undecodable`, which says what stands where; it never guesses.
What it accepts, `write` turns into the same bytes. Types are exact: a decoder that expects U64 asks `type(value) is U64`.

The layout is Stellar-contract.x of the network (XDR, RFC 4506).
"""

from shared.scval.reader import DEPTH_LIMIT, read, read_base64, read_topic
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
    Map,
    String,
    Symbol,
    Timepoint,
    Value,
)
from shared.scval.writer import write, write_base64

__all__ = [
    "DEPTH_LIMIT",
    "I32",
    "I64",
    "I128",
    "I256",
    "U32",
    "U64",
    "U128",
    "U256",
    "Address",
    "Duration",
    "Error",
    "Map",
    "String",
    "Symbol",
    "Timepoint",
    "Value",
    "read",
    "read_base64",
    "read_topic",
    "write",
    "write_base64",
]
