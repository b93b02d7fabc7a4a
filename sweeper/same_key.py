"""Rows that share what ought to name one entity alone: of several rows none is picked silently."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from sweeper import long_values
from sweeper.app_schema import AppTable
from sweeper.model import Finding

DUPLICATE = "duplicate_row"
SHOWN_ROWS = 20


@dataclass(frozen=True, slots=True)
class SameKey:
    """The rows of one key: how many there are, and the ids of the first SHOWN_ROWS of them."""

    count: int
    row_ids: tuple[str, ...]


def is_unique(table: AppTable | None, column: str) -> bool:
    """Return whether the live schema itself forbids that two rows hold the same in the column."""
    return table is not None and (column,) in table.unique


async def read(connection: AsyncConnection, table: str, column: str, names: Sequence[str]) -> Mapping[str, SameKey]:
    """Return the rows of each of the names that several rows hold in the column; names may be cut (`sweeper.long_values`)."""
    cut = [name for name in names if long_values.is_cut(name)]
    found = await _read(connection, table, f"row.{column}", [name for name in names if name not in cut])
    if cut:  # no index helps to find them, so only the long ones are hashed
        rows = f"(SELECT * FROM {table} AS it WHERE octet_length(CAST(it.{column} AS text)) > {long_values.LONGEST})"
        found |= await _read(connection, rows, long_values.cut_sql(f"row.{column}"), cut)
    return found


async def _read(connection: AsyncConnection, rows: str, name: str, names: Sequence[str]) -> dict[str, SameKey]:
    statement = text(
        f"SELECT {name} AS name, count(*) AS count,"
        f" (array_agg(CAST(row.id AS text) ORDER BY row.id))[1:{SHOWN_ROWS}] AS ids"
        f" FROM {rows} AS row WHERE {name} = ANY(CAST(:names AS text[]))"
        f" GROUP BY {name} HAVING count(*) > 1"
    )
    found = (await connection.execute(statement, {"names": list(names)})).mappings()
    return {row["name"]: SameKey(row["count"], tuple(row["ids"])) for row in found}


def duplicate(table: str, column: str, *, row_id: str, name: str, entity: str | None, rows: SameKey) -> Finding:
    """Return the finding about one of the rows. It is never repaired: nothing says which of the rows is the right one."""
    return Finding(
        drift_class=DUPLICATE,
        table=table,
        row_id=row_id,
        entity=entity,
        words=f"{rows.count} rows of {table} have the same {column}, {name}. A person has to decide which one counts.",
        evidence={"rows": list(rows.row_ids), "row_count": rows.count},
    )
