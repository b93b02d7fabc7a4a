"""StepFi's ledger entries: their keys, and what they hold. Read by key name; keys of later versions are let pass."""

from collections.abc import Mapping

from shared import errors, scval
from shared.ledger_entry import ContractData, ContractInstance, contract_data_key, instance_key
from shared.stepfi import shapes, statuses, values
from shared.stepfi.events import Role

LOAN_SHARDS = 32
_FIRST_VERSION = scval.U32(1)
_POOL_KEYS = frozenset(
    {"ADMIN", "TOKEN", "CRDTLIN", "TREASURY", "MRCHFND", "LOCKED", "VERSION", "TOTSHRS", "TOTLIQ", "LCKDLIQ"}
)
"""All that the pool's first version keeps in its instance: with more in it, a later one runs, or did."""

__all__ = ["instance_key", "key_of", "loan_key", "read", "shares_key", "vendor_key"]


def loan_key(creditline: str, loan_id: int) -> str:
    """The base64 LedgerKey of a loan."""
    key = (scval.Symbol("Loan"), scval.U32(loan_id % LOAN_SHARDS), scval.U64(loan_id))
    return contract_data_key(creditline, key)


def shares_key(pool: str, provider: str) -> str:
    """The base64 LedgerKey of a provider's shares."""
    return contract_data_key(pool, (scval.Symbol("LPSHRS"), scval.Address(provider)))


def vendor_key(registry: str, vendor: str) -> str:
    """The base64 LedgerKey of a vendor."""
    return contract_data_key(registry, (scval.Symbol("Vendor"), scval.Address(vendor)))


def key_of(kind: str, contract: str, identity: str) -> str:
    """The base64 LedgerKey of an `instance`, or of a `loan`, `provider` or `vendor` by its id."""
    match kind:
        case "instance":
            return instance_key(contract)
        case "loan":
            return loan_key(contract, int(identity))
        case "provider":
            return shares_key(contract, identity)
    return vendor_key(contract, identity)


def read(role: Role, data: ContractData) -> tuple[object, ...]:
    """What the entry says, as values; () for an entry of ours that nothing folds. Raises Undecodable."""
    if isinstance(data.value, ContractInstance):
        return _instance(role, data.value)
    if type(data.key) is not tuple or not data.key or type(data.key[0]) is not scval.Symbol:
        return ()
    match role, str(data.key[0]), data.key[1:]:
        case Role.CREDITLINE, "Loan", (_, loan_id):
            return (_loan(shapes.u64(loan_id), shapes.named(data.value)),)
        case Role.LIQUIDITY_POOL, "LPSHRS", (provider,):
            return (values.SharesEntry(shapes.address(provider), shapes.i128(data.value)),)
        case Role.VENDOR_REGISTRY, "Vendor", (vendor,):
            return (_vendor(shapes.address(vendor), shapes.named(data.value)),)
    return ()


def _instance(role: Role, instance: ContractInstance) -> tuple[object, ...]:
    wasm = values.InstanceEntry(instance.wasm_hash.hex() if instance.wasm_hash is not None else None)
    storage = {str(key): value for key, value in instance.storage or () if type(key) is scval.Symbol}
    match role:
        case Role.CREDITLINE:
            return wasm, values.CreditlineEntry(shapes.u64(storage.get("LOANCNT", scval.U64(0))))
        case Role.LIQUIDITY_POOL:
            zero = scval.I128(0)
            pool = values.PoolEntry(
                total_shares=shapes.i128(storage.get("TOTSHRS", zero)),
                total_liquidity=shapes.i128(storage.get("TOTLIQ", zero)),
                locked_liquidity=shapes.i128(storage.get("LCKDLIQ", zero)),
                later=storage.get("VERSION", _FIRST_VERSION) != _FIRST_VERSION or not storage.keys() <= _POOL_KEYS,
            )
            return wasm, pool
        case Role.REPUTATION:
            return wasm, _scores(storage)
    return (wasm,)


def _scores(storage: Mapping[str, object]) -> values.ScoreMapEntry:
    pairs = shapes.expect(scval.Map, storage.get("SCORES", scval.Map()))
    return values.ScoreMapEntry(tuple((shapes.address(user), shapes.u32(score)) for user, score in pairs))


def _loan(loan_id: int, fields: Mapping[str, object]) -> values.LoanEntry:
    try:
        loan = values.LoanEntry(
            loan_id=shapes.u64(fields["loan_id"]),
            borrower=shapes.address(fields["borrower"]),
            vendor=shapes.address(fields["vendor"]),
            status=shapes.variant(fields["status"], statuses.LOAN_STATUSES),
            loan_type=shapes.variant(fields["loan_type"], statuses.LOAN_TYPES),
            total_amount=shapes.i128(fields["total_amount"]),
            guarantee_amount=shapes.i128(fields["guarantee_amount"]),
            interest_rate_bps=shapes.u32(fields["interest_rate_bps"]),
            interest_amount=shapes.i128(fields["interest_amount"]),
            service_fee_amount=shapes.i128(fields["service_fee_amount"]),
            remaining_balance=shapes.i128(fields["remaining_balance"]),
            principal_outstanding=shapes.i128(fields["principal_outstanding"]),
            interest_outstanding=shapes.i128(fields["interest_outstanding"]),
            service_fee_outstanding=shapes.i128(fields["service_fee_outstanding"]),
            late_fees_outstanding=shapes.i128(fields["late_fees_outstanding"]),
            late_fee_accrual_timestamp=shapes.u64(fields["late_fee_accrual_timestamp"]),
            created_at=shapes.u64(fields["created_at"]),
            funded_at=shapes.u64(fields["funded_at"]),
            schedule=shapes.read_schedule(fields["repayment_schedule"]),
        )
    except KeyError as error:
        raise errors.Undecodable(f"a loan without {error}") from None
    if loan.loan_id != loan_id:
        raise errors.Undecodable(f"the entry of loan {loan_id} holds loan {loan.loan_id}")
    return loan


def _vendor(vendor: str, fields: Mapping[str, object]) -> values.VendorEntry:
    try:
        status = fields["status"] if "status" in fields else fields["active"]
        return values.VendorEntry(
            vendor=vendor, name=shapes.vendor_name(fields["name"]), status=statuses.vendor_status(status)
        )
    except KeyError as error:
        raise errors.Undecodable(f"a vendor without {error}") from None
