"""Schema `recon`: what the sweeps saw, did and why. Never rebuilt from the log, never deleted from."""

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Index, Integer, MetaData, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB, UUID

SCHEMA = "recon"
metadata = MetaData(schema=SCHEMA)

runs = Table(
    "runs",
    metadata,
    Column("run_id", UUID(as_uuid=True), primary_key=True),
    Column("mode", Text, nullable=False),
    Column("extent", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("reason", Text),
    Column("started_at", DateTime(timezone=True), nullable=False),
    Column("finished_at", DateTime(timezone=True)),
    Column("watermark_ledger", BigInteger),
    Column("mark", JSONB),
    Column("report", JSONB),
    Index("runs_started_at", "started_at"),
    comment="One row a run. mode: dry, repair, apply or undo. extent: full, changed, tables, plan or run. status: running, "
    "complete, incomplete or failed. reason: why it is not complete. mark: where a later --changed sweep begins.",
)

changes = Table(
    "changes",
    metadata,
    Column("run_id", UUID(as_uuid=True), primary_key=True),  # of a run: the journal holds its row while it writes these
    Column("number", Integer, primary_key=True),
    Column("table_name", Text, nullable=False),
    Column("row_id", Text, nullable=False),
    Column("entity", Text),
    Column("class", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("before", JSONB, nullable=False),
    Column("after", JSONB, nullable=False),
    Column("row_hash", Text),
    Column("outcome", Text, nullable=False),
    Column("reason", Text),
    Column("recorded_at", DateTime(timezone=True), nullable=False),
    Column("settled_at", DateTime(timezone=True)),
    Index("changes_row", "table_name", "row_id"),
    Index("changes_intended", "run_id", postgresql_where=text("outcome = 'intended'")),
    comment="Each intended write, recorded before it is tried. kind: update or insert. row_hash: of the whole row as the write "
    "left it. outcome: intended, repaired, skipped_changed, failed or unknown.",
)

drift = Table(
    "drift",
    metadata,
    Column("table_name", Text, primary_key=True),
    Column("identity", Text, primary_key=True),
    Column("row_id", Text),
    Column("chain_key", Text),
    Column("class", Text, nullable=False),
    Column("signature", Text, nullable=False),
    Column("first_seen", DateTime(timezone=True), nullable=False),
    Column("same_since", DateTime(timezone=True), nullable=False),
    Column("last_seen", DateTime(timezone=True), nullable=False),
    Column("is_there", Boolean, nullable=False),
    Index("drift_there", "table_name", postgresql_where=text("is_there")),
    comment="What was seen to differ, across runs; identity: the row's id, else the entity. chain_key: the entity's "
    "key in chain. signature: what differed, and how. "
    "first_seen: since when it drifts without a break; same_since: since when in this way.",
)

spot_rounds = Table(
    "spot_rounds",
    metadata,
    Column("table_name", Text, primary_key=True),
    Column("after_key", Text(collation="C"), nullable=False),
    Column("round", Integer, nullable=False),
    Column("checked", BigInteger, nullable=False),
    Column("round_started_at", DateTime(timezone=True), nullable=False),
    Column("last_round_ended_at", DateTime(timezone=True)),
    comment="How far the spot checks of a table's entities are in their present round, which goes in the order of the keys.",
)
