"""The changes in `recon`: what is intended is written down before it is tried, and what became of it after.

The before and the after image are the values as text, as PostgreSQL reads them for their columns: exact, and enough to settle a
change by looking at the row, or to take it back.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import orjson
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared import database, errors
from sweeper.batch import Batch
from sweeper.model import Finding, Outcome
from sweeper.row_images import Image

_COLUMNS = (
    "run_id", "number", "table_name", "row_id", "entity", "class", "kind", "before", "after", "outcome", "recorded_at",
)  # fmt: skip
_PAGE = 2_000
INTENDED = "intended"
"""The outcome of a change of which it was not recorded what became of it."""

_STATUS = text("SELECT status FROM recon.runs WHERE run_id = :run_id FOR SHARE")

_SETTLE = text("""
UPDATE recon.changes AS change
SET outcome = done.outcome, reason = done.reason, row_id = coalesce(done.row_id, change.row_id), row_hash = done.row_hash,
  settled_at = :now
FROM unnest(CAST(:numbers AS integer[]), CAST(:outcomes AS text[]), CAST(:reasons AS text[]), CAST(:row_ids AS text[]),
  CAST(:hashes AS text[])) AS done (number, outcome, reason, row_id, row_hash)
WHERE change.run_id = :run_id AND change.number = done.number AND (:overrule OR change.outcome = 'intended')
""")

_OF_RUN = text("""
SELECT number, table_name, row_id, entity, class AS drift_class, kind, before, after, row_hash, outcome
FROM recon.changes WHERE run_id = :run_id AND outcome = :outcome AND number > :after ORDER BY number LIMIT :limit
""").columns(before=JSONB, after=JSONB)

_UNSETTLED = text("""
SELECT change.run_id, count(*) AS changes FROM recon.changes AS change JOIN recon.runs AS run USING (run_id)
WHERE change.outcome = 'intended' AND run.status <> 'running' GROUP BY change.run_id, run.started_at ORDER BY run.started_at
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One intended write, as it was recorded."""

    number: int
    table_name: str
    row_id: str
    entity: str | None
    drift_class: str
    kind: str
    before: Image
    after: Image
    row_hash: str | None
    outcome: str

    @property
    def is_insert(self) -> bool:
        return self.kind == "insert"


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What became of a change. `row_hash`: of the whole row as the write left it; `row_id`: of the row that an insert made."""

    outcome: Outcome
    reason: str | None = None
    row_id: str | None = None
    row_hash: str | None = None


class Journal:
    """The changes of one run."""

    def __init__(self, engine: AsyncEngine, run_id: UUID) -> None:
        self._engine = engine
        self._run_id = run_id
        self._next = 1

    async def intend(self, findings: Sequence[Finding], batch: Batch) -> list[int]:
        """Record the before and after images of the findings' batch; returns the numbers of the changes.

        Raises LockLost when the run was declared over: another one has taken its place, and holds the lock. The row of the run
        stays locked until the intent is committed, so whoever declares it over sees all of its intents.
        """
        numbers = list(range(self._next, self._next + len(batch)))
        self._next += len(batch)  # before anything is awaited: two batches may be recorded at once
        kind, now = "insert" if batch.is_insert else "update", datetime.now(UTC)
        records = [
            (
                self._run_id,
                number,
                finding.table,
                finding.row_id or "",
                finding.entity,
                finding.drift_class,
                kind,
                orjson.dumps(before).decode(),
                orjson.dumps(after).decode(),
                INTENDED,
                now,
            )
            for number, finding, before, after in zip(
                numbers, findings, batch.before or [{}] * len(batch), batch.after, strict=True
            )
        ]
        async with self._engine.begin() as connection:
            if (await connection.execute(_STATUS, {"run_id": self._run_id})).scalar_one_or_none() != "running":
                raise errors.LockLost("another run has taken the place of this one, so it stops")
            await database.raw(connection).copy_records_to_table(
                "changes", schema_name="recon", columns=_COLUMNS, records=records
            )
        return numbers

    async def settle(self, done: Mapping[int, Done]) -> None:
        """Record what became of the changes: whoever wrote them knows, so it overrules what was seen from outside."""
        async with self._engine.begin() as connection:
            await _settle(connection, self._run_id, done, overrule=True)


async def changes(engine: AsyncEngine, run_id: UUID, *, outcome: str) -> AsyncIterator[list[Change]]:
    """The changes of a run with that outcome, in the order in which they were intended, in pages."""
    after = 0
    while True:
        parameters = {"run_id": run_id, "outcome": outcome, "after": after, "limit": _PAGE}
        async with engine.connect() as connection:
            found = [Change(**row._mapping) for row in await connection.execute(_OF_RUN, parameters)]
        if found:
            yield found
        if len(found) < _PAGE:
            return
        after = found[-1].number


async def unsettled(engine: AsyncEngine) -> list[UUID]:
    """The runs that are over with changes of which it was not recorded what became of them, the oldest first."""
    async with engine.connect() as connection:
        return [row.run_id for row in await connection.execute(_UNSETTLED)]


async def settle(engine: AsyncEngine, run_id: UUID, done: Mapping[int, Done]) -> None:
    """Record what was seen to have become of another run's changes."""
    async with engine.begin() as connection:
        await _settle(connection, run_id, done, overrule=False)


async def _settle(connection: AsyncConnection, run_id: UUID, done: Mapping[int, Done], *, overrule: bool) -> None:
    if not done:
        return
    parameters = {
        "run_id": run_id,
        "numbers": list(done),
        "outcomes": [one.outcome.value for one in done.values()],
        "reasons": [one.reason for one in done.values()],
        "row_ids": [one.row_id for one in done.values()],
        "hashes": [one.row_hash for one in done.values()],
        "now": datetime.now(UTC),
        "overrule": overrule,
    }
    await connection.execute(_SETTLE, parameters)
