"""What is read of both databases for the sweep of transactions: pending rows, rows with the same hash, stored events."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import position
from sweeper import long_values
from sweeper.app_schema import AppTable
from sweeper.model import Row
from sweeper.stepfi import envelopes
from sweeper.stepfi.settlement import Pending, StoredEvent

HASH_COLUMNS = ("transaction_hash", "hash")
"""The newer one first; either may be missing from the live schema."""
FINISHED = ("success", "failed")
"""Of a row in any other status the outcome is not written down yet; and only `pending` is ever finished by a repair."""
READ = ("status", *HASH_COLUMNS, "submitted_at", "completed_at", "error", "updated_at")
_TEXTS = {"status": long_values.LONGEST, **dict.fromkeys(HASH_COLUMNS, long_values.LONGEST), "error": 8192}
"""Columns of text, with the bytes that are read whole. What stands in `error` guards a write, and may be a long message."""
_SHOWN_TWINS = 20
_UNFINISHED = " AND ".join(f"one.status IS DISTINCT FROM '{status}'" for status in FINISHED)

_HASH = re.compile(r"[0-9a-f]{64}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# The orders and operations that stand for fees: those have events whatever becomes of the transaction.
_FEE_ORDERS = (0, (1 << 20) - 1)
_FEE_OPERATION = (1 << 12) - 1

_EVENTS = text("""
SELECT tx_hash, position, body->>'ledgerClosedAt' AS closed_at FROM chain.facts WHERE tx_hash = ANY(CAST(:hashes AS text[]))
ORDER BY position
""")


@dataclass(frozen=True, slots=True)
class Twins:
    """The rows that stand for one hash: how many, and the ids of the first of them."""

    count: int
    ids: tuple[str, ...]


def reading(row: Row, *, passphrase: str) -> Pending:
    """What a row says of its transaction; where it holds no hash at all, its envelope's own hash is its hash.

    What the envelope goes by beside is asked for too: a retry by fee bump stores the outer hash, and what was included may be
    the inner one.
    """
    envelope = envelopes.read(row["xdr"], passphrase=passphrase)
    stored = [row[name].strip().lower() for name in HASH_COLUMNS if row.get(name)]
    stored = list(dict.fromkeys(one for one in stored if one))
    own = [envelope.hash] if envelope is not None and not stored else []
    submitted_at = row["submitted_at"]
    further = envelope.hashes.difference(stored, own) if envelope is not None else ()
    return Pending(
        hashes=tuple(one for one in (*stored, *own) if _HASH.fullmatch(one)),
        of_envelope=tuple(sorted(further)),
        unreadable=tuple(one for one in stored if not _HASH.fullmatch(one)),
        envelope=envelope,
        submitted_at=None if submitted_at is None else (submitted_at - _EPOCH) // timedelta(seconds=1),
        is_stored=not own,
    )


async def unfinished(
    connection: AsyncConnection, table: AppTable, *, after: object, limit: int, canary: str
) -> list[Row]:
    """The next rows in no final status, behind the id `after`; None: the first ones, with a row that is in this SELECT alone."""
    if after is not None:
        behind = f"{_select(table)} WHERE {_UNFINISHED} AND one.id > :after ORDER BY one.id LIMIT :limit"
        return [
            dict(row) for row in (await connection.execute(text(behind), {"limit": limit, "after": after})).mappings()
        ]
    first = text(
        f"({_select(table)} WHERE {_UNFINISHED} ORDER BY one.id LIMIT :limit) UNION ALL {_canary(table)} ORDER BY id"
    )
    return [dict(row) for row in (await connection.execute(first, {"limit": limit, "canary": canary})).mappings()]


def _canary(table: AppTable) -> str:
    """A pending row of which nobody can know anything: it has to be found, as unknown."""
    values = {"status": "'pending'", "submitted_at": "to_timestamp(0)"}
    types = {**table.types, **dict.fromkeys(_TEXTS, "text")}
    columns = ", ".join(f"CAST({values.get(name, 'NULL')} AS {types[name]})" for name in READ if table.has(name))
    return f"SELECT CAST(CAST(:canary AS text) AS uuid), {columns}, NULL"


async def count(connection: AsyncConnection, table: AppTable) -> int:
    """How many rows there are, in whatever status."""
    return int((await connection.execute(text(f"SELECT count(*) FROM {table.name}"))).scalar_one())


async def by_id(connection: AsyncConnection, table: AppTable, ids: Sequence[str]) -> list[Row]:
    """Those of the rows that there still are, as they are now."""
    statement = text(f"{_select(table)} WHERE one.id = ANY(CAST(:ids AS uuid[])) ORDER BY one.id")
    return [dict(row) for row in (await connection.execute(statement, {"ids": list(ids)})).mappings()]


def _select(table: AppTable) -> str:
    columns = ", ".join(_column(name) for name in READ if table.has(name))
    envelope = f"CASE WHEN octet_length(one.xdr) <= {envelopes.MAX_TEXT} THEN one.xdr END AS xdr"
    return f"SELECT one.id, {columns}, {envelope} FROM {table.name} AS one"


def _column(name: str) -> str:
    """The column as it is read: a text that is too long to be quoted is cut."""
    if name not in _TEXTS:
        return f"one.{name}"
    return f"{long_values.cut_sql(f'one.{name}', longest=_TEXTS[name])} AS {name}"


async def finished_twins(connection: AsyncConnection, table: AppTable, *, after: object, limit: int) -> list[str]:
    """The ids of the next finished rows that hold a hash which another row holds too, behind the id `after`."""
    columns = [name for name in HASH_COLUMNS if table.has(name)]
    if not columns:
        return []
    held = " UNION ".join(
        f"SELECT id, status, lower(btrim({name})) AS hash FROM {table.name} WHERE {name} IS NOT NULL"
        for name in columns
    )
    behind = "" if after is None else "AND shared.id > CAST(:after AS uuid)"
    statement = text(
        f"SELECT DISTINCT shared.id FROM"
        f" (SELECT held.*, count(*) OVER (PARTITION BY held.hash) AS count FROM ({held}) AS held) AS shared"
        f" WHERE shared.count > 1 AND shared.hash ~ '^[0-9a-f]{{64}}$' AND shared.status IN {FINISHED} {behind}"
        f" ORDER BY shared.id LIMIT :limit"
    )
    parameters = {"limit": limit} if after is None else {"limit": limit, "after": after}
    return [str(row.id) for row in await connection.execute(statement, parameters)]


async def twins(connection: AsyncConnection, table: AppTable, hashes: Sequence[str]) -> Mapping[str, Twins]:
    """The rows that hold each of the hashes (lower case), in whatever column and status."""
    columns = [name for name in HASH_COLUMNS if table.has(name)]
    if not columns or not hashes:
        return {}
    held = " UNION ".join(
        f"SELECT one.id, lower(one.{name}) AS hash FROM {table.name} AS one WHERE one.{name} = ANY(CAST(:forms AS text[]))"
        for name in columns
    )
    statement = text(
        "SELECT held.hash, count(*) AS count,"
        f" (array_agg(CAST(held.id AS text) ORDER BY held.id))[1:{_SHOWN_TWINS}] AS ids"
        f" FROM ({held}) AS held GROUP BY held.hash"
    )
    # Both forms instead of lower(column) = …: an index on the column can serve these.
    forms = [*hashes, *(one.upper() for one in hashes)]
    found = (await connection.execute(statement, {"forms": forms})).mappings()
    return {row["hash"]: Twins(row["count"], tuple(row["ids"])) for row in found}


async def events(connection: AsyncConnection, hashes: Sequence[str]) -> dict[str, StoredEvent]:
    """The first stored event of each transaction that only a successful one has."""
    if not hashes:
        return {}
    found: dict[str, StoredEvent] = {}
    for row in (await connection.execute(_EVENTS, {"hashes": list(hashes)})).mappings():
        if not _is_of_fees(row["position"]):
            closed_at = _seconds(row["closed_at"])
            found.setdefault(row["tx_hash"], StoredEvent(position.ledger_of(row["position"]), closed_at))
    return found


def _is_of_fees(at: str) -> bool:
    place = int(at[:19]) & ((1 << 32) - 1)
    return place >> 12 in _FEE_ORDERS or place & _FEE_OPERATION == _FEE_OPERATION


def _seconds(text_: Any) -> int | None:
    """An RFC 3339 time in unix seconds; None if it is none."""
    try:
        return (datetime.fromisoformat(text_) - _EPOCH) // timedelta(seconds=1)
    except (TypeError, ValueError):
        return None
