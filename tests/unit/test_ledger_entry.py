"""Ledger keys and entries of contract data, against stellar-sdk and the recorded histories."""

import base64
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stellar_sdk import Address, xdr

from shared import errors, ledger_entry, scval, strkey
from shared.ledger_entry import (
    PERSISTENT,
    TEMPORARY,
    ContractData,
    ContractDataKey,
    ContractInstance,
    Durability,
    NonceKey,
)
from shared.scval import Value
from tests import recordings
from tests.unit import scvals

CONTRACT = scval.Address(scvals.CONTRACT)
STORAGE = scval.Map([((scval.Symbol("Admin"),), scval.Address(scvals.ACCOUNT))])


def sdk_key(contract: str, key: xdr.SCVal, durability: Durability) -> str:
    data = xdr.LedgerKeyContractData(
        Address(contract).to_xdr_sc_address(), key, xdr.ContractDataDurability(int(durability))
    )
    return xdr.LedgerKey(xdr.LedgerEntryType.CONTRACT_DATA, contract_data=data).to_xdr()


def sdk_entry(contract: str, key: xdr.SCVal, durability: Durability, value: xdr.SCVal) -> str:
    entry = xdr.ContractDataEntry(
        xdr.ExtensionPoint(0),
        Address(contract).to_xdr_sc_address(),
        key,
        xdr.ContractDataDurability(int(durability)),
        value,
    )
    return xdr.LedgerEntryData(xdr.LedgerEntryType.CONTRACT_DATA, contract_data=entry).to_xdr()


@given(scvals.addresses(), scvals.values(), st.sampled_from(Durability))
def test_keys_are_the_sdks(contract: scval.Address, key: Value, durability: Durability) -> None:
    text = sdk_key(contract, scvals.by_sdk(key), durability)
    assert ledger_entry.contract_data_key(contract, key, durability=durability) == text
    assert ledger_entry.read_key(text) == ContractDataKey(contract, key, durability)


@given(scvals.addresses(), scvals.values(), st.sampled_from(Durability), scvals.values())
def test_entries_are_the_sdks(contract: scval.Address, key: Value, durability: Durability, value: Value) -> None:
    text = sdk_entry(contract, scvals.by_sdk(key), durability, scvals.by_sdk(value))
    entry = ContractData(contract, key, durability, value)
    assert ledger_entry.read_entry(text) == entry
    assert ledger_entry.write_entry(entry) == text


def test_the_key_of_an_instance_is_the_sdks() -> None:
    key = xdr.SCVal(xdr.SCValType.SCV_LEDGER_KEY_CONTRACT_INSTANCE)
    text = ledger_entry.instance_key(CONTRACT)
    assert text == sdk_key(CONTRACT, key, PERSISTENT)
    assert ledger_entry.read_key(text) == ContractDataKey(CONTRACT, ledger_entry.INSTANCE_KEY, PERSISTENT)


@pytest.mark.parametrize("number", [-(2**63), -1, 0, 2**63 - 1])
def test_the_key_of_a_nonce_is_the_sdks(number: int) -> None:
    key = xdr.SCVal(xdr.SCValType.SCV_LEDGER_KEY_NONCE, nonce_key=xdr.SCNonceKey(xdr.Int64(number)))
    text = ledger_entry.contract_data_key(scvals.ACCOUNT, NonceKey(number), durability=TEMPORARY)
    assert text == sdk_key(scvals.ACCOUNT, key, TEMPORARY)
    read = ledger_entry.read_key(text)
    assert type(read.key) is NonceKey
    assert read.key == number


@pytest.mark.parametrize("wasm_hash", [None, bytes(range(32))])
@pytest.mark.parametrize("storage", [None, scval.Map(), STORAGE])
def test_instances_are_the_sdks(wasm_hash: bytes | None, storage: scval.Map | None) -> None:
    if wasm_hash is None:
        executable = xdr.ContractExecutable(xdr.ContractExecutableType.CONTRACT_EXECUTABLE_STELLAR_ASSET)
    else:
        kind = xdr.ContractExecutableType.CONTRACT_EXECUTABLE_WASM
        executable = xdr.ContractExecutable(kind, wasm_hash=xdr.Hash(wasm_hash))
    stored = None if storage is None else scvals.by_sdk(storage).map
    instance = xdr.SCContractInstance(executable, stored)
    text = sdk_entry(
        CONTRACT,
        xdr.SCVal(xdr.SCValType.SCV_LEDGER_KEY_CONTRACT_INSTANCE),
        PERSISTENT,
        xdr.SCVal(xdr.SCValType.SCV_CONTRACT_INSTANCE, instance=instance),
    )
    entry = ContractData(CONTRACT, ledger_entry.INSTANCE_KEY, PERSISTENT, ContractInstance(wasm_hash, storage))
    assert ledger_entry.read_entry(text) == entry
    assert ledger_entry.write_entry(entry) == text
    for size in range(len(base64.b64decode(text))):
        with pytest.raises(errors.Undecodable, match=r"at byte \d+"):
            ledger_entry.read_entry(base64.b64encode(base64.b64decode(text)[:size]).decode())


