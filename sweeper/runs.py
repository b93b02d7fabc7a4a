"""The runs in `recon`: one row each."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID

import structlog
from sqlalchemy import insert, update
from sqlalchemy.ext.asyncio import AsyncEngine

from shared import recon_tables, transient
from sweeper import lock
from sweeper.lock import Alone
from sweeper.report import Report

log = structlog.get_logger()

INTERRUPTED = "it was interrupted: its process ended without a word"
RUNNING = "running"
FAIL_SECONDS = 3


async def begin(held: Alone, *, run_id: UUID, mode: str, extent: str, started_at: datetime) -> None:
    """Record the run; runs that died without a word are marked so, for the lock says that they are over.

    In the session of the lock: one that was lost a moment ago must not declare the next one's run over.
    """
    runs = recon_tables.runs
    over = update(runs).where(runs.c.status == RUNNING)
    ours = {"run_id": run_id, "mode": mode, "extent": extent, "status": RUNNING, "started_at": started_at}
    await held.execute(
        over.values(status="failed", reason=INTERRUPTED, finished_at=started_at), insert(runs).values(ours)
    )


async def finish(engine: AsyncEngine, report: Report) -> None:
    """Record what the run ended with. Raises LockLost when another run has declared this one over meanwhile."""
    runs = recon_tables.runs
    async with engine.begin() as connection:
        ended = await connection.execute(
            update(runs)
            .where(runs.c.run_id == report.run_id, runs.c.status == RUNNING)
            .values(
                status=report.status.value,
                reason="; ".join(report.reasons) or None,
                finished_at=report.finished_at,
                extent=report.extent.value,
                watermark_ledger=report.watermark_ledger,
                mark=report.mark,
                report=report.to_json(),
            )
        )
    if ended.rowcount == 0:
        raise lock.lost()


async def fail(engine: AsyncEngine, run_id: UUID, *, reason: str) -> None:
    """Record that the run ended by an error or was stopped. Where the database is what failed, the next run does it."""
    runs = recon_tables.runs
    ended = update(runs).where(runs.c.run_id == run_id, runs.c.status == RUNNING)
    try:
        async with asyncio.timeout(FAIL_SECONDS), engine.begin() as connection:
            await connection.execute(ended.values(status="failed", reason=reason, finished_at=datetime.now(UTC)))
    except Exception as error:
        if not transient.is_transient(error):
            raise
        log.warning("how the run ended could not be recorded", run_id=str(run_id), error=transient.words(error))
