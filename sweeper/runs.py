"""The sweeps in `recon`: one row a run, one row an intended change."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

import structlog
from sqlalchemy import insert, text, update
from sqlalchemy.ext.asyncio import AsyncEngine

from shared import recon_tables, transient
from sweeper import lock
from sweeper.lock import Alone
from sweeper.model import Finding
from sweeper.report import Report, json_value

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
