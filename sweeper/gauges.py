"""What a run tells the metrics. A failed one, too: an alert has to see when the last good one ended."""

from collections import Counter
from datetime import datetime
from typing import Any

from shared import metrics
from sweeper import classes
from sweeper.model import Finding, Outcome
from sweeper.report import Extent, Mode, Report, RunStatus


def measure(report: Report, *, last_success: datetime | None) -> None:
    """Set the metrics from the report of any run; `last_success` is the one before it."""
    metrics.sweeps_total.labels(report.mode.value, report.status.value).inc()
    if report.mode in (Mode.REPAIR, Mode.APPLY):
        for finding in report.findings:
            metrics.repairs_total.labels(finding.drift_class, finding.outcome.value).inc()
    if report.watermark_ledger is not None:
        metrics.watermark_ledger.set(report.watermark_ledger)
    if report.mode in (Mode.DRY, Mode.REPAIR):
        _measure_sweep(report)
        last_success = report.finished_at if report.status is RunStatus.COMPLETE else last_success
    measure_success(last_success)


def measure_success(last_success: datetime | None) -> None:
    """When the last complete sweep ended: all that is known of a run that ended by an error."""
    if last_success is not None:
        metrics.sweep_last_success_timestamp_seconds.set(last_success.timestamp())


def _measure_sweep(report: Report) -> None:
    metrics.sweep_duration_seconds.set((report.finished_at - report.started_at).total_seconds())
    for table, one in report.compared.items():
        metrics.sweep_compared_rows.labels(table, "expected").set(one.expected_rows)
        metrics.sweep_compared_rows.labels(table, "app").set(one.app_rows)
    for table, spots in report.to_json().get("spot_coverage", {}).items():
        metrics.spot_coverage_ratio.labels(table).set(spots["share"])
    if report.canary is not None:
        metrics.sweep_canary_found.set(report.canary)
    if report.compared and _tells_drift(report):
        _measure_drift(report)


def _tells_drift(report: Report) -> bool:
    """A sweep of what changed that came to its end looked at all drift that was known, too."""
    if report.extent is Extent.CHANGED:
        return report.status is RunStatus.COMPLETE
    return report.status is not RunStatus.FAILED


def _measure_drift(report: Report) -> None:
    """A class without a finding is 0, so that the end of drift is seen as well as its begin.

    One that compared nothing or did not see its canary says nothing: what the one before it said then stands.
    """
    found = Counter((finding.drift_class, finding.table) for finding in report.findings)
    for table in report.compared:
        for drift_class in classes.CLASSES:
            metrics.drift_rows.labels(drift_class, table).set(found[drift_class, table])
    metrics.drift_age_seconds.set(_age(report))


def _age(report: Report) -> float:
    """Of the oldest finding that is still there; one without a time of its own was first seen by this run."""
    left = [_first_seen(one) or report.started_at for one in report.findings if one.outcome is not Outcome.REPAIRED]
    return max(0.0, (report.finished_at - min(left)).total_seconds()) if left else 0.0


def _first_seen(finding: Finding) -> datetime | None:
    said: Any = finding.evidence.get("first_seen")
    return datetime.fromisoformat(said) if isinstance(said, str) else said
