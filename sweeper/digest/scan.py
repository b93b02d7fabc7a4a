"""Walking one side's table: piece by piece, each in a short transaction, hashed there; only ids and hashes come over.

A plain table is walked by its pages (`ctid`), so no index is needed and every page is read once. An update may move a row
meanwhile. A row that is seen twice is a candidate, and candidates are read again. A row that moves to a page that was read
already is not seen at all, so after the walk the rows that were written since its beginning are looked for (`rewritten`). A row
that moves in both walks is still not seen; known drift is therefore read by id as well (`sweeper.known_drift`).
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

import asyncpg
import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import database, errors, transient
from sweeper.pace import Pace

Connect = Callable[[], AbstractAsyncContextManager[AsyncConnection]]
"""Opens a transaction on the side's database."""

PIECE_SECONDS = 0.25
"""How long a piece ought to take: pieces grow and shrink towards it."""
FIRST_PAGES, MOST_PAGES = 256, 8192
GROWTH = 4
ROWS_BY_ID = 50_000
ATTEMPTS = 3
RETRY_SECONDS = 1.0

_SENT = {"id": "V16", "key": ">u8", "row": ">u8"}
"""A column's values as PostgreSQL sends them."""

Records = NDArray[Any]
Ids = NDArray[Any]
FIRST_TRANSACTION = 3
"""Smaller transaction ids are PostgreSQL's own, and have no age."""

_PAGES = text("""
SELECT CASE WHEN relation.relkind IN ('r', 'm')
  THEN pg_relation_size(relation.oid) / CAST(current_setting('block_size') AS integer) END AS pages
FROM pg_class AS relation WHERE relation.oid = to_regclass(:table)
""")