@pytest.mark.parametrize("name", recordings.HISTORIES)
def test_every_recorded_entry_comes_back_as_the_same_bytes(name: str) -> None:
    seen = 0
    for key, text in recordings.entries(name):
        if xdr.LedgerKey.from_xdr(key).type != xdr.LedgerEntryType.CONTRACT_DATA:
            with pytest.raises(errors.Undecodable, match="LedgerKey: arm at byte 0"):
                ledger_entry.read_key(key)
            with pytest.raises(errors.Undecodable, match="LedgerEntryData: arm at byte 0"):
                ledger_entry.read_entry(text)
            continue
        seen += 1
        place = ledger_entry.read_key(key)
        assert ledger_entry.contract_data_key(place.contract, place.key, durability=place.durability) == key
        entry = ledger_entry.read_entry(text)
        assert (entry.contract, entry.key, entry.durability) == (place.contract, place.key, place.durability)
        assert ledger_entry.write_entry(entry) == text
    assert seen


def words(*numbers: int) -> bytes:
    return struct.pack(f">{len(numbers)}I", *numbers)


PLACE = words(1) + bytes(32)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "LedgerEntryData: arm at byte 0: takes 4 bytes, 0 remain"),
        (words(0) + bytes(60), "LedgerEntryData: arm at byte 0: 0 is not read here, only 6"),
        (words(7) + bytes(60), "7 is not read here"),
        (words(6, 1) + PLACE + words(1, 1, 1), "extension at byte 4: 1 is not read here, only 0"),
        (words(6, 0, 2, 0, 7) + bytes(32) + words(1, 1, 1), "muxed account"),
        (words(6, 0) + PLACE + words(1, 2, 1), "durability at byte 48: 2 is unknown"),
        (words(6, 0) + PLACE + words(19, 1, 0, 1, 1), "ScVal at byte 44: arm 19"),
        (words(6, 0) + PLACE + words(1, 1, 19, 1, 0), "ScVal at byte 52: arm 19"),
        (words(6, 0) + PLACE + words(1, 1, 20), "ScVal at byte 52: arm 20"),
        (words(6, 0) + PLACE + words(20, 1, 1), "value of an instance: arm at byte 52: 1 is not read here, only 19"),
        (words(6, 0) + PLACE + words(20, 1, 19, 2, 0), "executable at byte 56: arm 2 is not read"),
        (words(6, 0) + PLACE + words(20, 1, 19, 1, 2, 0), "Map at byte 60: flag 2"),
        (words(6, 0) + PLACE + words(21, 0), "nonce at byte 48: takes 8 bytes, 4 remain"),
        (words(6, 0) + PLACE + words(1, 1, 1, 0), "4 bytes too many behind byte 56"),
    ],
)
def test_refusals_say_what_stands_where(data: bytes, message: str) -> None:
    with pytest.raises(errors.Undecodable, match=message):
        ledger_entry.read_entry(base64.b64encode(data).decode())


def test_a_key_with_more_behind_it_is_refused() -> None:
    data = base64.b64decode(ledger_entry.instance_key(CONTRACT))
    with pytest.raises(errors.Undecodable, match="4 bytes too many"):
        ledger_entry.read_key(base64.b64encode(data + bytes(4)).decode())


def test_what_cannot_be_is_not_written() -> None:
    with pytest.raises(strkey.Invalid):
        ledger_entry.instance_key(scvals.ACCOUNT)
    with pytest.raises(strkey.Invalid):
        ledger_entry.contract_data_key("CONTRACT", scval.Symbol("Loan"))
    with pytest.raises(ValueError, match="out of the range"):
        ledger_entry.contract_data_key(CONTRACT, NonceKey(2**63))
    with pytest.raises(ValueError, match="instance key"):
        ledger_entry.write_entry(ContractData(CONTRACT, ledger_entry.INSTANCE_KEY, PERSISTENT, None))
    with pytest.raises(ValueError, match="instance key"):
        ledger_entry.write_entry(ContractData(CONTRACT, None, PERSISTENT, ContractInstance(None, None)))
    misshapen = ContractData(CONTRACT, ledger_entry.INSTANCE_KEY, PERSISTENT, ContractInstance(b"abc", None))
    with pytest.raises(ValueError, match="32 bytes, not 3"):
        ledger_entry.write_entry(misshapen)
