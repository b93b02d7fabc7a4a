"""The sweeps in `recon`: one row a run, one row an intended change, and the lock that lets one run at a time."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import insert, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared import errors, recon_tables
from sweeper.model import Finding
from sweeper.report import Report, json_value

INTERRUPTED = "it was interrupted: its process ended without a word"
_LOCK = 0x7377656570  # any fixed number: one sweep at a time for each database of chaintrue


class Alone:
    """The lock of the sweeps, held by a connection of its own."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def ensure(self) -> None:
        """Raise LockLost unless the lock is still ours: asked before each batch that is written."""
        try:
            await self._connection.execute(text("SELECT 1"))
        except (DBAPIError, OSError) as error:
            raise errors.LockLost from error


@asynccontextmanager
async def alone(engine: AsyncEngine) -> AsyncIterator[Alone]:
    """Hold the lock of the sweeps for the block; raises AlreadyRunning when another process has it.

    A session lock: PostgreSQL gives it back when the connection ends, however the process ended.
    """
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        if not (await connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": _LOCK})).scalar_one():
            raise errors.AlreadyRunning(
                "another sweep is running on this database", cure="wait for it, or look at it with `chaintrue status`"
            )
        yield Alone(connection)


async def begin(engine: AsyncEngine, *, run_id: UUID, mode: str, extent: str, started_at: datetime) -> None:
    """Record the run; runs that died without a word are marked so, for the lock says that they are over."""
    runs = recon_tables.runs
    async with engine.begin() as connection:
        await connection.execute(
            update(runs)
            .where(runs.c.status == "running")
            .values(status="failed", reason=INTERRUPTED, finished_at=started_at)
        )
        await connection.execute(
            insert(runs).values(run_id=run_id, mode=mode, extent=extent, status="running", started_at=started_at)
        )


async def finish(engine: AsyncEngine, report: Report) -> None:
    """Record what the run ended with."""
    runs = recon_tables.runs
    async with engine.begin() as connection:
        await connection.execute(
            update(runs)
            .where(runs.c.run_id == report.run_id)
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


async def fail(engine: AsyncEngine, run_id: UUID, *, reason: str) -> None:
    """Record that the run ended by an error or was stopped."""
    runs = recon_tables.runs
    async with asyncio.timeout(5), engine.begin() as connection:
        await connection.execute(
            update(runs)
            .where(runs.c.run_id == run_id)
            .values(status="failed", reason=reason, finished_at=datetime.now(UTC))
        )


class Journal:
    """The changes of one run: what is intended is written down before it is tried."""

    def __init__(self, engine: AsyncEngine, run_id: UUID) -> None:
        self._engine = engine
        self._run_id = run_id
        self._next = 1

    async def intend(self, findings: Sequence[Finding]) -> list[int]:
        """Record the before and after images; returns the numbers of the changes."""
        numbers = list(range(self._next, self._next + len(findings)))
        self._next += len(findings)
        rows = [
            {
                "run_id": self._run_id,
                "number": number,
                "table_name": finding.table,
                "row_id": finding.row_id or "",
                "entity": finding.entity,
                "class": finding.drift_class,
                "kind": "update" if finding.update else "insert",
                "before": json_value(finding.guard),
                "after": json_value(finding.update or finding.insert or {}),
                "outcome": "intended",
                "recorded_at": datetime.now(UTC),
            }
            for number, finding in zip(numbers, findings, strict=True)
        ]
        async with self._engine.begin() as connection:
            await connection.execute(insert(recon_tables.changes), rows)
        return numbers

    async def settle(self, outcomes: Mapping[int, Finding]) -> None:
        """Record what became of the intended changes."""
        statement = text("""
UPDATE recon.changes AS change SET outcome = done.outcome, reason = done.reason, settled_at = :now
FROM unnest(CAST(:numbers AS integer[]), CAST(:outcomes AS text[]), CAST(:reasons AS text[])) AS done (number, outcome, reason)
WHERE change.run_id = :run_id AND change.number = done.number
""")
        parameters = {
            "numbers": list(outcomes),
            "outcomes": [one.outcome.value for one in outcomes.values()],
            "reasons": [one.evidence.get("reason") for one in outcomes.values()],
            "now": datetime.now(UTC),
            "run_id": self._run_id,
        }
        async with self._engine.begin() as connection:
            await connection.execute(statement, parameters)
