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
    comment="The Kafka offset due next, per partition. Its row lock is the fence between workers.",
)

scopes = Table(
    "scopes",
    metadata,
    Column("scope", Text, primary_key=True),
    Column("partition", Integer, nullable=False, unique=True),
    Column("network", Text, nullable=False),
    Column("contracts", ARRAY(Text), nullable=False),
    position_column("origin", nullable=False),
    position_column("tip"),
    Column("tip_closed_at", BigInteger),
    comment="A set of contracts that are asked together. tip: the newest page end whose close time (unix seconds) is known.",
)

coverage = Table(
    "coverage",
    metadata,
    Column("scope", Text, nullable=False),
    position_column("after", nullable=False),
    position_column("through", nullable=False),
    PrimaryKeyConstraint("scope", "after"),
    comment="Ranges (after, through] that a page's own cursor proved scanned and whose events were applied.",
)

gaps = Table(
    "gaps",
    metadata,
    Column("scope", Text, nullable=False),
    position_column("after", nullable=False),
    position_column("through", nullable=False),
    Column("reason", Text, nullable=False),
    Column("state", Text, nullable=False),
    PrimaryKeyConstraint("scope", "after", "through"),
    comment="Ranges that were not read. state: open, filling, filled or superseded; closed ones stay listed.",
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
    comment="Every event and every observed entry, verbatim, under each key that it tells of. problem: why it was not decoded. "
    "conflict: two different values were observed at one ledger.",
)

contracts = Table(
    "contracts",
    metadata,
    *state_columns(),
    Column("contract", Text, nullable=False),
    Column("wasm_hash", Text),
    position_column("upgraded_at"),
    comment="The contracts of all scopes, by their instance entries. asked_at: start of the scope, or the newest upgrade.",
)
