"""Reports as they are stored, and the history that stands beside them."""

import uuid
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sweeper.model import Outcome
from sweeper.records import Point

BEGAN = datetime(2026, 3, 4, 3, tzinfo=UTC)


def finding(number: int = 1, **changes: Any) -> dict[str, Any]:
    """A loan whose status is stale."""
    return {
        "class": "stale_status",
        "table": "loans",
        "row_id": str(uuid.UUID(int=number)),
        "entity": f"loan:{number}",
        "columns": {"status": {"app": "active", "chain": "defaulted"}, "defaulted_at": {"app": None, "chain": "x"}},
        "words": f"The app says active; on chain loan {number} is Defaulted.",
        "evidence": {
            "chain": "the entry says the same",
            "asked_at_ledger": 7,
            "candidates": [{"loan": 1}, {"loan": 2}],
        },
        "action": "repair",
        "outcome": "repaired",
        **changes,
    }


def report(findings: Sequence[dict[str, Any]] = (), **changes: Any) -> dict[str, Any]:
    """A complete sweep of everything, with these findings."""
    outcomes = Counter(one.get("outcome") for one in findings)
    return {
        "run_id": str(uuid.uuid4()),
        "mode": "repair",
        "extent": "full",
        "status": "complete",
        "started_at": BEGAN.isoformat(),
        "finished_at": (BEGAN + timedelta(seconds=143)).isoformat(),
        "watermark_ledger": 51_234_567,
        "compared": {
            "loans": {"expected_rows": 20_000, "app_rows": 20_000},
            "vendors": {"expected_rows": 4, "app_rows": 4},
        },
        "spot_checks": {"confirmed": len(findings), "absent": 0, "unknown": 0},
        "drift": dict(Counter(one["class"] for one in findings)),
        "findings": list(findings),
        **{outcome.value: outcomes[outcome.value] for outcome in Outcome},
        "reasons": [],
        "notes": [],
        **changes,
    }


def history(*drifts: dict[str, int] | None, this: str | None = None, status: str = "complete") -> list[Point]:
    """Runs a day apart, the oldest first; the last one is `this`. None: a run that failed without a report."""
    ids = [uuid.UUID(int=number) for number in range(len(drifts))]
    if this is not None:
        ids[-1] = uuid.UUID(this)
    return [
        Point(
            run_id=run_id,
            started_at=BEGAN + timedelta(days=day + 1 - len(drifts)),
            status="failed" if drift is None else status,
            drift=drift,
        )
        for day, (run_id, drift) in enumerate(zip(ids, drifts, strict=True))
    ]
