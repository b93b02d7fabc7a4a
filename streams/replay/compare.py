"""Comparison: table by table by count and hash, and where these differ row by row.

The live side is one snapshot, at the offsets that the shadow stands at; the shadow stands still. The hash of a table is the sum
of its rows' hashes, so no order is needed; its seed is drawn anew for each replay.
"""

import asyncio
import secrets
from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import Table, text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.chain_tables import SCHEMA
from shared.chain_tables import facts as facts_table
from streams import fact_partitions
from streams.replay.differences import Side, differences, hash_of
from streams.replay.outcome import TableComparison
from streams.replay.shadow import SHADOW


class Comparison:
    """Compares tables. Each side has a connection of its own, so that both are read at the same time."""

    def __init__(self, live: AsyncConnection, replay: AsyncConnection, *, on_table: Callable[[str], None]) -> None:
        self.found: list[TableComparison] = []
        self._live = live
        self._replay = replay
        self._on_table = on_table
        self._seed = secrets.randbits(63)
        self._detached: list[str] | None = None

    async def detached(self) -> list[str]:
        """The partitions of facts that live lacks. What they hold is in the log still, and left out of the comparison."""
        if self._detached is None:
            self._detached = await fact_partitions.detached(self._live)
        return self._detached

    async def compare(self, tables: Iterable[Table]) -> None:
        """Compare these tables, and keep what was found."""
        for table in tables:
            self._on_table(str(table.name))
            where = _not_within(await self.detached()) if table is facts_table else "true"
            self.found.append(await self._compare(table, where))

    async def _compare(self, table: Table, where: str) -> TableComparison:
        name = str(table.name)  # SQLAlchemy's names are of a class of their own, which JSON does not take
        sides = Side(self._live, SCHEMA), Side(self._replay, SHADOW)
        live, replay = await asyncio.gather(*(self._digest(side, table, where) for side in sides))
        if live == replay:
            return TableComparison(table=name, live_rows=live[0], replay_rows=replay[0], identical=True)
        counts, rows = await differences(*sides, table, where=where, seed=self._seed)
        return TableComparison(
            table=name,
            live_rows=live[0],
            replay_rows=replay[0],
            identical=False,
            only_live=counts["live"],
            only_replay=counts["replay"],
            changed=counts["both"],
            rows=rows,
        )

    async def _digest(self, side: Side, table: Table, where: str) -> tuple[int, str]:
        """Count and hash of a side."""
        digest = f"coalesce(sum({hash_of(table)}), 0)::text"
        query = f"SELECT count(*) AS rows, {digest} AS digest FROM {side.schema}.{table.name} AS t WHERE {where}"
        row: Any = (await side.connection.execute(text(query), {"seed": self._seed})).one()
        return row.rows, row.digest


def _not_within(partitions: Iterable[str]) -> str:
    """SQL: the position of `t` is in none of these partitions."""
    ranges = (fact_partitions.bounds(fact_partitions.number_named(name)) for name in partitions)
    return " AND ".join(f"NOT (t.position >= '{first}' AND t.position < '{end}')" for first, end in ranges) or "true"
