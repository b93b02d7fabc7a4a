"""Locks that let one transaction at a time insert a key: an insert whose COMMIT is still under way is waited for.

They end with the transaction, so they hold behind a transaction pooler too. Only Chaintrue takes them; the application's own
inserts are found afterwards (`sweeper/duplicate_inserts.py`).
"""

import hashlib
from collections.abc import Iterable

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from sweeper.batch import Batch

_TAKE = text(
    "SELECT count(pg_catalog.pg_advisory_xact_lock(want.number)) FROM unnest(CAST(:numbers AS bigint[])) AS want (number)"
)


async def take(connection: AsyncConnection, batch: Batch) -> None:
    """Wait for the locks of the batch's keys; raises what PostgreSQL says when they are not free in time."""
    await connection.execute(_TAKE, {"numbers": numbers(batch.table.name, batch.keys)})


def numbers(table: str, keys: Iterable[str | None]) -> list[int]:
    """Return the locks of the keys in the order in which everybody takes them, so that no two wait for each other. Pure."""
    return sorted({_number(table, key) for key in keys if key is not None})


def _number(table: str, key: str) -> int:
    digest = hashlib.sha256(f"chaintrue insert\0{table}\0{key}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
