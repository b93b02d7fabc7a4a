"""What the tables know, as metrics: watermark, lag, gaps, waiting observations; and which RPC nodes are trusted."""

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Sequence

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared import coverage_store, metrics, transient
from shared.rpc import NodeState
from streams.application import Application

log = structlog.get_logger()

PERIOD_SECONDS = 5.0
MAX_WAITING = 1_000
"""The gauge of waiting observations counts up to this: beyond it only that there are many matters."""


async def watch(
    engine: AsyncEngine, *, applications: Sequence[Application], nodes: Callable[[], Iterable[NodeState]]
) -> None:
    """Read them every few seconds, until cancelled. `nodes` tells of the RPC nodes that this process asks."""
    while True:
        for node in nodes():
            metrics.rpc_node_trusted.labels(node.url_shown).set(math.nan if node.trusted is None else node.trusted)
        try:
            async with engine.connect() as connection:
                await refresh(connection, scopes=[one.scope for one in applications])
                waiting = [await one.waiting(connection, limit=MAX_WAITING) for one in applications]
                metrics.observations_waiting.set(sum(len(keys) for keys in waiting))
        except (DBAPIError, OSError, TimeoutError) as error:
            if not transient.is_transient(error):
                raise
            log.debug("the gauges could not be read", error=transient.words(error))
        await asyncio.sleep(PERIOD_SECONDS)


async def refresh(connection: AsyncConnection, *, scopes: Sequence[str]) -> None:
    """Set the gauges from the tables: of several scopes the one that is farthest behind counts, and the gaps of all."""
    found = [await coverage_store.watermark(connection, scope=scope) for scope in scopes]
    known = [one for one in found if one is not None]
    if not known:
        return  # nothing is known before the first record
    behind = min(known, key=lambda one: one.ledger)
    metrics.watermark_ledger.set(behind.ledger)
    closed_at = behind.closed_at
    metrics.chain_lag_seconds.set(math.nan if closed_at is None else max(0.0, time.time() - closed_at))
    gaps = [gap for scope in scopes for gap in await coverage_store.gaps(connection, scope=scope, closed=False)]
    metrics.gap_ledgers.set(sum(last - first + 1 for first, last in (gap.ledgers for gap in gaps)))
