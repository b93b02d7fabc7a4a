"""Rows that we repaired again and again, and that somebody else writes back each time: reported, and no longer fought."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from sweeper.model import FLAPPING, Finding
from sweeper.report import json_value

PAGE_ROWS = 5_000
"""Findings of one statement."""

# What was repaired of the same row under the same class, in at least one of the columns that differ now.
_REPAIRED = text("""
SELECT found.number, count(*) AS times, min(change.recorded_at) AS since
FROM unnest(CAST(:tables AS text[]), CAST(:rows AS text[]), CAST(:classes AS text[]), CAST(:columns AS text[]))
  WITH ORDINALITY AS found (table_name, row_id, class, columns, number)
JOIN recon.changes AS change ON change.table_name = found.table_name AND change.row_id = found.row_id
  AND change.class = found.class
JOIN recon.runs AS run ON run.run_id = change.run_id
WHERE change.outcome = 'repaired' AND change.kind = 'update' AND run.mode <> 'undo'
  AND change.recorded_at > clock_timestamp() - make_interval(secs => :window)
  AND jsonb_exists_any(change.after, string_to_array(found.columns, ','))
GROUP BY found.number HAVING count(*) >= :limit
""")


async def mark(engine: AsyncEngine, findings: Sequence[Finding], *, limit: int, window_seconds: float) -> list[Finding]:
    """The findings; those whose row was repaired `limit` times or more within the window carry FLAPPING in their evidence."""
    marked = list(findings)
    rows = [number for number, one in enumerate(findings) if one.row_id is not None and one.update and one.columns]
    for start in range(0, len(rows), PAGE_ROWS):
        numbers = rows[start : start + PAGE_ROWS]
        some = [findings[number] for number in numbers]
        parameters: dict[str, Any] = {
            "tables": [one.table for one in some],
            "rows": [one.row_id for one in some],
            "classes": [one.drift_class for one in some],
            "columns": [",".join(sorted(one.columns)) for one in some],
            "window": window_seconds,
            "limit": limit,
        }
        async with engine.connect() as connection:
            repaired = (await connection.execute(_REPAIRED, parameters)).all()
        for row in repaired:
            number = numbers[row.number - 1]
            marked[number] = _flapping(findings[number], times=row.times, since=row.since)
    return marked


def _flapping(finding: Finding, *, times: int, since: Any) -> Finding:
    words = (
        f"{finding.words} It was repaired {times} times since {json_value(since)}, and written back each time by somebody "
        "else, so it is left alone until that writer is found."
    )
    return replace(finding, words=words).with_evidence(**{FLAPPING: {"repaired_times": times, "since": since}})
