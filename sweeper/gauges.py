"""What a run tells the metrics. A failed one, too: an alert has to see when the last good one ended, and which drift stands.

A one-shot run replaces all that the one before it told (a text file, a gateway). So what it has not looked at itself is told as
the own database remembers it: an alert on drift must not end because a later run was broken off, or had something else to do.
"""

import math
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from shared import metrics
from sweeper import classes, records, sightings
from sweeper.model import Finding
from sweeper.records import Success
from sweeper.report import Extent, Mode, Report, RunStatus
from sweeper.sightings import Standing


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the own database remembers: when the last complete sweeps ended, and what is known to differ still."""

    success: Success = field(default_factory=Success)
    standing: Standing = field(default_factory=Standing)


async def recall(engine: AsyncEngine) -> Known:
    """All of it, as of now."""
    return Known(success=await records.last_success(engine), standing=await sightings.standing(engine))


def measure(report: Report, *, known: Known | None) -> None:
    """Set the metrics from the report of any run; `known` is None where the own database could not be asked."""
    metrics.sweeps_total.labels(report.mode.value, report.status.value).inc()
    if report.mode in (Mode.REPAIR, Mode.APPLY):
        for finding in report.findings:
            metrics.repairs_total.labels(finding.drift_class, finding.outcome.value).inc()
    if report.watermark_ledger is not None:
        metrics.watermark_ledger.set(report.watermark_ledger)
    if report.freshness is not None:
        _measure_freshness(report.freshness)
    if known is not None:
        _measure_success(known.success)
    if report.mode in (Mode.DRY, Mode.REPAIR):
        _measure_sweep(report)
    _measure_drift(report, None if known is None else known.standing)


def measure_known(known: Known) -> None:
    """All that there is to tell before a first run, and of one that ended by an error."""
    _measure_success(known.success)
    _measure_standing(known.standing)
    metrics.drift_age_seconds.set(max(known.standing.ages.values(), default=0.0))


def _measure_freshness(figures: Mapping[str, object]) -> None:
    for name, gauge in (
        ("lag_ledgers", metrics.sweep_lag_ledgers),
        ("lag_seconds", metrics.sweep_lag_seconds),
        ("tip_age_seconds", metrics.sweep_tip_age_seconds),
    ):
        value = figures.get(name)
        gauge.set(value if isinstance(value, int) else math.nan)


def _measure_success(success: Success) -> None:
    for gauge, ended in (
        (metrics.sweep_last_success_timestamp_seconds, success.ended),
        (metrics.sweep_last_full_success_timestamp_seconds, success.full_ended),
    ):
        gauge.set(0 if ended is None else ended.timestamp())


def _measure_sweep(report: Report) -> None:
    if report.status is RunStatus.COMPLETE:
        metrics.sweep_last_success_timestamp_seconds.set(report.finished_at.timestamp())
        if report.extent is Extent.FULL:
            metrics.sweep_last_full_success_timestamp_seconds.set(report.finished_at.timestamp())
    metrics.sweep_duration_seconds.set((report.finished_at - report.started_at).total_seconds())
    for table, one in report.compared.items():
        metrics.sweep_compared_rows.labels(table, "expected").set(one.expected_rows)
        metrics.sweep_compared_rows.labels(table, "app").set(one.app_rows)
    for table, spots in report.to_json().get("spot_coverage", {}).items():
        metrics.spot_coverage_ratio.labels(table).set(spots["share"])
    if report.canary is not None:
        metrics.sweep_canary_found.set(report.canary)


def _measure_drift(report: Report, standing: Standing | None) -> None:
    """Of the tables that the run looked at as it found them, of the others as they are remembered."""
    told = report.compared.keys() if _tells_drift(report) else frozenset()
    _measure_found(report, told)
    if told and _looked_everywhere(report):
        metrics.drift_age_seconds.set(_age(report))
    elif standing is not None:
        _measure_standing(standing, but=told)
        others = [age for table, age in standing.ages.items() if table not in told]
        metrics.drift_age_seconds.set(max([*others, _age(report) if told else 0.0]))


def _tells_drift(report: Report) -> bool:
    """One that compared nothing or did not see its canary says nothing. A sweep of what changed that came to its end looked at
    all drift that was known, too."""
    if report.mode not in (Mode.DRY, Mode.REPAIR):
        return False
    if report.extent is Extent.CHANGED:
        return report.status is RunStatus.COMPLETE
    return report.status is not RunStatus.FAILED


def _looked_everywhere(report: Report) -> bool:
    return report.status is RunStatus.COMPLETE and report.extent in (Extent.FULL, Extent.CHANGED)


def _measure_found(report: Report, tables: Collection[str]) -> None:
    """A class without a finding is 0, so that the end of drift is seen as well as its begin."""
    found = Counter((finding.drift_class, finding.table) for finding in report.findings)
    for table in tables:
        for drift_class in classes.CLASSES:
            metrics.drift_rows.labels(drift_class, table).set(found[drift_class, table])


def _measure_standing(standing: Standing, *, but: Collection[str] = ()) -> None:
    for table in standing.ages.keys() - set(but):
        for drift_class in classes.CLASSES:
            metrics.drift_rows.labels(drift_class, table).set(standing.rows.get((table, drift_class), 0))


def _age(report: Report) -> float:
    """Of the oldest finding that is still there, if only in part; one without a time of its own was first seen by this run."""
    left = [_first_seen(one) or report.started_at for one in report.findings if not one.is_over]
    return max(0.0, (report.finished_at - min(left)).total_seconds()) if left else 0.0


def _first_seen(finding: Finding) -> datetime | None:
    said: Any = finding.evidence.get("first_seen")
    return datetime.fromisoformat(said) if isinstance(said, str) else said
