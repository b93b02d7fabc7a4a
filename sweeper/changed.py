"""What changed on chain since the last complete sweep, so that a --changed sweep looks at that alone.

Each complete sweep leaves a mark: the position of its watermark, and what has to be as it was for the marks to be of one and
the same thing. Events that came late, below the mark, or tables that were exchanged by a replay are seen by it, and then all is
looked at.

What is behind the mark is not all that a sweep there could not see. What was new was not due yet, and is found only once it is;
and an observation stands where its node stood, so it may be applied after the mark and lie before it. So a sweep begins some
way before the mark, which is counted in ledgers: their close times are whole seconds and strictly increase, so that within so
many seconds no more than so many ledgers close.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import coverage_store, position, recon_tables
from sweeper.context import Context, Since
from sweeper.report import Extent, RunStatus

MARGIN_LEDGERS = 64
"""How far before the mark an observation may lie that was under way then; and how far the newest ledger whose close is known
may lie before the watermark, for what is due to be told by its time."""

_TABLES_MADE = text("SELECT CAST(CAST(to_regclass('chain.offsets') AS oid) AS bigint)")


@dataclass(frozen=True, slots=True)
class Start:
    """Where a --changed sweep begins; `since` None: everything is to be looked at, `why` says so."""

    since: Since | None
    why: str | None = None


async def mark(context: Context, tables: Sequence[str]) -> dict[str, object] | None:
    """What a later sweep of the tables has to know of this moment, which is the one of the run's watermark.

    None where no later sweep can begin there: as long as the time at the watermark is not known (while we catch up, or a gap
    is open below what was read), much of what is long there is not held to be due.
    """
    ledger, closed = context.watermark.ledger, context.watermark.closed_ledger
    if closed is None or ledger - closed >= MARGIN_LEDGERS:
        return None
    async with context.chain.connect() as connection:
        return await _mark(connection, context, position.end_of(ledger), tables)


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
            return Start(None, "there was no complete sweep of everything yet that one could begin at")
        now = await _mark(connection, context, left["position"], tables)
        if now != left:
            return Start(None, "what the tables knew at the last complete sweep has changed below its watermark")
        grace = max((subject.grace_seconds for subject in context.subjects.values()), default=0)
        return Start(await _since(connection, before(left["position"], grace_seconds=grace), tables))


def before(at: str, *, grace_seconds: int) -> str:
    """The position behind which all lies that a sweep at that mark could not see, if it let things rest for so long."""
    ledger = position.ledger_of(at) - grace_seconds - MARGIN_LEDGERS
    return position.end_of(ledger) if ledger > 0 else position.START


async def _mark(connection: AsyncConnection, context: Context, at: str, tables: Sequence[str]) -> dict[str, object]:
    held = await coverage_store.read(connection, scope=context.scope)
    read = {
        contract: [[piece.after, min(piece.through, at)] for piece in held.covered[contract] if piece.after < at]
        for contract in sorted(held.covered)
    }
    made = (await connection.execute(_TABLES_MADE)).scalar_one()
    subjects = [context.subjects[table] for table in sorted(tables)]
    compared = [(subject.compares, subject.grace_seconds) for subject in subjects]
    return {
        "position": at,
        "read": hashlib.sha256(repr(read).encode()).hexdigest(),
        "tables": made,
        "compared": hashlib.sha256(repr(compared).encode()).hexdigest(),
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
