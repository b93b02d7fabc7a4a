"""The rows of a table in which two sides differ: both are read in the order of the key, hashes alone, and merged as they come.

No side is held in memory, whatever its size. Of the first rows that differ the columns are read too.
"""

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple

from sqlalchemy import JSON, Table, Text
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import database
from streams.replay.outcome import Found, Pair, RowDifference

SHOWN_ROWS = 1000
"""Rows of a table that are told at most."""
PAGE_ROWS = 2000
_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy's dialects have no types

Key = tuple[Any, ...]
Values = Mapping[str, str | None]


class Side(NamedTuple):
    """A connection, and the schema that it reads, in a transaction of one snapshot."""

    connection: AsyncConnection
    schema: str


async def differences(
    live: Side, replay: Side, table: Table, *, where: str, seed: int, shown: int = SHOWN_ROWS
) -> tuple[Counter[Found], tuple[RowDifference, ...]]:
    """How many rows one side lacks or has otherwise, and the first of them. `where` is SQL, of the row `t`."""
    counts: Counter[Found] = Counter()
    first: dict[Key, Found] = {}
    async with (
        aclosing(_rows(live, table, where, seed)) as of_live,
        aclosing(_rows(replay, table, where, seed)) as of_replay,
    ):
        async for key, found in merged(of_live, of_replay):
            counts[found] += 1
            if len(first) < shown:
                first[key] = found
    values = [await _values(side, table, list(first)) for side in (live, replay)]
    return counts, tuple(row_difference(table, key, found, *values) for key, found in first.items())


def row_difference(
    table: Table, key: Key, found: Found, live: Mapping[Key, Values], replay: Mapping[Key, Values]
) -> RowDifference:
    """What differs in a row, or all that the one side has of it."""
    nothing: Values = dict.fromkeys((str(column.name) for column in table.columns), None)
    one, other = live.get(key, nothing), replay.get(key, nothing)
    return RowDifference(
        key={str(column.name): str(value) for column, value in zip(table.primary_key.columns, key, strict=True)},
        found=found,
        columns={name: Pair(one[name], other[name]) for name in nothing if one[name] != other[name]},
    )


async def merged(
    live: AsyncIterator[tuple[Key, int]], replay: AsyncIterator[tuple[Key, int]]
) -> AsyncIterator[tuple[Key, Found]]:
    """The keys (both sides give theirs in order, with a hash) that one side lacks, or whose hashes differ."""
    one, other = await anext(live, None), await anext(replay, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one[0] < other[0]):
            yield one[0], "live"  # type: ignore[index]  # one of the two is there
            one = await anext(live, None)
        elif one is None or other[0] < one[0]:
            yield other[0], "replay"
            other = await anext(replay, None)
        else:
            if one[1] != other[1]:
                yield one[0], "both"
            one, other = await anext(live, None), await anext(replay, None)


def hash_of(table: Table) -> str:
    """SQL: the hash of a row `t`, with the parameter :seed. JSON has none of its own: its text is what was stored."""
    columns = ", ".join(
        f"t.{column.name}::text" if type(column.type) is JSON else f"t.{column.name}" for column in table.columns
    )
    return f"hash_record_extended(ROW({columns}), CAST(:seed AS bigint))"


async def _rows(side: Side, table: Table, where: str, seed: int) -> AsyncGenerator[tuple[Key, int], None]:
    """The side's keys in their order, and the hash of each row. Text in the order of its bytes, which is Python's too."""
    keys = [column.name for column in table.primary_key.columns]
    ordered = ", ".join(
        f't.{column.name} COLLATE "C"' if isinstance(column.type, Text) else f"t.{column.name}"
        for column in table.primary_key.columns
    )
    columns = ", ".join(f"t.{name}" for name in keys)
    hashed = hash_of(table).replace(":seed", str(seed))
    query = f"SELECT {columns}, {hashed} FROM {side.schema}.{table.name} AS t WHERE {where} ORDER BY {ordered}"
    cursor = await database.raw(side.connection).cursor(query)
    while rows := await cursor.fetch(PAGE_ROWS):
        for row in rows:
            *key, digest = row
            yield tuple(key), digest


async def _values(side: Side, table: Table, keys: Sequence[Key]) -> dict[Key, Values]:
    """The columns, as PostgreSQL writes them, of those rows that the side has."""
    if not keys:
        return {}
    wanted = list(table.primary_key.columns)
    types = [str(column.type.compile(dialect=_DIALECT)).partition(" COLLATE")[0] for column in wanted]
    arrays = ", ".join(f"${number}::{kind}[]" for number, kind in enumerate(types, start=1))
    joined = " AND ".join(f"t.{column.name} = wanted.k{number}" for number, column in enumerate(wanted))
    query = (
        f"SELECT {', '.join(f'wanted.k{number}' for number in range(len(wanted)))}, "
        f"{', '.join(f't.{column.name}::text AS c_{column.name}' for column in table.columns)} "
        f"FROM unnest({arrays}) AS wanted ({', '.join(f'k{number}' for number in range(len(wanted)))}) "
        f"JOIN {side.schema}.{table.name} AS t ON {joined}"
    )
    rows = await database.raw(side.connection).fetch(query, *map(list, zip(*keys, strict=True)))
    names = [str(column.name) for column in table.columns]
    return {tuple(row)[: len(wanted)]: dict(zip(names, tuple(row)[len(wanted) :], strict=True)) for row in rows}
