"""Schema `chain`, the engine's part: what the log has told, and how far. An application adds its state tables.

Nothing here depends on the clock, on batch sizes or on which worker ran: the same log gives the same rows.
"""

from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)

SCHEMA = "chain"
metadata = MetaData(schema=SCHEMA)


def position_column(name: str, *, nullable: bool = True, primary_key: bool = False) -> Column[str]:
    """A column of positions (see `shared.position`): its order in the database is the order of the chain."""
    return Column(name, Text(collation="C"), nullable=nullable, primary_key=primary_key)


def state_columns() -> list[Column[str]]:
    """What each state table begins with: its key, the newest fact folded into the row, the newest observation of its entry,
    and the newest fact that asks for an observation (the observer's work list is: asked and not observed since)."""
    return [
        Column("key", Text(collation="C"), primary_key=True),
        position_column("position", nullable=False),
        position_column("observed_at"),
        position_column("asked_at"),
    ]


offsets = Table(
    "offsets",
    metadata,
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("next_offset", BigInteger, nullable=False),
    position_column("newest_fact", nullable=False),
    comment="The Kafka offset due next, per partition. Its row lock is the fence between workers. newest_fact: no fact of the "
    "partition stands behind this position.",
)

scopes = Table(
    "scopes",
    metadata,
    Column("scope", Text, primary_key=True),
    Column("partition", Integer, nullable=False, unique=True),
    Column("network", Text, nullable=False),
    Column("contracts", ARRAY(Text), nullable=False),
    position_column("origin", nullable=False),
    Column("began_at", BigInteger),
    position_column("tip"),
    Column("tip_closed_at", BigInteger),
    comment="A set of contracts that are asked together. began_at: when the first record was written (unix seconds), which "
    "tells this log from one made anew. tip: the newest page end whose close time (unix seconds) is known.",
)

coverage = Table(
    "coverage",
    metadata,
    Column("scope", Text, nullable=False),
    Column("contract", Text, nullable=False),
    position_column("after", nullable=False),
    position_column("through", nullable=False),
    PrimaryKeyConstraint("scope", "contract", "after"),
    comment="Ranges (after, through] that a page's own cursor proved scanned and whose events were applied.",
)

superseded = Table(
    "superseded",
    metadata,
    Column("scope", Text, nullable=False),
    Column("contract", Text, nullable=False),
    position_column("after", nullable=False),
    position_column("through", nullable=False),
    Column("ledger", BigInteger, nullable=False),
    PrimaryKeyConstraint("scope", "contract", "after", "through"),
    comment="Ranges whose events were not read: the whole state was observed behind them, as of the ledger.",
)

gaps = Table(
    "gaps",
    metadata,
    Column("scope", Text, nullable=False),
    position_column("after", nullable=False),
    position_column("through", nullable=False),
    Column("contracts", ARRAY(Text), nullable=False),
    Column("reason", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("noted_at", BigInteger),
    PrimaryKeyConstraint("scope", "after", "through"),
    comment="Ranges that were not read when they were due. state: open, filling, filled or superseded; closed ones stay listed. "
    "noted_at: when the record that tells of it was written (unix seconds).",
)

anchors = Table(
    "anchors",
    metadata,
    Column("scope", Text, nullable=False),
    Column("bucket", BigInteger, nullable=False),
    position_column("position", nullable=False),
    Column("contract", Text, nullable=False),
    Column("tx_hash", Text, nullable=False),
    PrimaryKeyConstraint("scope", "bucket"),
    Index("anchors_position", "scope", "position"),
    comment="The first known event of each 1,024 ledgers: by it a chain is recognized that began anew under the same name.",
)

closes = Table(
    "closes",
    metadata,
    Column("scope", Text, nullable=False),
    Column("bucket", BigInteger, nullable=False),
    Column("ledger", BigInteger, nullable=False),
    Column("closed_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("scope", "bucket"),
    comment="The newest ledger of each 16 whose close time (unix seconds) the log tells, so that a watermark below an open gap "
    "still has a time.",
)

facts = Table(
    "facts",
    metadata,
    Column("key", Text(collation="C"), nullable=False),
    position_column("position", nullable=False),
    Column("kind", Text, nullable=False),
    Column("tx_hash", Text),
    Column("body", JSON, nullable=False),
    Column("problem", Text),
    Column("conflict", Boolean, nullable=False, server_default=text("false")),
    PrimaryKeyConstraint("key", "position"),
    Index("facts_tx_hash", "tx_hash", postgresql_where=text("tx_hash IS NOT NULL")),
    Index("facts_observed", "key", "position", postgresql_where=text("kind = 'observed'")),
    Index("facts_conflict", "key", postgresql_where=text("conflict")),
    postgresql_partition_by="RANGE (position)",
    comment="Every event and every observed entry, verbatim, under each key that it tells of. problem: why it was not decoded. "
    "conflict: two different values were observed at one ledger.",
)

facts_partitions = Table(
    "facts_partitions",
    metadata,
    Column("name", Text, primary_key=True),
    comment="The partitions of facts that were made, so that a detached one is missed where its facts would be needed.",
)

contracts = Table(
    "contracts",
    metadata,
    *state_columns(),
    Column("contract", Text, nullable=False),
    Column("wasm_hash", Text),
    position_column("upgraded_at"),
    comment="The contracts of all scopes, by their instance entries. asked_at: start of the scope, the newest upgrade or "
    "unread event.",
)
