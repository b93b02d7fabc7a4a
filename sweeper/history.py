"""What `recon.runs` tells of earlier runs: how the last ones ended, and when one of a kind was last made."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared import recon_tables, session_lock
from sweeper.lock import LOCK
from sweeper.report import Extent, Mode, RunStatus
from sweeper.runs import INTERRUPTED, RUNNING


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A run as it is recorded; one that died without a word is told as failed, as the next run will record it."""

    run_id: UUID
    mode: str
    extent: str
    status: str
    reason: str | None
    started_at: datetime
    finished_at: datetime | None
    drift: dict[str, int] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """When the last run of a kind began that was complete, and the last one however it ended."""

    complete: datetime | None = None
    tried: datetime | None = None


async def last(connection: AsyncConnection, *, limit: int) -> Sequence[Ran]:
    """The newest runs, newest first. The connection is to be in no snapshot: what goes on is looked at twice."""
    ran = await _last(connection, limit)
    going_on = {one.run_id for one in ran if one.status == RUNNING}
    if not going_on or await session_lock.is_held(connection, LOCK):
        return ran
    # A run gives the lock back after its end was recorded: one that had begun before and goes on still has no process.
    return [
        replace(one, status=RunStatus.FAILED.value, reason=INTERRUPTED)
        if one.run_id in going_on and one.status == RUNNING
        else one
        for one in await _last(connection, limit)
    ]


async def _last(connection: AsyncConnection, limit: int) -> list[Ran]:
    runs = recon_tables.runs.c
    columns = (runs.run_id, runs.mode, runs.extent, runs.status, runs.reason, runs.started_at, runs.finished_at)
    query = select(*columns, runs.report["drift"].label("drift")).order_by(runs.started_at.desc()).limit(limit)
    return [Ran(**row) for row in (await connection.execute(query)).mappings()]


async def past(engine: AsyncEngine, *, extents: Collection[Extent], modes: Collection[Mode]) -> Past:
    """Of the runs of these kinds."""
    runs = recon_tables.runs.c
    complete = func.max(runs.started_at).filter(runs.status == RunStatus.COMPLETE.value)
    query = select(complete, func.max(runs.started_at)).where(
        runs.extent.in_([one.value for one in extents]), runs.mode.in_([one.value for one in modes])
    )
    async with engine.connect() as connection:
        found = (await connection.execute(query)).one()
    return Past(complete=found[0], tried=found[1])
