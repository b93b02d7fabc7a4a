"""The first tables"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE SCHEMA IF NOT EXISTS chain")

    op.create_table(
        "anchors",
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("bucket", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Text(collation="C"), nullable=False),
        sa.Column("contract", sa.Text(), nullable=False),
        sa.Column("tx_hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("scope", "bucket"),
        schema="chain",
        comment="The first known event of each 1,024 ledgers: by it a chain is recognized that began anew under the same name.",
    )
    op.create_index("anchors_position", "anchors", ["scope", "position"], unique=False, schema="chain")
    op.create_table(
        "closes",
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("bucket", sa.BigInteger(), nullable=False),
        sa.Column("ledger", sa.BigInteger(), nullable=False),
        sa.Column("closed_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("scope", "bucket"),
        schema="chain",
        comment="The newest ledger of each 16 whose close time (unix seconds) the log tells, so that a watermark below an open gap still has a time.",
    )
    op.create_table(
        "contracts",
        sa.Column("key", sa.Text(collation="C"), nullable=False),
        sa.Column("position", sa.Text(collation="C"), nullable=False),
        sa.Column("observed_at", sa.Text(collation="C"), nullable=True),
        sa.Column("asked_at", sa.Text(collation="C"), nullable=True),
        sa.Column("contract", sa.Text(), nullable=False),
        sa.Column("wasm_hash", sa.Text(), nullable=True),
        sa.Column("upgraded_at", sa.Text(collation="C"), nullable=True),
        sa.PrimaryKeyConstraint("key"),
        schema="chain",
        comment="The contracts of all scopes, by their instance entries. asked_at: start of the scope, the newest upgrade or unread event.",
    )
    op.create_table(
        "coverage",
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("contract", sa.Text(), nullable=False),
        sa.Column("after", sa.Text(collation="C"), nullable=False),
        sa.Column("through", sa.Text(collation="C"), nullable=False),
        sa.PrimaryKeyConstraint("scope", "contract", "after"),
        schema="chain",
        comment="Ranges (after, through] that a page's own cursor proved scanned and whose events were applied.",
    )
    op.create_table(
        "creditlines",
        sa.Column("key", sa.Text(collation="C"), nullable=False),
        sa.Column("position", sa.Text(collation="C"), nullable=False),
        sa.Column("observed_at", sa.Text(collation="C"), nullable=True),
        sa.Column("asked_at", sa.Text(collation="C"), nullable=True),
        sa.Column("contract", sa.Text(), nullable=False),
        sa.Column("loan_count", sa.Numeric(precision=20, scale=0), nullable=True),
        sa.PrimaryKeyConstraint("key"),
        schema="chain",
        comment="loan_count: loans are numbered 1 to this without gaps, as of observed_at.",
    )
    op.create_table(
        "facts",
        sa.Column("key", sa.Text(collation="C"), nullable=False),
        sa.Column("position", sa.Text(collation="C"), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("tx_hash", sa.Text(), nullable=True),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("conflict", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.PrimaryKeyConstraint("key", "position"),
        schema="chain",
        comment="Every event and every observed entry, verbatim, under each key that it tells of. problem: why it was not decoded. conflict: two different values were observed at one ledger.",
        postgresql_partition_by="RANGE (position)",
    )
    op.create_index(
        "facts_conflict", "facts", ["key"], unique=False, schema="chain", postgresql_where=sa.text("conflict")
    )
    op.create_index(
        "facts_observed",
        "facts",
        ["key", "position"],
        unique=False,
        schema="chain",
        postgresql_where=sa.text("kind = 'observed'"),
    )
    op.create_index(
        "facts_tx_hash",
        "facts",
        ["tx_hash"],
        unique=False,
        schema="chain",
        postgresql_where=sa.text("tx_hash IS NOT NULL"),
    )
    op.create_table(
        "facts_partitions",
        sa.Column("name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        schema="chain",
        comment="The partitions of facts that were made, so that a detached one is missed where its facts would be needed.",
    )
    op.create_table(
        "gaps",
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("after", sa.Text(collation="C"), nullable=False),
        sa.Column("through", sa.Text(collation="C"), nullable=False),
        sa.Column("contracts", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("noted_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("scope", "after", "through"),
        schema="chain",
        comment="Ranges that were not read when they were due. state: open, filling, filled or superseded; closed ones stay listed. noted_at: when the record that tells of it was written (unix seconds).",
    )
    op.create_table(
        "liquidity_positions",
        sa.Column("key", sa.Text(collation="C"), nullable=False),
        sa.Column("position", sa.Text(collation="C"), nullable=False),
        sa.Column("observed_at", sa.Text(collation="C"), nullable=True),
        sa.Column("asked_at", sa.Text(collation="C"), nullable=True),
        sa.Column("contract", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Numeric(precision=20, scale=0), nullable=True),
        sa.Column("shares", sa.Numeric(precision=39, scale=0), nullable=True),
        sa.Column("cost", sa.Numeric(precision=39, scale=0), nullable=True),
        sa.Column("cost_since", sa.Text(collation="C"), nullable=True),
        sa.Column("assumed_shares", sa.Numeric(precision=39, scale=0), nullable=True),
        sa.Column("assumed_cost", sa.Numeric(precision=39, scale=0), nullable=True),
        sa.PrimaryKeyConstraint("key"),
        schema="chain",
        comment="created_at: close time of the first known event. cost: deposits less withdrawals at average cost. cost_since: the cost is right if no event behind this position was missed. assumed_…: what the known events give if nothing came before them; an observation proves or refutes it.",
    )
    op.create_index(
        "liquidity_positions_asked_at",
        "liquidity_positions",
        ["asked_at"],
        unique=False,
        schema="chain",
        postgresql_where=sa.text("asked_at IS NOT NULL"),
    )
    op.create_table(
        "loans",
        sa.Column("key", sa.Text(collation="C"), nullable=False),
        sa.Column("position", sa.Text(collation="C"), nullable=False),
        sa.Column("observed_at", sa.Text(collation="C"), nullable=True),
        sa.Column("asked_at", sa.Text(collation="C"), nullable=True),
        sa.Column("contract", sa.Text(), nullable=False),
        sa.Column("loan_id", sa.Numeric(precision=20, scale=0), nullable=False),
        sa.Column("terms_since", sa.Text(collation="C"), nullable=True),
        sa.Column("borrower", sa.Text(), nullable=True),
        sa.Column("vendor", sa.Text(), nullable=True),
        sa.Column("total_amount", sa.Numeric(precision=39, scale=0), nullable=True),
        sa.Column("guarantee_amount", sa.Numeric(precision=39, scale=0), nullable=True),
        sa.Column("schedule", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("details_since", sa.Text(collation="C"), nullable=True),
        sa.Column("loan_type", sa.Text(), nullable=True),
        sa.Column("interest_rate_bps", sa.BigInteger(), nullable=True),
        sa.Column("interest_amount", sa.Numeric(precision=39, scale=0), nullable=True),
        sa.Column("service_fee_amount", sa.Numeric(precision=39, scale=0), nullable=True),
        sa.Column("funded_at", sa.Numeric(precision=20, scale=0), nullable=True),
        sa.Column("status_since", sa.Text(collation="C"), nullable=True),
        sa.Column("status", sa.Text(), nullable=True),
        sa.Column("balance_since", sa.Text(collation="C"), nullable=True),
        sa.Column("remaining_balance", sa.Numeric(precision=39, scale=0), nullable=True),
        sa.Column("buckets_since", sa.Text(collation="C"), nullable=True),
        sa.Column("principal_outstanding", sa.Numeric(precision=39, scale=0), nullable=True),
        sa.Column("interest_outstanding", sa.Numeric(precision=39, scale=0), nullable=True),
        sa.Column("service_fee_outstanding", sa.Numeric(precision=39, scale=0), nullable=True),
        sa.Column("late_fees_outstanding", sa.Numeric(precision=39, scale=0), nullable=True),
        sa.Column("late_fee_accrual_timestamp", sa.Numeric(precision=20, scale=0), nullable=True),
        sa.Column("created_at", sa.Numeric(precision=20, scale=0), nullable=True),
        sa.Column("created_tx", sa.Text(), nullable=True),
        sa.Column("approved_at", sa.Numeric(precision=20, scale=0), nullable=True),
        sa.Column("completed_at", sa.Numeric(precision=20, scale=0), nullable=True),
        sa.Column("defaulted_at", sa.Numeric(precision=20, scale=0), nullable=True),
        sa.Column("cancelled_at", sa.Numeric(precision=20, scale=0), nullable=True),
        sa.PrimaryKeyConstraint("key"),
        schema="chain",
        comment="schedule: [{amount, due_date, paid, paid_at}], numbers as text. approved_at to cancelled_at come from events.",
    )
    op.create_index(
        "loans_asked_at",
        "loans",
        ["asked_at"],
        unique=False,
        schema="chain",
        postgresql_where=sa.text("asked_at IS NOT NULL"),
    )
    op.create_index("loans_borrower", "loans", ["borrower"], unique=False, schema="chain")
    op.create_index("loans_contract_loan_id", "loans", ["contract", "loan_id"], unique=True, schema="chain")
    op.create_index("loans_contract_observed_at", "loans", ["contract", "observed_at"], unique=False, schema="chain")
    op.create_index("loans_created_tx", "loans", ["created_tx"], unique=False, schema="chain")
    op.create_table(
        "offsets",
        sa.Column("partition", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("next_offset", sa.BigInteger(), nullable=False),
        sa.Column("newest_fact", sa.Text(collation="C"), nullable=False),
        sa.PrimaryKeyConstraint("partition"),
        schema="chain",
        comment="The Kafka offset due next, per partition. Its row lock is the fence between workers. newest_fact: no fact of the partition stands behind this position.",
    )
    op.create_table(
        "pools",
        sa.Column("key", sa.Text(collation="C"), nullable=False),
        sa.Column("position", sa.Text(collation="C"), nullable=False),
        sa.Column("observed_at", sa.Text(collation="C"), nullable=True),
        sa.Column("asked_at", sa.Text(collation="C"), nullable=True),
        sa.Column("contract", sa.Text(), nullable=False),
        sa.Column("total_shares", sa.Numeric(precision=39, scale=0), nullable=True),
        sa.Column("total_liquidity", sa.Numeric(precision=39, scale=0), nullable=True),
        sa.Column("locked_liquidity", sa.Numeric(precision=39, scale=0), nullable=True),
        sa.Column("later_since", sa.Text(collation="C"), nullable=True),
        sa.PrimaryKeyConstraint("key"),
        schema="chain",
        comment="Known from the first observation on; events before it have no base to add to. later_since: the first sign, at or behind the newest observation, that the contract is of a later version: what these do otherwise is then unknown until seen.",
    )
    op.create_index(
        "pools_asked_at",
        "pools",
        ["asked_at"],
        unique=False,
        schema="chain",
        postgresql_where=sa.text("asked_at IS NOT NULL"),
    )
    op.create_table(
        "reputation_maps",
        sa.Column("key", sa.Text(collation="C"), nullable=False),
        sa.Column("position", sa.Text(collation="C"), nullable=False),
        sa.Column("observed_at", sa.Text(collation="C"), nullable=True),
        sa.Column("asked_at", sa.Text(collation="C"), nullable=True),
        sa.Column("contract", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
        schema="chain",
        comment="When the whole map of scores was seen last: a user whose own row is older was not in it, and has 0.",
    )
    op.create_table(
        "scopes",
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("network", sa.Text(), nullable=False),
        sa.Column("contracts", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("origin", sa.Text(collation="C"), nullable=False),
        sa.Column("began_at", sa.BigInteger(), nullable=True),
        sa.Column("tip", sa.Text(collation="C"), nullable=True),
        sa.Column("tip_closed_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("scope"),
        sa.UniqueConstraint("partition"),
        schema="chain",
        comment="A set of contracts that are asked together. began_at: when the first record was written (unix seconds), which tells this log from one made anew. tip: the newest page end whose close time (unix seconds) is known.",
    )
    op.create_table(
        "score_changes",
        sa.Column("key", sa.Text(collation="C"), nullable=False),
        sa.Column("position", sa.Text(collation="C"), nullable=False),
        sa.Column("observed_at", sa.Text(collation="C"), nullable=True),
        sa.Column("asked_at", sa.Text(collation="C"), nullable=True),
        sa.Column("contract", sa.Text(), nullable=False),
        sa.Column("user_address", sa.Text(), nullable=False),
        sa.Column("old_score", sa.BigInteger(), nullable=False),
        sa.Column("new_score", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("tx_hash", sa.Text(), nullable=False),
        sa.Column("ledger", sa.Integer(), nullable=False),
        sa.Column("closed_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
        schema="chain",
        comment="One row a SCORECHGD event; position is the event's id.",
    )
    op.create_table(
        "scores",
        sa.Column("key", sa.Text(collation="C"), nullable=False),
        sa.Column("position", sa.Text(collation="C"), nullable=False),
        sa.Column("observed_at", sa.Text(collation="C"), nullable=True),
        sa.Column("asked_at", sa.Text(collation="C"), nullable=True),
        sa.Column("contract", sa.Text(), nullable=False),
        sa.Column("user_address", sa.Text(), nullable=False),
        sa.Column("score", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("key"),
        schema="chain",
    )
    op.create_index("scores_user", "scores", ["user_address"], unique=False, schema="chain")
    op.create_table(
        "superseded",
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("contract", sa.Text(), nullable=False),
        sa.Column("after", sa.Text(collation="C"), nullable=False),
        sa.Column("through", sa.Text(collation="C"), nullable=False),
        sa.Column("ledger", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("scope", "contract", "after", "through"),
        schema="chain",
        comment="Ranges whose events were not read: the whole state was observed behind them, as of the ledger.",
    )
    op.create_table(
        "vendors",
        sa.Column("key", sa.Text(collation="C"), nullable=False),
        sa.Column("position", sa.Text(collation="C"), nullable=False),
        sa.Column("observed_at", sa.Text(collation="C"), nullable=True),
        sa.Column("asked_at", sa.Text(collation="C"), nullable=True),
        sa.Column("contract", sa.Text(), nullable=False),
        sa.Column("vendor", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Numeric(precision=20, scale=0), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("status_since", sa.Text(collation="C"), nullable=True),
        sa.Column("status", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("key"),
        schema="chain",
    )
    op.create_index(
        "vendors_asked_at",
        "vendors",
        ["asked_at"],
        unique=False,
        schema="chain",
        postgresql_where=sa.text("asked_at IS NOT NULL"),
    )
    op.create_index("vendors_vendor", "vendors", ["vendor"], unique=False, schema="chain")

    op.execute("CREATE SCHEMA IF NOT EXISTS recon")

    op.create_table(
        "drift",
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("row_id", sa.Text(), nullable=True),
        sa.Column("chain_key", sa.Text(), nullable=True),
        sa.Column("class", sa.Text(), nullable=False),
        sa.Column("signature", sa.Text(), nullable=False),
        sa.Column("first_seen", sa.DateTime(timezone=True), nullable=False),
        sa.Column("same_since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen", sa.DateTime(timezone=True), nullable=False),
        sa.Column("is_there", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("table_name", "identity"),
        schema="recon",
        comment="What was seen to differ, across runs; identity: the row's id, else the entity. chain_key: the entity's key in chain. signature: what differed, and how. first_seen: since when it drifts without a break; same_since: since when in this way.",
    )
    op.create_index(
        "drift_there", "drift", ["table_name"], unique=False, schema="recon", postgresql_where=sa.text("is_there")
    )
    op.create_table(
        "runs",
        sa.Column("run_id", sa.UUID(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("extent", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("watermark_ledger", sa.BigInteger(), nullable=True),
        sa.Column("mark", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("report", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.PrimaryKeyConstraint("run_id"),
        schema="recon",
        comment="One row a run. mode: dry, repair, apply or undo. extent: full, changed, tables, plan or run. status: running, complete, incomplete or failed. reason: why it is not complete. mark: where a later --changed sweep begins.",
    )
    op.create_index("runs_started_at", "runs", ["started_at"], unique=False, schema="recon")
    op.create_table(
        "spot_rounds",
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("after_key", sa.Text(collation="C"), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("checked", sa.BigInteger(), nullable=False),
        sa.Column("round_started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_round_ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("table_name"),
        schema="recon",
        comment="How far the spot checks of a table's entities are in their present round, which goes in the order of the keys.",
    )
    op.create_table(
        "changes",
        sa.Column("run_id", sa.UUID(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("row_id", sa.Text(), nullable=False),
        sa.Column("entity", sa.Text(), nullable=True),
        sa.Column("class", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("before", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("after", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("row_hash", sa.Text(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("run_id", "number"),
        schema="recon",
        comment="Each intended write, recorded before it is tried. kind: update or insert. row_hash: of the whole row as the write left it. outcome: intended, repaired, skipped_changed, failed or unknown.",
    )
    op.create_index(
        "changes_intended",
        "changes",
        ["run_id"],
        unique=False,
        schema="recon",
        postgresql_where=sa.text("outcome = 'intended'"),
    )
    op.create_index("changes_row", "changes", ["table_name", "row_id"], unique=False, schema="recon")
