"""The metrics of a run."""

import math
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from shared import metrics
from sweeper import classes, gauges
from sweeper.context import Compared
from sweeper.gauges import Known
from sweeper.model import Both, Finding, Outcome
from sweeper.records import Success
from sweeper.report import Extent, Mode, Report, RunStatus
from sweeper.sightings import Standing

END = datetime(2026, 3, 4, 3, 2, tzinfo=UTC)
AGES = {"loans": 7200.0, "vendors": 0.0}
FOUND = Finding(drift_class="stale_value", table="loans", row_id="1", entity=None, words="")

IN_PART = replace(
    FOUND,
    columns={"status": Both("active", "completed"), "amount": Both(1, 100)},
    update={"status": "completed"},
    outcome=Outcome.REPAIRED,
)


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
    for single in metrics.UNKNOWN_AT_FIRST:
        single.set(math.nan)  # as in a process that begins


def test_a_sweep_sets_every_class_of_what_it_compared() -> None:
    gauges.measure(report(FOUND), known=Known())
    assert sample("drift_rows", **{"class": "stale_value", "table": "loans"}) == 1
    others = classes.CLASSES.keys() - {"stale_value"}
    assert {sample("drift_rows", **{"class": name, "table": "loans"}) for name in others} == {0}
    assert sample("sweep_compared_rows", table="loans", side="app") == 6
    assert sample("sweep_duration_seconds") == 120
    assert sample("sweep_last_success_timestamp_seconds") == END.timestamp()
    assert sample("watermark_ledger") == 77


def test_a_run_that_is_no_success_keeps_the_last_one() -> None:
    before = END - timedelta(days=2)
    gauges.measure(report(status=RunStatus.INCOMPLETE), known=Known(success=Success(ended=before, full_ended=before)))
    assert sample("sweep_last_success_timestamp_seconds") == before.timestamp()
    gauges.measure(
        report(mode=Mode.APPLY, extent=Extent.PLAN), known=Known(success=Success(ended=before, full_ended=before))
    )
    assert sample("sweep_last_success_timestamp_seconds") == before.timestamp()
    gauges.measure(report(status=RunStatus.INCOMPLETE), known=None)
    assert sample("sweep_last_success_timestamp_seconds") == before.timestamp()


def test_that_there_never_was_a_success_is_another_thing_than_not_to_know_of_any() -> None:
    names = ("sweep_last_success_timestamp_seconds", "sweep_last_full_success_timestamp_seconds")
    gauges.measure(report(status=RunStatus.INCOMPLETE), known=None)
    assert all(math.isnan(sample(name) or 0) for name in names)
    gauges.measure_known(Known())
    assert [sample(name) for name in names] == [0, 0]


@pytest.mark.parametrize(
    ("findings", "age"),
    [
        ([], 0),
        ([replace(FOUND, outcome=Outcome.REPAIRED).with_evidence(first_seen=END - timedelta(days=9))], 0),
        ([IN_PART.with_evidence(first_seen=END - timedelta(days=9))], 9 * 86_400),
        ([FOUND], 120),
        ([FOUND.with_evidence(first_seen=END - timedelta(hours=1)), FOUND], 3600),
        ([FOUND.with_evidence(first_seen=(END - timedelta(hours=2)).isoformat())], 7200),
    ],
)
def test_the_age_is_of_the_oldest_that_is_still_there(findings: list[Finding], age: float) -> None:
    gauges.measure(report(*findings), known=Known())
    assert sample("drift_age_seconds") == age


@pytest.mark.parametrize("extent", [Extent.CHANGED, Extent.TABLES])
def test_only_a_sweep_of_everything_is_a_success_of_a_full_one(extent: Extent) -> None:
    """Full ones that fail each night are not seen where the others count as well."""
    before = Success(ended=END - timedelta(hours=1), full_ended=END - timedelta(days=2))
    gauges.measure(report(extent=extent), known=Known(success=before))
    assert sample("sweep_last_success_timestamp_seconds") == END.timestamp()
    assert sample("sweep_last_full_success_timestamp_seconds") == (END - timedelta(days=2)).timestamp()
    gauges.measure(report(), known=Known(success=before))
    assert sample("sweep_last_full_success_timestamp_seconds") == END.timestamp()


