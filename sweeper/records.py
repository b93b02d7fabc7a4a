"""The runs in `recon`, read: one by its id, the last ones, when one of a kind was made, and how drift went from run to run."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Text, cast, func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared import errors, recon_tables, session_lock
from sweeper import words
from sweeper.lock import LOCK
from sweeper.report import Extent, Mode, RunStatus
from sweeper.runs import INTERRUPTED, RUNNING

SHORTEST_PREFIX = 4
_ID = re.compile(r"[0-9a-f-]+")
_runs = recon_tables.runs.c
_DRIFT = _runs.report["drift"].label("drift")
_LINE = (
    *(_runs.run_id, _runs.mode, _runs.extent, _runs.status, _runs.reason, _runs.started_at, _runs.finished_at),
    _DRIFT,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A run without its report; `drift` by class, None where there is no report."""

    run_id: UUID
    mode: str
    extent: str
    status: str
    reason: str | None
    started_at: datetime
    finished_at: datetime | None
    drift: Mapping[str, int] | None

    def to_json(self) -> dict[str, Any]:
        """Of JSON values only."""
        return {
            "run_id": str(self.run_id),
            "mode": self.mode,
            "extent": self.extent,
            "status": self.status,
            "reason": self.reason,
            "started_at": words.iso(self.started_at),
            "finished_at": None if self.finished_at is None else words.iso(self.finished_at),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A run in the history of drift; `drift` by class, None where the run has no report."""

    run_id: UUID
    started_at: datetime
    status: str
    drift: Mapping[str, int] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """When the last run of a kind began that was complete, and the last one however it ended."""

    complete: datetime | None = None
    tried: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Success:
    """When the last complete sweep ended, whatever it looked at, and the last one of everything."""

    ended: datetime | None = None
    full_ended: datetime | None = None


async def last(engine: AsyncEngine, *, limit: int) -> list[Record]:
    """The last runs, the newest first; one that died without a word is told as failed, as the next run will record it."""
    async with engine.connect() as connection:
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


async def _last(connection: AsyncConnection, limit: int) -> list[Record]:
    found = await connection.execute(select(*_LINE).order_by(_runs.started_at.desc()).limit(limit))
    return [_record(row) for row in found]


async def past(engine: AsyncEngine, *, extents: Collection[Extent], modes: Collection[Mode]) -> Past:
    """Of the runs of these kinds."""
    complete = func.max(_runs.started_at).filter(_runs.status == RunStatus.COMPLETE.value)
    query = select(complete, func.max(_runs.started_at)).where(
        _runs.extent.in_([one.value for one in extents]), _runs.mode.in_([one.value for one in modes])
    )
    async with engine.connect() as connection:
        found = (await connection.execute(query)).one()
    return Past(complete=found[0], tried=found[1])


async def find(engine: AsyncEngine, prefix: str) -> Record:
    """The run whose id is, or alone begins with, the prefix; raises RunUnknown."""
    wanted = prefix.strip().lower()
    if len(wanted) < SHORTEST_PREFIX or not _ID.fullmatch(wanted):
        raise errors.RunUnknown(
            f"{prefix!r} is no id of a run", cure=f"name at least its first {SHORTEST_PREFIX} characters; {_LIST}"
        )
    query = select(*_LINE).where(cast(_runs.run_id, Text).startswith(wanted)).order_by(_runs.started_at.desc()).limit(6)
    async with engine.connect() as connection:
        found = [_record(row) for row in await connection.execute(query)]
    if not found:
        raise errors.RunUnknown(f"there is no run {prefix}", cure=_LIST)
    if len(found) > 1:
        ids = words.listed([str(one.run_id) for one in found[:5]])
        raise errors.RunUnknown(f"several runs begin with {prefix}: {ids}", cure="name more of its id")
    return found[0]


async def last_with_report(engine: AsyncEngine) -> Record:
    """The last run that ended with a report; raises RunUnknown where none has."""
    query = select(*_LINE).where(_runs.report.is_not(None)).order_by(_runs.started_at.desc()).limit(1)
    async with engine.connect() as connection:
        found = (await connection.execute(query)).one_or_none()
    if found is None:
        raise errors.RunUnknown("no run has ended with a report yet", cure="run `chaintrue sweep`")
    return _record(found)


async def report(engine: AsyncEngine, record: Record) -> dict[str, Any]:
    """The stored report of the run; raises RunUnknown, with how the run stands, where it has none."""
    async with engine.connect() as connection:
        query = select(_runs.report).where(_runs.run_id == record.run_id)
        stored: dict[str, Any] | None = (await connection.execute(query)).scalar_one()
    if stored is not None:
        return stored
    began = f"run {record.run_id} began {words.moment(record.started_at)}"
    if record.status == RUNNING:
        raise errors.RunUnknown(f"{began} and has not ended: it has no report yet", cure="wait for it")
    ended = "" if record.finished_at is None else f" and ended {words.moment(record.finished_at)}"
    raise errors.RunUnknown(
        f"{began}{ended} without a report: {record.reason or 'why was not recorded'}", cure="run it again"
    )


async def history(engine: AsyncEngine, record: Record, *, limit: int) -> list[Point]:
    """The sweeps up to this run that can be held against each other, the oldest first.

    A sweep of what changed finds less than one of everything, so only those of one extent stand side by side. Other kinds of
    run are shown the full sweeps before them.
    """
    extent = record.extent if record.extent in (Extent.FULL, Extent.CHANGED) else Extent.FULL.value
    query = (
        select(_runs.run_id, _runs.started_at, _runs.status, _DRIFT)
        .where(_runs.mode.in_([Mode.DRY.value, Mode.REPAIR.value]), _runs.extent == extent, _runs.status != RUNNING)
        .where(_runs.started_at <= record.started_at)
        .order_by(_runs.started_at.desc())
        .limit(limit)
    )
    async with engine.connect() as connection:
        found = (await connection.execute(query)).all()
    return [
        Point(run_id=row.run_id, started_at=row.started_at, status=row.status, drift=row.drift)
        for row in reversed(found)
    ]


async def last_success(engine: AsyncEngine) -> Success:
    """Of sweeps that were complete."""
    complete = _runs.status == RunStatus.COMPLETE.value
    ended, full = func.max(_runs.finished_at), _runs.extent == Extent.FULL.value
    query = select(ended, ended.filter(full)).where(complete, _runs.mode.in_([Mode.DRY.value, Mode.REPAIR.value]))
    async with engine.connect() as connection:
        found = (await connection.execute(query)).one()
    return Success(ended=found[0], full_ended=found[1])


async def failed_since(engine: AsyncEngine, since: datetime) -> Record | None:
    """The newest of the runs that ended by an error since then."""
    query = (
        select(*_LINE)
        .where(_runs.status == RunStatus.FAILED.value, _runs.report.is_(None), _runs.finished_at >= since)
        .order_by(_runs.started_at.desc())
        .limit(1)
    )
    async with engine.connect() as connection:
        found = (await connection.execute(query)).one_or_none()
    return None if found is None else _record(found)


_LIST = "`chaintrue report --list` shows the last ones"


def _record(row: Any) -> Record:
    return Record(**row._mapping)
