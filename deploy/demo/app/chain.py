"""What the chain holds, as values: addresses as text, amounts in the token's smallest unit, times of the contract's own in unix
seconds and those of ledgers as datetimes in UTC."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class Installment:
    amount: int
    due_date: int
    paid: bool
    paid_at: int


@dataclass(frozen=True, kw_only=True)
class Creation:
    """The event that made a loan: `LOANCRTD` or `LOANRQST`."""

    event: str
    event_id: str
    transaction_hash: str
    ledger: int
    closed_at: datetime


@dataclass(frozen=True, kw_only=True)
class Loan:
    """The 19 fields of a loan's ledger entry (amounts in the token's smallest unit, times in unix seconds), and its story."""

    loan_id: int
    borrower: str
    vendor: str
    loan_type: str
    status: str
    total_amount: int
    guarantee_amount: int
    interest_rate_bps: int
    interest_amount: int
    service_fee_amount: int
    remaining_balance: int
    principal_outstanding: int
    interest_outstanding: int
    service_fee_outstanding: int
    late_fees_outstanding: int
    late_fee_accrual_timestamp: int
    created_at: int
    funded_at: int
    repayment_schedule: tuple[Installment, ...]
    creation: Creation
    last_written_at: datetime
    completed_at: datetime | None
    defaulted_at: datetime | None
    cancelled_at: datetime | None

    @property
    def terms(self) -> tuple[str, str, int, int]:
        """What a row without an id can be recognised by: borrower, vendor, total, guarantee."""
        return (self.borrower, self.vendor, self.total_amount, self.guarantee_amount)


@dataclass(frozen=True, kw_only=True)
class Movement:
    """A deposit (`shares` > 0: issued for `amount`) or a withdrawal (`shares` < 0: burned, `amount` returned)."""

    event_id: str
    transaction_hash: str
    closed_at: datetime
    amount: int
    shares: int


@dataclass(frozen=True, kw_only=True)
class Provider:
    """A liquidity provider: shares of the ledger entry, and the deposits less withdrawals at average cost."""

    shares: int
    cost: int
    movements: tuple[Movement, ...]


@dataclass(frozen=True, kw_only=True)
class ScoreChange:
    event_id: str
    wallet: str
    old: int
    new: int
    reason: str
    transaction_hash: str
    ledger: int
    closed_at: datetime


@dataclass(frozen=True, kw_only=True)
class Vendor:
    name: str
    status: str
    registered_at: int


@dataclass(frozen=True, kw_only=True)
class Transaction:
    """A recorded call. `inner_hash` is there for a fee bump; `envelope_xdr` only where the recording has envelopes."""

    hash: str
    inner_hash: str | None
    succeeded: bool
    error: str | None
    source: str
    contract: str
    contract_id: str
    function: str
    args_xdr: tuple[str, ...]
    envelope_xdr: str | None
    ledger: int
    closed_at: datetime


@dataclass(frozen=True, kw_only=True)
class ChainTruth:
    """The chain as of the end of `ledger`; keys are loan ids, addresses, transaction hashes."""

    passphrase: str
    contracts: Mapping[str, str]
    start_ledger: int
    started_at: datetime
    ledger: int
    closed_at: datetime
    loan_counter: int
    loans: Mapping[int, Loan]
    providers: Mapping[str, Provider]
    scores: Mapping[str, int]
    score_changes: tuple[ScoreChange, ...]
    vendors: Mapping[str, Vendor]
    transactions: Mapping[str, Transaction]