_NOW = text("SELECT CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS text) AS bigint)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """What is walked: `table` under the name `alias`. `statement` gives the hashing SELECT of the rows that a condition names.

    first   the page to begin at
    """

    table: str
    alias: str
    connect: Connect
    statement: Callable[[str, bool], str]
    with_id: bool
    pace: Pace
    first: int = 0


@dataclass(frozen=True, slots=True)
class Piece:
    """The hashes of some rows. `next_page`: where the walk goes on, None at its end; `share`: how much of it is done."""

    records: Records
    next_page: int | None
    share: float


async def pieces(walk: Walk) -> AsyncIterator[Piece]:
    """The table from page `walk.first` on."""
    pages = await _pages(walk)
    if pages is None:
        async for piece in _by_id(walk):
            yield piece
        return
    first, size = walk.first, FIRST_PAGES
    while True:
        end = first + size
        last = end >= pages  # what is appended meanwhile belongs to the last piece, which has no end
        upper = "" if last else f" AND {walk.alias}.ctid < CAST('({end},0)' AS tid)"
        condition = f"{walk.alias}.ctid >= CAST('({first},0)' AS tid){upper}"
        records, seconds = await _read(walk, condition, with_canaries=first == 0)
        yield Piece(records, None if last else end, 1.0 if last else end / pages)
        if last:
            return
        first = end
        size = int(min(MOST_PAGES, size * GROWTH, max(16, size * PIECE_SECONDS / seconds)))


async def whole(walk: Walk) -> AsyncIterator[Piece]:
    """All of it at once, for a few rows."""
    records, _ = await _read(walk, "true", with_canaries=True)
    yield Piece(records, None, 1.0)


async def _by_id(walk: Walk) -> AsyncIterator[Piece]:
    """A table without pages of its own (partitioned, foreign, a view): in the order of its ids, behind the canaries."""
    canaries, _ = await _read(walk, "false", with_canaries=True)
    yield Piece(canaries, 0, 0.0)
    behind = "true"
    while True:
        condition = f"{behind} ORDER BY {walk.alias}.id LIMIT {ROWS_BY_ID}"
        records, _ = await _read(walk, condition, with_canaries=False)
        last = len(records) < ROWS_BY_ID
        yield Piece(records, None if last else 0, 1.0 if last else 0.0)
        if last:
            return
        greatest = UUID(bytes=max(bytes(one) for one in records["id"]))
        behind = f"{walk.alias}.id > CAST('{greatest}' AS uuid)"


async def now(connect: Connect) -> int:
    """Return the oldest transaction that is not over yet: whatever is written from here on is of this one or a later one."""
    async with connect() as connection:
        return int((await connection.execute(_NOW)).scalar_one())


async def rewritten(table: str, connect: Connect, pace: Pace, *, since: int, limit: int) -> Ids:
    """Return the ids of the rows that were written by the transaction `since` or a later one, at most `limit` of them.

    A second walk that hashes nothing. Of a table that is walked by id there are none: an update does not change a row's id.
    """
    pages = await _pages_of(table, connect)
    found: list[Ids] = []
    first, left = 0, limit
    while pages is not None and left > 0:
        end = first + MOST_PAGES
        upper = "" if end >= pages else f" AND row.ctid < CAST('({end},0)' AS tid)"
        # age() of a row that was frozen long ago may be negative: transaction ids wrap around.
        statement = (
            f"SELECT string_agg(uuid_send(it.id), CAST('' AS bytea)) FROM (SELECT row.id FROM {table} AS row "
            f"WHERE age(row.xmin) BETWEEN 0 AND (SELECT age(CAST('{max(since % (1 << 32), FIRST_TRANSACTION)}' AS xid))) "
            f"AND row.ctid >= CAST('({first},0)' AS tid){upper} LIMIT {left}) AS it"
        )
        ids, _ = await _attempted(connect, pace, partial(_ids, statement=statement))
        found.append(ids)
        left -= len(ids)
        first = end
        if not upper:
            break
    return np.concatenate([np.empty(0, "V16"), *found])


async def _ids(connection: AsyncConnection, *, statement: str) -> Ids:
    await connection.execute(text("SELECT 1"))  # SQLAlchemy begins a transaction with its first statement alone
    return np.frombuffer(await database.raw(connection).fetchval(statement) or b"", "V16")


async def _pages(walk: Walk) -> int | None:
    return await _pages_of(walk.table, walk.connect)


async def _pages_of(table: str, connect: Connect) -> int | None:
    async with connect() as connection:
        found = (await connection.execute(_PAGES, {"table": table})).one_or_none()
    if found is None:
        raise errors.SettingError(f"there is no table {table}", cure="run `chaintrue doctor`")
    return None if found.pages is None else int(found.pages)


async def _read(walk: Walk, condition: str, *, with_canaries: bool) -> tuple[Records, float]:
    """The rows, and the seconds it took."""
    statement = walk.statement(condition, with_canaries)
    return await _attempted(walk.connect, walk.pace, partial(fetch, statement=statement, with_id=walk.with_id))


async def _attempted(
    connect: Connect, pace: Pace, read: Callable[[AsyncConnection], Awaitable[Records]]
) -> tuple[Records, float]:
    """What was read, and the seconds it took; tried again where the connection was lost on the way."""
    attempt = 1
    while True:
        try:
            async with pace.working(), connect() as connection:
                begun = time.monotonic()
                records = await read(connection)
                return records, max(time.monotonic() - begun, 1e-3)
        except (DBAPIError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            if attempt == ATTEMPTS or not transient.is_transient(error):
                raise
            await asyncio.sleep(RETRY_SECONDS * attempt)
            attempt += 1


async def fetch(connection: AsyncConnection, statement: str, *, with_id: bool) -> Records:
    """The rows of a hashing SELECT, column by column: one value each, which costs both ends less than as many rows.

    The aggregates of one SELECT see its rows in the same order, so what stands at one place belongs together.
    """
    columns = ["int8send(it.key_hash)", "int8send(it.row_hash)"]
    if with_id:
        columns.insert(0, "uuid_send(it.id)")
    joined = ", ".join(f"string_agg({column}, CAST('' AS bytea))" for column in columns)
    await connection.execute(text("SELECT 1"))  # SQLAlchemy begins a transaction with its first statement alone
    return parse(await database.raw(connection).fetchrow(f"SELECT {joined} FROM ({statement}) AS it"), with_id=with_id)


def parse(columns: Sequence[bytes | None], *, with_id: bool) -> Records:
    """Columns of equal length as records in this machine's byte order; of no rows a column is NULL."""
    layout = stored(with_id=with_id)
    names = layout.names or ()
    values = [np.frombuffer(column or b"", _SENT[name]) for name, column in zip(names, columns, strict=True)]
    if len({len(value) for value in values}) > 1:
        raise errors.ChaintrueError(f"hashes are not whole rows: a value was NULL in {' or '.join(names)}")
    found = np.empty(len(values[0]), layout)
    for name, value in zip(names, values, strict=True):
        found[name] = value
    return found


def stored(*, with_id: bool) -> np.dtype[Any]:
    """How a row is kept: the hashes, and on the app's side the id."""
    hashes = [("key", "<u8"), ("row", "<u8")]
    return np.dtype([("id", "V16"), *hashes] if with_id else hashes)
