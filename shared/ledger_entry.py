"""Contract data in the ledger, as getLedgerEntries speaks of it: LedgerKey and LedgerEntryData of the arm CONTRACT_DATA.

Both are read strictly, to the last byte. Other entries (accounts, trust lines, code, …) are refused with Undecodable, and so
is an entry whose key and value do not belong together. Layout: Stellar-ledger-entries.x (XDR, RFC 4506).
"""

import base64
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

from shared import strkey
from shared.scval import leaves, reader, writer
from shared.scval.values import Address, Map, Value

_CONTRACT_DATA = 6
_INSTANCE, _INSTANCE_KEY, _NONCE_KEY = 19, 20, 21
_WASM, _STELLAR_ASSET = 0, 1


class Durability(IntEnum):
    TEMPORARY = 0
    PERSISTENT = 1


TEMPORARY = Durability.TEMPORARY
PERSISTENT = Durability.PERSISTENT


@dataclass(frozen=True, slots=True)
class InstanceKey:
    """The key under which a contract's own instance stands."""


INSTANCE_KEY = InstanceKey()


class NonceKey(int):
    """The key of an authorization's nonce (signed 64 bits)."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class ContractInstance:
    """`wasm_hash` (32 bytes) is None for the contract of a Stellar asset; `storage` is None if nothing was ever stored."""

    wasm_hash: bytes | None
    storage: Map | None


Key: TypeAlias = "Value | InstanceKey | NonceKey"
Stored: TypeAlias = "Value | ContractInstance"


@dataclass(frozen=True, slots=True)
class ContractDataKey:
    contract: Address
    key: Key
    durability: Durability


@dataclass(frozen=True, slots=True)
class ContractData:
    contract: Address
    key: Key
    durability: Durability
    value: Stored


def contract_data_key(contract: str, key: Key, *, durability: Durability = PERSISTENT) -> str:
    """The base64 LedgerKey of one entry of a contract; raises strkey.Invalid, or ValueError for a key that cannot be.

    `contract` may be an account, for nonces stand under the address that they authorize.
    """
    out = bytearray(writer.word(_CONTRACT_DATA))
    _put_place(contract, key, durability, out)
    return base64.b64encode(out).decode()


def instance_key(contract: str) -> str:
    """The base64 LedgerKey of a contract's instance; raises strkey.Invalid."""
    strkey.decode_contract(contract)
    return contract_data_key(contract, INSTANCE_KEY)


def read_key(text: str) -> ContractDataKey:
    """A base64 LedgerKey; raises Undecodable."""
    data = reader.from_base64(text)
    contract, key, durability, at = _place_at(data, _expect(data, 0, "LedgerKey: arm", _CONTRACT_DATA))
    reader.finish(data, at)
    return ContractDataKey(contract, key, durability)


def read_entry(text: str) -> ContractData:
    """A base64 LedgerEntryData; raises Undecodable."""
    data = reader.from_base64(text)
    at = _expect(data, 0, "LedgerEntryData: arm", _CONTRACT_DATA)
    at = _expect(data, at, "extension", 0)
    contract, key, durability, at = _place_at(data, at)
    value: Stored
    if isinstance(key, InstanceKey):
        value, at = _instance_at(data, _expect(data, at, "value of an instance: arm", _INSTANCE))
    else:
        value, at = reader.value_at(data, at)
    reader.finish(data, at)
    return ContractData(contract, key, durability, value)


def write_entry(entry: ContractData) -> str:
    """The base64 LedgerEntryData; what `read_entry` has read becomes the same text."""
    out = bytearray(writer.word(_CONTRACT_DATA) + writer.word(0))
    _put_place(entry.contract, entry.key, entry.durability, out)
    if isinstance(entry.value, ContractInstance) != isinstance(entry.key, InstanceKey):
        raise ValueError("a contract's instance stands under the instance key, and nothing else does")
    if isinstance(entry.value, ContractInstance):
        _put_instance(entry.value, out)
    else:
        writer.put(entry.value, out)
    return base64.b64encode(out).decode()


def _place_at(data: bytes, at: int) -> tuple[Address, Key, Durability, int]:
    contract, at = leaves.address(data, at)
    key: Key
    arm = _word_at(data, at, "key")
    if arm == _INSTANCE_KEY:
        key, at = INSTANCE_KEY, at + 4
    elif arm == _NONCE_KEY:
        raw = data[at + 4 : at + 12]
        if len(raw) != 8:
            raise leaves.short("nonce", data, at + 4, 8)
        key, at = NonceKey.from_bytes(raw, "big", signed=True), at + 12
    else:
        key, at = reader.value_at(data, at)
    durability = _word_at(data, at, "durability")
    if durability not in (TEMPORARY, PERSISTENT):
        raise leaves.refusal("durability", at, f"{durability} is unknown")
    return contract, key, Durability(durability), at + 4


def _put_place(contract: str, key: Key, durability: Durability, out: bytearray) -> None:
    writer.put_address(contract, out)
    if isinstance(key, InstanceKey):
        out += writer.word(_INSTANCE_KEY)
    elif isinstance(key, NonceKey):
        out += writer.word(_NONCE_KEY)
        writer.put_integer(key, out, size=8, signed=True)
    else:
        writer.put(key, out)
    out += writer.word(durability)


def _instance_at(data: bytes, at: int) -> tuple[ContractInstance, int]:
    executable = _word_at(data, at, "executable")
    wasm_hash = None
    if executable == _WASM:
        wasm_hash, at = data[at + 4 : at + 36], at + 32
    elif executable != _STELLAR_ASSET:
        raise leaves.refusal("executable", at, f"arm {executable} is not read")
    at += 4
    if _word_at(data, at, "storage of an instance") == 0:
        return ContractInstance(wasm_hash, None), at + 4
    storage, at = reader.map_at(data, at)
    return ContractInstance(wasm_hash, storage), at


def _put_instance(instance: ContractInstance, out: bytearray) -> None:
    if instance.wasm_hash is None:
        out += writer.word(_INSTANCE) + writer.word(_STELLAR_ASSET)
    elif len(instance.wasm_hash) == 32:
        out += writer.word(_INSTANCE) + writer.word(_WASM) + instance.wasm_hash
    else:
        raise ValueError(f"a hash has 32 bytes, not {len(instance.wasm_hash)}")
    if instance.storage is None:
        out += writer.word(0)
    else:
        writer.put_map(instance.storage, out)


def _expect(data: bytes, at: int, what: str, number: int) -> int:
    found = _word_at(data, at, what)
    if found != number:
        raise leaves.refusal(what, at, f"{found} is not read here, only {number}")
    return at + 4


def _word_at(data: bytes, at: int, what: str) -> int:
    if at + 4 > len(data):
        raise leaves.short(what, data, at, 4)
    return int(leaves.word_at(data, at)[0])
