"""Rows that we repaired again and again, and that somebody else writes back each time: reported, and no longer fought."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncEngine

from sweeper import written_back
from sweeper.model import FLAPPING, Finding
from sweeper.report import json_value
from sweeper.written_back import Write, WrittenBack

PAGE_ROWS = 5_000
"""Findings of one statement."""

# What we wrote to the rows, in its order, of those alone that were repaired often enough under the class that they are of now,
# in at least one of the columns that differ now. A write of another class, or an undo, counts for nothing by itself; but it is
# ours, and what it left behind was nobody else's doing.
_WRITTEN = text("""
SELECT written.place, written.recorded_at, written.counts, written.before, written.after FROM (
  SELECT found.place, change.recorded_at, change.run_id, change.number, change.before, change.after,
    change.class = found.class AND run.mode <> 'undo' AS counts,
    count(*) FILTER (WHERE change.class = found.class AND run.mode <> 'undo') OVER (PARTITION BY found.place) AS times
  FROM unnest(CAST(:tables AS text[]), CAST(:rows AS text[]), CAST(:classes AS text[]), CAST(:columns AS text[]))
    WITH ORDINALITY AS found (table_name, row_id, class, columns, place)
  JOIN recon.changes AS change ON change.table_name = found.table_name AND change.row_id = found.row_id
  JOIN recon.runs AS run ON run.run_id = change.run_id
  WHERE change.outcome = 'repaired' AND change.kind = 'update'
    AND change.recorded_at > clock_timestamp() - make_interval(secs => :window)
    AND jsonb_exists_any(change.after, string_to_array(found.columns, ','))
) AS written
WHERE written.times >= :limit ORDER BY written.place, written.recorded_at, written.run_id, written.number
""").columns(before=JSONB, after=JSONB)


async def mark(engine: AsyncEngine, findings: Sequence[Finding], *, limit: int, window_seconds: float) -> list[Finding]:
    """The findings; those of which a column was written back `limit` times or more within the window carry FLAPPING in
    their evidence."""
    marked = list(findings)
    rows = [number for number, one in enumerate(findings) if one.row_id is not None and one.update and one.columns]
    for start in range(0, len(rows), PAGE_ROWS):
        numbers = rows[start : start + PAGE_ROWS]
        some = [findings[number] for number in numbers]
        async for place, writes in _written(engine, some, limit=limit, window_seconds=window_seconds):
            finding = some[place]
            written = {name: both for name, both in finding.columns.items() if name in finding.update}
            told = written_back.most(writes, written)
            if told is not None and told.times >= limit:
                marked[numbers[place]] = _flapping(some[place], told)
    return marked


async def _written(
    engine: AsyncEngine, findings: Sequence[Finding], *, limit: int, window_seconds: float
) -> AsyncIterator[tuple[int, list[Write]]]:
    """The places of the findings that were repaired often enough, each with all that we wrote to its row."""
    parameters: dict[str, Any] = {
        "tables": [one.table for one in findings],
        "rows": [one.row_id for one in findings],
        "classes": [one.drift_class for one in findings],
        "columns": [",".join(sorted(one.columns)) for one in findings],
        "window": window_seconds,
        "limit": limit,
    }
    place, writes = 0, list[Write]()
    async with engine.connect() as connection, connection.stream(_WRITTEN, parameters) as rows:
        async for row in rows:
            if row.place != place and writes:
                yield place - 1, writes
                writes = []
            place = row.place
            writes.append(Write(at=row.recorded_at, before=row.before, after=row.after, counts=row.counts))
    if writes:
        yield place - 1, writes


def _flapping(finding: Finding, told: WrittenBack) -> Finding:
    words = (
        f"{finding.words} It was repaired {told.times} times since {json_value(told.since)}, and written back each time by "
        "somebody else, so it is left alone until that writer is found."
    )
    evidence = {FLAPPING: {"repaired_times": told.times, "since": told.since}}
    return replace(finding, words=words).with_evidence(**evidence)
