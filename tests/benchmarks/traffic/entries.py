"""The ledger entries of what the traffic touches, as getLedgerEntries would give them."""

from collections.abc import Mapping

from shared import ledger_entry, scval
from shared.ledger_entry import INSTANCE_KEY, PERSISTENT, ContractData, ContractInstance
from shared.scval import I128, U32, U64, Symbol
from shared.stepfi import entries
from shared.stepfi.events import Role
from tests.benchmarks.traffic.lending import schedule
from tests.benchmarks.traffic.world import UNIT, Loan, Provider, Thing, Vendor

WASM_HASH = bytes(range(32))
_POOL = {"LCKDLIQ": I128(0), "TOTLIQ": I128(10**9 * UNIT), "TOTSHRS": I128(10**9 * UNIT)}
_STORAGES: Mapping[Role, Mapping[str, scval.Value]] = {
    Role.CREDITLINE: {"LOANCNT": U64(0)},
    Role.LIQUIDITY_POOL: _POOL,
    Role.REPUTATION: {"SCORES": scval.Map()},
}

Written = tuple[str, str]
"""Key and XDR, base64."""


def write(thing: Thing, contracts: Mapping[Role, scval.Address]) -> Written:
    """The entry of a loan, a provider's shares or a vendor, as it stands now."""
    match thing:
        case Loan():
            shard = U32(thing.number % entries.LOAN_SHARDS)
            return _data(contracts[Role.CREDITLINE], (Symbol("Loan"), shard, U64(thing.number)), _loan(thing))
        case Provider():
            return _data(contracts[Role.LIQUIDITY_POOL], (Symbol("LPSHRS"), thing.address), I128(thing.shares))
        case Vendor():
            value = _struct({"name": thing.name, "status": U32(1)})
            return _data(contracts[Role.VENDOR_REGISTRY], (Symbol("Vendor"), thing.address), value)


def instance(role: Role, contract: scval.Address) -> Written:
    """The instance of a contract as it began."""
    storage = _struct(_STORAGES.get(role, {}))
    entry = ContractData(contract, INSTANCE_KEY, PERSISTENT, ContractInstance(WASM_HASH, storage))
    return ledger_entry.instance_key(contract), ledger_entry.write_entry(entry)


def _data(contract: scval.Address, key: tuple[scval.Value, ...], value: scval.Value) -> Written:
    entry = ContractData(contract, key, PERSISTENT, value)
    return ledger_entry.contract_data_key(contract, key), ledger_entry.write_entry(entry)


def _struct(fields: Mapping[str, scval.Value]) -> scval.Map:
    return scval.Map((Symbol(name), fields[name]) for name in sorted(fields))


def _loan(loan: Loan) -> scval.Map:
    zero = I128(0)
    return _struct(
        {
            "loan_id": U64(loan.number),
            "borrower": loan.borrower,
            "vendor": loan.vendor,
            "status": (Symbol(loan.status),),
            "loan_type": (Symbol("Standard"),),
            "total_amount": I128(loan.total),
            "guarantee_amount": I128(loan.guarantee),
            "interest_rate_bps": U32(400),
            "interest_amount": zero,
            "service_fee_amount": zero,
            "remaining_balance": I128(loan.remaining),
            "principal_outstanding": I128(loan.remaining),
            "interest_outstanding": zero,
            "service_fee_outstanding": zero,
            "late_fees_outstanding": zero,
            "late_fee_accrual_timestamp": U64(0),
            "created_at": U64(loan.created_at),
            "funded_at": U64(loan.created_at),
            "repayment_schedule": schedule(loan),
        }
    )
