"""Schema `recon`: what the sweeps did and why. Never rebuilt from the log, never deleted from."""

from sqlalchemy import BigInteger, Column, DateTime, ForeignKey, Index, Integer, MetaData, Table, Text
from sqlalchemy.dialects.postgresql import JSONB, UUID

SCHEMA = "recon"
metadata = MetaData(schema=SCHEMA)

runs = Table(
    "runs",
    metadata,
    Column("run_id", UUID(as_uuid=True), primary_key=True),
    Column("mode", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("started_at", DateTime(timezone=True), nullable=False),
    Column("finished_at", DateTime(timezone=True)),
    Column("watermark_ledger", BigInteger),
    Column("report", JSONB),
    Index("runs_started_at", "started_at"),
    comment="One row a sweep. status: running, complete, incomplete or failed.",
)

changes = Table(
    "changes",
    metadata,
    Column("run_id", UUID(as_uuid=True), ForeignKey(runs.c.run_id), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("table_name", Text, nullable=False),
    Column("row_id", Text, nullable=False),
    Column("class", Text, nullable=False),
    Column("before", JSONB, nullable=False),
    Column("after", JSONB, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("reason", Text),
    Column("recorded_at", DateTime(timezone=True), nullable=False),
    Column("settled_at", DateTime(timezone=True)),
    comment="Each intended update, recorded before it is tried. outcome: intended, repaired, skipped_changed, failed or unknown.",
)
