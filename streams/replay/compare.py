"""Comparison: table by table by count and hash, and where these differ row by row. In one snapshot of both sides.

The hash of a table is the sum of its rows' hashes, so no order is needed; its seed is drawn anew for each replay.
"""

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import JSON, Table, text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.chain_tables import SCHEMA
from shared.chain_tables import facts as facts_table
from streams import fact_partitions
from streams.replay import shadow
from streams.replay.outcome import Pair, RowDifference, Side, TableComparison
from streams.replay.shadow import SHADOW

SHOWN_ROWS = 1000
"""Rows of a table that are told at most, where they differ."""


async def compare(
    connection: AsyncConnection, *, on_table: Callable[[str], None]
) -> tuple[list[TableComparison], list[str]]:
    """All tables in the connection's transaction, and the names of the partitions that live lacks.

    Facts of a partition that was detached from the live table are in the log still; they are left out, on both sides.
    """
    detached = await fact_partitions.detached(connection)
    found = []
    for table in shadow.tables():
        on_table(table.name)
        left_out = _not_within(detached) if table is facts_table else "true"
        found.append(await _compare(connection, table, left_out))
    return found, detached


async def _compare(connection: AsyncConnection, table: Table, where: str) -> TableComparison:
    seed = secrets.randbits(63)
    sides = {}
    for schema in (SCHEMA, SHADOW):
        rows = await connection.execute(text(digest_query(table, schema, where)), {"seed": seed})
        sides[schema] = rows.one()
    live, replay = sides[SCHEMA], sides[SHADOW]
    name = str(table.name)  # SQLAlchemy's names are of a class of their own, which JSON does not take
    if (live.rows, live.digest) == (replay.rows, replay.digest):
        return TableComparison(table=name, live_rows=live.rows, replay_rows=replay.rows, identical=True)
    query = text(difference_query(table, where))
    rows = await connection.execute(query, {"seed": seed, "limit": SHOWN_ROWS})
    differing = [dict(row) for row in rows.mappings()]
    totals = differing[0] if differing else {"only_live": 0, "only_replay": 0, "changed": 0}
    return TableComparison(
        table=name,
        live_rows=live.rows,
        replay_rows=replay.rows,
        identical=False,
        only_live=totals["only_live"],
        only_replay=totals["only_replay"],
        changed=totals["changed"],
        rows=tuple(row_difference(table, row) for row in differing),
    )


def digest_query(table: Table, schema: str, where: str = "true") -> str:
    """SQL that counts and hashes one side."""
    digest = f"coalesce(sum({_hash(table)}), 0)::text"
    return f"SELECT count(*) AS rows, {digest} AS digest FROM {schema}.{table.name} AS t WHERE {where}"


def difference_query(table: Table, where: str = "true") -> str:
    """SQL that gives the first rows that differ: their columns of both sides as text, and how many there are of each kind."""
    keys = [column.name for column in table.primary_key.columns]
    key = ", ".join(keys)
    sides = [
        f"(SELECT {key}, {_hash(table)} AS hash FROM {schema}.{table.name} AS t WHERE {where})"
        for schema in (SCHEMA, SHADOW)
    ]
    values = ", ".join(
        f"{side}.{column.name}::text AS {side}_{column.name}" for side in ("live", "replay") for column in table.columns
    )
    joins = "\n".join(
        f"LEFT JOIN {schema}.{table.name} AS {side} ON ({_of(side, keys)}) = ({_of('shown', keys)}) AND shown.in_{side}"
        for side, schema in (("live", SCHEMA), ("replay", SHADOW))
    )
    return f"""
WITH differing AS MATERIALIZED (
  SELECT {key}, live.hash IS NOT NULL AS in_live, replay.hash IS NOT NULL AS in_replay
  FROM {sides[0]} AS live FULL JOIN {sides[1]} AS replay USING ({key})
  WHERE live.hash IS DISTINCT FROM replay.hash
), totals AS (
  SELECT count(*) FILTER (WHERE NOT in_replay) AS only_live, count(*) FILTER (WHERE NOT in_live) AS only_replay,
    count(*) FILTER (WHERE in_live AND in_replay) AS changed
  FROM differing
)
SELECT shown.in_live, shown.in_replay, totals.*, {values}
FROM (SELECT * FROM differing ORDER BY {key} LIMIT :limit) AS shown CROSS JOIN totals
{joins}
ORDER BY {_of("shown", keys)}"""


def row_difference(table: Table, row: Mapping[str, Any]) -> RowDifference:
    """A row of `difference_query`: what differs, or all that the one side has."""
    found: Side = "both" if row["in_live"] and row["in_replay"] else "live" if row["in_live"] else "replay"
    names = [str(column.name) for column in table.columns]
    pairs = {name: Pair(row[f"live_{name}"], row[f"replay_{name}"]) for name in names}
    side = "replay" if found == "replay" else "live"
    return RowDifference(
        key={str(column.name): row[f"{side}_{column.name}"] for column in table.primary_key.columns},
        found=found,
        columns={name: pair for name, pair in pairs.items() if pair.live != pair.replay},
    )


def _hash(table: Table) -> str:
    """Of a row `t`. JSON has no hash of its own: its text is what was stored."""
    columns = ", ".join(
        f"t.{column.name}::text" if type(column.type) is JSON else f"t.{column.name}" for column in table.columns
    )
    return f"hash_record_extended(ROW({columns}), CAST(:seed AS bigint))"


def _of(side: str, names: Sequence[str]) -> str:
    return ", ".join(f"{side}.{name}" for name in names)


def _not_within(partitions: Iterable[str]) -> str:
    """SQL: the position of `t` is in none of these partitions."""
    ranges = (fact_partitions.bounds(fact_partitions.number_named(name)) for name in partitions)
    return " AND ".join(f"NOT (t.position >= '{first}' AND t.position < '{end}')" for first, end in ranges) or "true"
