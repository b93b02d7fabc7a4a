"""The partitions of `chain.facts`: ranges of ledgers, made when a first fact of the range comes.

An old one may be detached where its facts are needed no more. Whatever would fold a key anew from facts that are not there is
refused, not done wrong.
"""

from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import errors, position
from shared.chain_schema import schema_of
from shared.chain_tables import facts_partitions

LEDGERS = 1 << 20
"""Ledgers a partition: about two months, at five seconds each."""

_LOCK = 0x6661637473  # two workers that need the same partition at once: the second one finds it made

_DETACHED = """
SELECT made.name FROM {schema}.facts_partitions AS made
WHERE NOT EXISTS (
  SELECT FROM pg_inherits AS attached JOIN pg_class AS child ON child.oid = attached.inhrelid
  WHERE attached.inhparent = '{schema}.facts'::regclass AND child.relname = made.name)
ORDER BY made.name
"""


def number_of(place: str) -> int:
    """The number of the partition that a position lies in."""
    return position.ledger_of(place) // LEDGERS


def name_of(number: int) -> str:
    """Its first ledger is in its name, so that people see which one may go."""
    return f"facts_from_{number * LEDGERS:010d}"


def number_named(name: str) -> int:
    """The number of the partition of this name."""
    return int(name.rpartition("_")[2]) // LEDGERS


def bounds(number: int) -> tuple[str, str]:
    """Its first position, and the first that is not its own."""
    return tuple(f"{first * LEDGERS << 32:019d}-{0:010d}" for first in (number, number + 1))  # type: ignore[return-value]  # two of them


async def make(connection: AsyncConnection, number: int) -> None:
    """Make the partition unless it is there."""
    schema = schema_of(connection)
    first, end = bounds(number)
    name = name_of(number)
    await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    await connection.execute(
        text(
            f"CREATE TABLE IF NOT EXISTS {schema}.{name} PARTITION OF {schema}.facts FOR VALUES FROM ('{first}') TO ('{end}')"
        )
    )
    await connection.execute(upsert(facts_partitions).values(name=name).on_conflict_do_nothing())


async def detached(connection: AsyncConnection) -> list[str]:
    """The partitions that were made and are attached no more."""
    rows = await connection.execute(text(_DETACHED.format(schema=schema_of(connection))))
    return [row.name for row in rows]


async def refuse_detached(connection: AsyncConnection) -> None:
    """Raise FactsDetached where a partition that was made is attached no more."""
    if names := await detached(connection):
        raise errors.FactsDetached(
            f"facts came late, and their keys have to be folded anew, but {', '.join(names)} is detached"
            f" from {schema_of(connection)}.facts",
            cure="attach it again; or rebuild the tables from the log with `chaintrue replay --swap`",
        )


class Known:
    """The partitions that are there, so that nobody is asked again; those of a transaction count once it is committed."""

    def __init__(self) -> None:
        self._known: set[int] = set()
        self._made: set[int] = set()

    async def ensure(self, connection: AsyncConnection, places: Sequence[str]) -> None:
        """Make the partitions that the positions need. In a transaction that has written no fact yet: it waits for those that
        have, and must not make them wait for it."""
        if not places:
            return
        needed = {number_of(min(places)), number_of(max(places))}
        if len(needed) > 1:
            needed = {number_of(place) for place in places}
        for number in sorted(needed - self._known - self._made):
            await make(connection, number)
            self._made.add(number)

    def committed(self) -> None:
        """The transaction is committed: what it made is there."""
        self._known |= self._made
        self._made.clear()

    def forget(self) -> None:
        """A transaction begins: what the one before it made and did not commit is not there."""
        self._made.clear()
