"""What StepFi's events and entries say, as values. Amounts are integers of the smallest unit, times unix seconds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Installment:
    amount: int
    due_date: int
    paid: bool
    paid_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoanOpened:
    """LOANCRTD (then active) or LOANRQST (then pending)."""

    loan_id: int
    borrower: str
    vendor: str
    total_amount: int
    guarantee_amount: int
    schedule: tuple[Installment, ...]
    active: bool


@dataclass(frozen=True, slots=True)
class LoanApproved:
    loan_id: int


@dataclass(frozen=True, slots=True)
class LoanCancelled:
    loan_id: int
    borrower: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoanRepaid:
    loan_id: int
    borrower: str
    remaining_balance: int
    fully_repaid: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallmentPaid:
    loan_id: int
    index: int
    remaining_balance: int
    paid_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LateFeeApplied:
    loan_id: int
    borrower: str
    remaining_balance: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoanDefaulted:
    loan_id: int
    borrower: str
    total_amount: int
    remaining_balance: int


@dataclass(frozen=True, slots=True)
class GraceWarned:
    """LOANGRC: changes nothing."""

    loan_id: int


@dataclass(frozen=True, slots=True)
class VendorPaid:
    """VENDPAID of a later version: the loan's entry has to be read."""

    loan_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Deposited:
    provider: str
    amount: int
    shares: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawn:
    provider: str
    shares: int
    amount: int


@dataclass(frozen=True, slots=True)
class LoanFunded:
    """LQFUND. `capped`: told in the shape of a later version, whose pool caps what it lends."""

    amount: int
    capped: bool = False


@dataclass(frozen=True, slots=True)
class PoolRepaid:
    principal: int


@dataclass(frozen=True, slots=True)
class GuaranteeReceived:
    amount: int


@dataclass(frozen=True, slots=True)
class InterestDistributed:
    to_providers: int


@dataclass(frozen=True, slots=True)
class LossTaken:
    """LQLOSS of a later version."""

    shortfall: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreChanged:
    user: str
    old: int
    new: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VendorRegistered:
    vendor: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VendorStatusChanged:
    vendor: str
    status: str


@dataclass(frozen=True, slots=True)
class Upgraded:
    """CONTRACTUPGRADED: the contract's wire formats and entries may have changed."""


@dataclass(frozen=True, slots=True)
class Other:
    """An event that is known by name and changes nothing that our tables hold."""

    name: str


@dataclass(frozen=True, slots=True)
class Unread:
    """An event that could not be read. What it did to the thing that its topics name is not known until the entry is seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoanEntry:
    """The whole of a loan, as its ledger entry holds it."""

    loan_id: int
    borrower: str
    vendor: str
    status: str
    loan_type: str
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
    schedule: tuple[Installment, ...]


@dataclass(frozen=True, slots=True)
class SharesEntry:
    provider: str
    shares: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VendorEntry:
    vendor: str
    name: str
    status: str


@dataclass(frozen=True, slots=True)
class InstanceEntry:
    """Any contract's instance: which code it runs (None: a built-in one)."""

    wasm_hash: str | None


@dataclass(frozen=True, slots=True)
class CreditlineEntry:
    loan_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolEntry:
    """`later`: the contract was upgraded, or keeps what the first version does not know."""

    total_shares: int
    total_liquidity: int
    locked_liquidity: int
    later: bool = False


@dataclass(frozen=True, slots=True)
class ScoreMapEntry:
    """Everybody's score; who is not in it has 0."""

    scores: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class ScoreEntry:
    """One user's part of the map."""

    user: str
    score: int
