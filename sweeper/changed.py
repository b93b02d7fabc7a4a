"""What changed on chain since the last complete sweep, so that a --changed sweep looks at that alone.

Each complete sweep leaves a mark: the position of its watermark, and what has to be as it was for "everything behind that
position" to be all that changed. Facts that came late, below the mark, or tables that were exchanged by a replay are seen by
it, and then all is looked at.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import coverage_store, position, recon_tables
from sweeper.context import Context, Since
from sweeper.report import Extent, RunStatus

_TABLES_MADE = text("SELECT CAST(CAST(to_regclass('chain.offsets') AS oid) AS bigint)")


@dataclass(frozen=True, slots=True)
class Start:
    """Where a --changed sweep begins; `since` None: everything is to be looked at, `why` says so."""

    since: Since | None
    why: str | None = None


async def mark(context: Context) -> dict[str, object]:
    """What a later sweep has to know of this moment, which is the one of the run's watermark."""
    async with context.chain.connect() as connection:
        return await _mark(connection, context, position.end_of(context.watermark.ledger))


async def start(context: Context, tables: Sequence[str]) -> Start:
    """Where to begin: at the newest complete sweep of everything, with the drift that was there by then."""
    runs = recon_tables.runs.c
    last = (
        select(runs.mark)
        .where(runs.status == RunStatus.COMPLETE.value, runs.mark.is_not(None))
        .where(runs.extent.in_([Extent.FULL.value, Extent.CHANGED.value]))
        .order_by(runs.started_at.desc())
        .limit(1)
    )
    async with context.chain.connect() as connection:
        left = (await connection.execute(last)).scalar_one_or_none()
        if left is None:
            return Start(None, "there was no complete sweep of everything yet")
        now = await _mark(connection, context, left["position"])
        if now != left:
            return Start(None, "what the tables knew at the last complete sweep has changed below its watermark")
        return Start(await _since(connection, left["position"], tables))


async def _mark(connection: AsyncConnection, context: Context, at: str) -> dict[str, object]:
    held = await coverage_store.read(connection, scope=context.scope)
    read = {
        contract: [[piece.after, min(piece.through, at)] for piece in held.covered[contract] if piece.after < at]
        for contract in sorted(held.covered)
    }
    made = (await connection.execute(_TABLES_MADE)).scalar_one()
    queries = sorted(subject.compares for subject in context.subjects.values())
    return {
        "position": at,
        "read": hashlib.sha256(repr(read).encode()).hexdigest(),
        "tables": made,
        "compared": hashlib.sha256(repr(queries).encode()).hexdigest(),
    }


async def _since(connection: AsyncConnection, at: str, tables: Sequence[str]) -> Since:
    drift = recon_tables.drift.c
    query = select(drift.table_name, drift.row_id, drift.chain_key).where(drift.is_there, drift.table_name.in_(tables))
    row_ids: dict[str, list[str]] = {}
    keys: dict[str, list[str]] = {}
    for row in await connection.execute(query):
        if row.row_id is not None:
            row_ids.setdefault(row.table_name, []).append(row.row_id)
        elif row.chain_key is not None:
            keys.setdefault(row.table_name, []).append(row.chain_key)
    return Since(position=at, row_ids=row_ids, keys=keys)
