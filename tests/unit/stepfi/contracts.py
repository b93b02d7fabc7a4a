"""Contracts and people that exist nowhere, and their events and entries, encoded by stellar-sdk: the oracle, not our writer."""

from typing import Any

from stellar_sdk import Address, StrKey, xdr
from stellar_sdk import scval as sdk

from shared import frames, position
from shared.stepfi.events import Role
from shared.stepfi.settings import Stepfi
from streams.facts import Fact, merge
from streams.stepfi.application import StepfiStream

CONTRACTS = {role: StrKey.encode_contract(bytes([number] * 32)) for number, role in enumerate(Role, start=1)}
STRANGER = StrKey.encode_contract(bytes([99] * 32))
BORROWER, VENDOR, PROVIDER, ADMIN = (StrKey.encode_ed25519_public_key(bytes([number] * 32)) for number in range(4))
APPLICATION = StepfiStream(Stepfi.model_validate({role.value: contract for role, contract in CONTRACTS.items()}))
CLOSED_AT = "2026-08-20T10:10:22Z"
CLOSED = 1_787_220_622

sym, i128, u32, u64, vec, text = (
    sdk.to_symbol,
    sdk.to_int128,
    sdk.to_uint32,
    sdk.to_uint64,
    sdk.to_vec,
    sdk.to_string,
)
address, boolean, void = sdk.to_address, sdk.to_bool, sdk.to_void


def struct(**fields):
    return sdk.to_map({sym(name): value for name, value in fields.items()})


def unit(name):
    """A variant of an enum without discriminants."""
    return vec([sym(name)])


def installment(*, amount, due, paid=False, paid_at=0):
    return struct(amount=i128(amount), due_date=u64(due), paid=boolean(paid), paid_at=u64(paid_at))


def event(role, name, topics, data, *, ledger=1000, index=0, kind="contract", contract=None):
    """An event of one of our contracts, at the close of its ledger 5 s after the ledger before."""
    return frames.Event(
        id=f"{ledger << 32:019d}-{index:010d}",
        type=kind,
        contract=contract or CONTRACTS[role],
        tx_hash=f"{ledger:062x}{index:02x}",
        closed_at=CLOSED_AT,
        topics=tuple(topic.to_xdr() for topic in (sym(name), *topics)),
        value=data.to_xdr(),
    )


def entry(role, key, value):
    """A persistent entry of one of our contracts, as getLedgerEntries says it."""
    contract = Address(CONTRACTS[role]).to_xdr_sc_address()
    data = xdr.LedgerEntryData(
        xdr.LedgerEntryType.CONTRACT_DATA,
        contract_data=xdr.ContractDataEntry(
            ext=xdr.ExtensionPoint(0),
            contract=contract,
            key=key,
            durability=xdr.ContractDataDurability.PERSISTENT,
            val=value,
        ),
    )
    ledger_key = xdr.LedgerKey(
        xdr.LedgerEntryType.CONTRACT_DATA,
        contract_data=xdr.LedgerKeyContractData(contract, key, xdr.ContractDataDurability.PERSISTENT),
    )
    return frames.Entry(key=ledger_key.to_xdr(), xdr=data.to_xdr(), last_modified=1, live_until=2)


def instance(role, storage, *, wasm=b"\7" * 32):
    """The instance entry of one of our contracts."""
    executable = xdr.ContractExecutable(xdr.ContractExecutableType.CONTRACT_EXECUTABLE_WASM, wasm_hash=xdr.Hash(wasm))
    pairs = [xdr.SCMapEntry(sym(name), value) for name, value in sorted(storage.items())]
    value = xdr.SCVal(
        xdr.SCValType.SCV_CONTRACT_INSTANCE,
        instance=xdr.SCContractInstance(executable, xdr.SCMap(pairs)),
    )
    return entry(role, xdr.SCVal(xdr.SCValType.SCV_LEDGER_KEY_CONTRACT_INSTANCE), value)


def loan_fields(**changed):
    """The 19 fields of a loan of 1,000 with a guarantee of 200."""
    fields = {
        "loan_id": u64(7),
        "borrower": address(BORROWER),
        "vendor": address(VENDOR),
        "status": unit("Active"),
        "loan_type": unit("Standard"),
        "total_amount": i128(1000),
        "guarantee_amount": i128(200),
        "interest_rate_bps": u32(400),
        "interest_amount": i128(40),
        "service_fee_amount": i128(10),
        "remaining_balance": i128(1050),
        "principal_outstanding": i128(1000),
        "interest_outstanding": i128(40),
        "service_fee_outstanding": i128(10),
        "late_fees_outstanding": i128(0),
        "late_fee_accrual_timestamp": u64(0),
        "created_at": u64(CLOSED),
        "funded_at": u64(CLOSED),
        "repayment_schedule": vec([installment(amount=1050, due=CLOSED + 1000)]),
    }
    return fields | changed


def loan_entry(loan_id=7, **changed):
    fields = loan_fields(loan_id=u64(loan_id)) | changed
    return entry(Role.CREDITLINE, vec([sym("Loan"), u32(loan_id % 32), u64(loan_id)]), struct(**fields))


def vendor_entry(**fields):
    return entry(Role.VENDOR_REGISTRY, vec([sym("Vendor"), address(VENDOR)]), struct(**fields))


def shares_entry(shares, provider=PROVIDER):
    return entry(Role.LIQUIDITY_POOL, vec([sym("LPSHRS"), address(provider)]), i128(shares))


def pool_entry(*, shares, liquidity, locked):
    return instance(Role.LIQUIDITY_POOL, {"TOTSHRS": i128(shares), "TOTLIQ": i128(liquidity), "LCKDLIQ": i128(locked)})


def facts(*told):
    """The facts of events, and of (entry, ledger) pairs."""
    found: list[Fact] = []
    for one in told:
        if isinstance(one, frames.Event):
            found += APPLICATION.facts_of_event(one)
        else:
            found += APPLICATION.facts_of_entry(one[0], ledger=one[1])
    return found


def end(ledger):
    return position.end_of(ledger)


def states(*told):
    """The rows that follow from the facts of events and of (entry, ledger) pairs, by key; in order, as replay folds them."""
    folds = {fold.prefix: fold for fold in APPLICATION.folds}
    rows: dict[str, Any] = {}
    for fact in merge(facts(*told)):
        if fact.prefix in folds:
            rows[fact.key] = folds[fact.prefix].step(rows.get(fact.key), fact)
    return rows


def key_of(prefix, role, *identity):
    return ":".join((prefix, CONTRACTS[role], *map(str, identity)))
