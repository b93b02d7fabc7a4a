"""StepFi's state tables in schema `chain`: one row an entity, each a fold of that entity's facts.

NULL means unknown unless said otherwise. The `…_since` columns are the positions of the facts that the groups of columns
stand on; where one is NULL, nothing of its group is known. Amounts are integers of the token's smallest unit, times unix seconds.
"""

from sqlalchemy import BigInteger, Column, Index, Integer, Numeric, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB

from shared.chain_tables import metadata, position_column, state_columns


def _amount(name: str) -> Column[object]:
    return Column(name, Numeric(39, 0))


def _unsigned(name: str, *, nullable: bool = True) -> Column[object]:
    return Column(name, Numeric(20, 0), nullable=nullable)


creditlines = Table(
    "creditlines",
    metadata,
    *state_columns(),
    Column("contract", Text, nullable=False),
    _unsigned("loan_count"),
    comment="loan_count: loans are numbered 1 to this without gaps, as of observed_at.",
)

loans = Table(
    "loans",
    metadata,
    *state_columns(),
    Column("contract", Text, nullable=False),
    _unsigned("loan_id", nullable=False),
    position_column("terms_since"),
    Column("borrower", Text),
    Column("vendor", Text),
    _amount("total_amount"),
    _amount("guarantee_amount"),
    Column("schedule", JSONB),
    position_column("details_since"),
    Column("loan_type", Text),
    Column("interest_rate_bps", BigInteger),
    _amount("interest_amount"),
    _amount("service_fee_amount"),
    _unsigned("funded_at"),
    position_column("status_since"),
    Column("status", Text),
    position_column("balance_since"),
    _amount("remaining_balance"),
    position_column("buckets_since"),
    _amount("principal_outstanding"),
    _amount("interest_outstanding"),
    _amount("service_fee_outstanding"),
    _amount("late_fees_outstanding"),
    _unsigned("late_fee_accrual_timestamp"),
    _unsigned("created_at"),
    Column("created_tx", Text),
    _unsigned("approved_at"),
    _unsigned("completed_at"),
    _unsigned("defaulted_at"),
    _unsigned("cancelled_at"),
    Index("loans_contract_loan_id", "contract", "loan_id", unique=True),
    Index("loans_contract_observed_at", "contract", "observed_at"),
    Index("loans_asked_at", "asked_at", postgresql_where=text("asked_at IS NOT NULL")),
    Index("loans_borrower", "borrower"),
    Index("loans_created_tx", "created_tx"),
    comment="schedule: [{amount, due_date, paid, paid_at}], numbers as text. approved_at to cancelled_at come from events.",
)

liquidity_positions = Table(
    "liquidity_positions",
    metadata,
    *state_columns(),
    Column("contract", Text, nullable=False),
    Column("provider", Text, nullable=False),
    _unsigned("created_at"),
    _amount("shares"),
    _amount("cost"),
    position_column("cost_since"),
    _amount("assumed_shares"),
    _amount("assumed_cost"),
    Index("liquidity_positions_asked_at", "asked_at", postgresql_where=text("asked_at IS NOT NULL")),
    comment="created_at: close time of the first known event. cost: deposits less withdrawals at average cost. "
    "cost_since: the cost is right if no event behind this position was missed. "
    "assumed_…: what the known events give if nothing came before them; "
    "an observation proves or refutes it.",
)

pools = Table(
    "pools",
    metadata,
    *state_columns(),
    Column("contract", Text, nullable=False),
    _amount("total_shares"),
    _amount("total_liquidity"),
    _amount("locked_liquidity"),
    position_column("later_since"),
    Index("pools_asked_at", "asked_at", postgresql_where=text("asked_at IS NOT NULL")),
    comment="Known from the first observation on; events before it have no base to add to. later_since: the first sign, at or "
    "behind the newest observation, that the contract is of a later version: what these do otherwise is then unknown until seen.",
)

reputation_maps = Table(
    "reputation_maps",
    metadata,
    *state_columns(),
    Column("contract", Text, nullable=False),
    comment="When the whole map of scores was seen last: a user whose own row is older was not in it, and has 0.",
)

scores = Table(
    "scores",
    metadata,
    *state_columns(),
    Column("contract", Text, nullable=False),
    Column("user_address", Text, nullable=False),
    Column("score", BigInteger),
    Index("scores_user", "user_address"),
)

score_changes = Table(
    "score_changes",
    metadata,
    *state_columns(),
    Column("contract", Text, nullable=False),
    Column("user_address", Text, nullable=False),
    Column("old_score", BigInteger, nullable=False),
    Column("new_score", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("tx_hash", Text, nullable=False),
    Column("ledger", Integer, nullable=False),
    Column("closed_at", BigInteger, nullable=False),
    comment="One row a SCORECHGD event; position is the event's id.",
)

vendors = Table(
    "vendors",
    metadata,
    *state_columns(),
    Column("contract", Text, nullable=False),
    Column("vendor", Text, nullable=False),
    _unsigned("created_at"),
    Column("name", Text),
    position_column("status_since"),
    Column("status", Text),
    Index("vendors_asked_at", "asked_at", postgresql_where=text("asked_at IS NOT NULL")),
    Index("vendors_vendor", "vendor"),
)
