"""What the tables know, as metrics: watermark, lag and gaps."""

import asyncio
import math
import time

import structlog
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared import chain_tables as tables
from shared import coverage_store, metrics, position, transient

log = structlog.get_logger()

PERIOD_SECONDS = 5.0


async def watch(engine: AsyncEngine, *, scope: str) -> None:
    """Read them every few seconds, until cancelled."""
    while True:
        try:
            async with engine.connect() as connection:
                await refresh(connection, scope=scope)
        except (DBAPIError, OSError, TimeoutError) as error:
            if not transient.is_transient(error):
                raise
            log.debug("the gauges could not be read", error=transient.words(error))
        await asyncio.sleep(PERIOD_SECONDS)


async def refresh(connection: AsyncConnection, *, scope: str) -> None:
    """Set the gauges from the tables; nothing is known before the scope's first record."""
    gaps = tables.gaps.c
    watermark = await coverage_store.watermark(connection, scope=scope)
    if watermark is None:
        return
    metrics.watermark_ledger.set(watermark.ledger)
    known = watermark.closed_at is not None
    metrics.chain_lag_seconds.set(max(0.0, time.time() - (watermark.closed_at or 0)) if known else math.nan)
    query = select(gaps.after, gaps.through).where(gaps.scope == scope, gaps.state.in_(["open", "filling"]))
    metrics.gap_ledgers.set(sum(_ledgers(gap.after, gap.through) for gap in await connection.execute(query)))


def _ledgers(after: str, through: str) -> int:
    """Ledgers that a gap touches."""
    return position.ledger_of(through) - position.complete_ledger(after)
