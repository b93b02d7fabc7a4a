"""The metrics of a run."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from shared import metrics
from sweeper import classes, gauges
from sweeper.context import Compared
from sweeper.model import Finding, Outcome
from sweeper.report import Extent, Mode, Report, RunStatus

END = datetime(2026, 3, 4, 3, 2, tzinfo=UTC)
FOUND = Finding(drift_class="stale_value", table="loans", row_id="1", entity=None, words="")


def report(*findings: Finding, **changes: Any) -> Report:
    plain = Report(
        run_id=uuid4(),
        mode=Mode.DRY,
        extent=Extent.FULL,
        status=RunStatus.COMPLETE,
        started_at=END - timedelta(seconds=120),
        finished_at=END,
        watermark_ledger=77,
        compared={"loans": Compared(expected_rows=5, app_rows=6)},
        spot_checks=Counter(),
        findings=findings,
    )
    return replace(plain, **changes)


def sample(name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"chaintrue_{name}", labels)


@pytest.fixture(autouse=True)
def fresh() -> None:
    for gauge in (metrics.drift_rows, metrics.repairs_total, metrics.sweep_compared_rows):
        gauge.clear()
    for single in (metrics.drift_age_seconds, metrics.sweep_last_success_timestamp_seconds):
        single.set(0)


def test_a_sweep_sets_every_class_of_what_it_compared() -> None:
    gauges.measure(report(FOUND), last_success=None)
    assert sample("drift_rows", **{"class": "stale_value", "table": "loans"}) == 1
    others = classes.CLASSES.keys() - {"stale_value"}
    assert {sample("drift_rows", **{"class": name, "table": "loans"}) for name in others} == {0}
    assert sample("sweep_compared_rows", table="loans", side="app") == 6
    assert sample("sweep_duration_seconds") == 120
    assert sample("sweep_last_success_timestamp_seconds") == END.timestamp()
    assert sample("watermark_ledger") == 77


def test_a_run_that_is_no_success_keeps_the_last_one() -> None:
    before = END - timedelta(days=2)
    gauges.measure(report(status=RunStatus.INCOMPLETE), last_success=before)
    assert sample("sweep_last_success_timestamp_seconds") == before.timestamp()
    gauges.measure(report(mode=Mode.APPLY, extent=Extent.PLAN), last_success=before)
    assert sample("sweep_last_success_timestamp_seconds") == before.timestamp()
    gauges.measure_success(None)
    assert sample("sweep_last_success_timestamp_seconds") == before.timestamp()


@pytest.mark.parametrize(
    ("findings", "age"),
    [
        ([], 0),
        ([replace(FOUND, outcome=Outcome.REPAIRED).with_evidence(first_seen=END - timedelta(days=9))], 0),
        ([FOUND], 120),
        ([FOUND.with_evidence(first_seen=END - timedelta(hours=1)), FOUND], 3600),
        ([FOUND.with_evidence(first_seen=(END - timedelta(hours=2)).isoformat())], 7200),
    ],
)
def test_the_age_is_of_the_oldest_that_is_still_there(findings: list[Finding], age: float) -> None:
    gauges.measure(report(*findings), last_success=None)
    assert sample("drift_age_seconds") == age


@pytest.mark.parametrize(
    "changes",
    [
        {"extent": Extent.CHANGED, "status": RunStatus.INCOMPLETE},
        {"status": RunStatus.INCOMPLETE, "compared": {}},
        {"status": RunStatus.FAILED, "canary": False},
        {"mode": Mode.UNDO, "extent": Extent.RUN},
    ],
)
def test_what_says_nothing_of_the_rest_leaves_the_drift_that_is_known(changes: dict[str, Any]) -> None:
    gauges.measure(report(FOUND.with_evidence(first_seen=END - timedelta(hours=1))), last_success=None)
    gauges.measure(report(**changes), last_success=None)
    assert sample("drift_rows", **{"class": "stale_value", "table": "loans"}) == 1
    assert sample("drift_age_seconds") == 3600


def test_a_sweep_of_what_changed_looked_at_the_drift_that_was_there() -> None:
    gauges.measure(report(FOUND), last_success=None)
    gauges.measure(report(extent=Extent.CHANGED), last_success=None)
    assert sample("drift_rows", **{"class": "stale_value", "table": "loans"}) == 0
    assert sample("drift_age_seconds") == 0


@pytest.mark.parametrize("canary", [True, False])
def test_whether_the_canary_was_found(*, canary: bool) -> None:
    gauges.measure(report(canary=canary), last_success=None)
    assert sample("sweep_canary_found") == canary


def test_repairs_are_counted_where_a_run_may_write() -> None:
    repaired = replace(FOUND, outcome=Outcome.REPAIRED)
    for mode in (Mode.DRY, Mode.UNDO, Mode.REPAIR, Mode.APPLY):
        gauges.measure(report(repaired, mode=mode), last_success=None)
    assert sample("repairs_total", **{"class": "stale_value", "outcome": "repaired"}) == 2