SAYS_NOTHING: list[dict[str, Any]] = [
    {"extent": Extent.CHANGED, "status": RunStatus.INCOMPLETE},
    {"status": RunStatus.INCOMPLETE, "compared": {}},
    {"status": RunStatus.FAILED, "canary": False},
    {"mode": Mode.APPLY, "extent": Extent.PLAN},
    {"mode": Mode.UNDO, "extent": Extent.RUN},
]


@pytest.mark.parametrize("changes", SAYS_NOTHING)
def test_a_run_that_does_not_look_tells_the_drift_that_is_remembered(changes: dict[str, Any]) -> None:
    """The process is new: what it does not tell is gone from the text file and the gateway, and alerts with it."""
    remembered = Standing(rows={("loans", "stale_value"): 3, ("vendors", "forged_owner"): 0}, ages=AGES)
    gauges.measure(report(**changes), known=Known(standing=remembered))
    assert sample("drift_rows", **{"class": "stale_value", "table": "loans"}) == 3
    assert sample("drift_rows", **{"class": "stale_status", "table": "loans"}) == 0
    assert sample("drift_rows", **{"class": "forged_owner", "table": "vendors"}) == 0
    assert sample("drift_age_seconds") == 7200


@pytest.mark.parametrize("changes", SAYS_NOTHING)
def test_where_nothing_can_be_remembered_either_it_is_unknown(changes: dict[str, Any]) -> None:
    gauges.measure(report(**changes), known=None)
    assert sample("drift_rows", **{"class": "stale_value", "table": "loans"}) is None
    age = sample("drift_age_seconds")
    assert age is not None
    assert math.isnan(age)


def test_a_run_that_ended_by_an_error_tells_what_is_remembered() -> None:
    before = END - timedelta(days=2)
    remembered = Standing(rows={("loans", "stale_value"): 3}, ages={"loans": 7200})
    gauges.measure_known(Known(success=Success(ended=before, full_ended=before), standing=remembered))
    assert sample("drift_rows", **{"class": "stale_value", "table": "loans"}) == 3
    assert sample("drift_age_seconds") == 7200
    assert sample("sweep_last_success_timestamp_seconds") == before.timestamp()


def test_what_is_remembered_takes_the_place_of_what_an_earlier_run_of_the_process_said() -> None:
    gauges.measure(report(FOUND), known=Known())
    gauges.measure(report(mode=Mode.APPLY, extent=Extent.PLAN), known=Known(standing=Standing(ages={"loans": 0})))
    assert sample("drift_rows", **{"class": "stale_value", "table": "loans"}) == 0
    assert sample("drift_age_seconds") == 0


@pytest.mark.parametrize(
    ("changes", "age"),
    [
        ({"extent": Extent.TABLES}, 7200),  # the oldest is of a table that was not named
        ({"status": RunStatus.INCOMPLETE}, 7200),  # there was more than one run looks at
        ({}, 120),  # a table that is left out of a complete sweep is none that drifts
    ],
)
def test_tables_that_a_sweep_did_not_come_to_are_told_as_remembered(changes: dict[str, Any], age: float) -> None:
    remembered = Standing(
        rows={("loans", "stale_value"): 3, ("vendors", "stale_value"): 4}, ages={"loans": 90_000, "vendors": 7200}
    )
    gauges.measure(report(FOUND, **changes), known=Known(standing=remembered))
    assert sample("drift_rows", **{"class": "stale_value", "table": "loans"}) == 1
    assert sample("drift_rows", **{"class": "stale_value", "table": "vendors"}) == (4 if changes else None)
    assert sample("drift_age_seconds") == age


def test_a_sweep_of_what_changed_looked_at_the_drift_that_was_there() -> None:
    gauges.measure(report(FOUND), known=Known())
    gauges.measure(report(extent=Extent.CHANGED), known=Known())
    assert sample("drift_rows", **{"class": "stale_value", "table": "loans"}) == 0
    assert sample("drift_age_seconds") == 0


@pytest.mark.parametrize("canary", [True, False])
def test_whether_the_canary_was_found(*, canary: bool) -> None:
    gauges.measure(report(canary=canary), known=Known())
    assert sample("sweep_canary_found") == canary


def test_repairs_are_counted_where_a_run_may_write() -> None:
    repaired = replace(FOUND, outcome=Outcome.REPAIRED)
    for mode in (Mode.DRY, Mode.UNDO, Mode.REPAIR, Mode.APPLY):
        gauges.measure(report(repaired, mode=mode), known=Known())
    assert sample("repairs_total", **{"class": "stale_value", "outcome": "repaired"}) == 2
