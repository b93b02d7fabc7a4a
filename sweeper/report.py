"""The report: what a sweep looked at, found and did. Its JSON is the contract with users; nothing in it is a float of money."""

import itertools
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Any
from uuid import UUID

from shared.settings import Policy
from sweeper import long_values
from sweeper.context import Compared
from sweeper.model import Answer, Finding, Outcome

MAX_BYTES = 64 * 1024 * 1024
"""Of the findings in a report. PostgreSQL takes a JSON of 255 MiB at most, and a page or a webhook's receiver less."""


class RunStatus(StrEnum):
    COMPLETE = "complete"
    INCOMPLETE = "incomplete"
    FAILED = "failed"


class Mode(StrEnum):
    """What a run may do: look, repair by policy, apply a reviewed plan, or take a run's repairs back."""

    DRY = "dry"
    REPAIR = "repair"
    APPLY = "apply"
    UNDO = "undo"


class Extent(StrEnum):
    """What a run looks at: everything, what changed on chain, the tables named, a plan's rows, or a run's."""

    FULL = "full"
    CHANGED = "changed"
    TABLES = "tables"
    PLAN = "plan"
    RUN = "run"


class ExitCode(IntEnum):
    """1 over 3 over 2."""

    CLEAN = 0
    ERROR = 1
    DRIFT = 2
    INCOMPLETE = 3


@dataclass(frozen=True, kw_only=True)
class SpotCoverage:
    """How far the spot checks of a table are in their present round: `checked` of its `of` entities."""

    checked: int
    of: int
    round: int
    round_started_at: datetime
    last_round_ended_at: datetime | None

    def to_json(self) -> dict[str, Any]:
        return {
            "checked": self.checked,
            "of": self.of,
            "share": round(self.checked / self.of, 4) if self.of else 1.0,
            "round": self.round,
            "round_started_at": json_value(self.round_started_at),
            "last_round_ended_at": json_value(self.last_round_ended_at),
        }


@dataclass(frozen=True, kw_only=True)
class Report:
    """One run. `reasons` say why it is not complete; `notes` what was left out or is worth knowing.

    canary          whether every scan found its canary; None where nothing was scanned
    database_load   by side, how long it worked for the run
    freshness       the watermark against the tip of the chain (see `sweeper.freshness`); None where it does not matter
    mark            where a later sweep of what changed may begin; None after a run that does not reach so far
    """

    run_id: UUID
    mode: Mode
    extent: Extent
    status: RunStatus
    started_at: datetime
    finished_at: datetime
    watermark_ledger: int | None
    compared: Mapping[str, Compared]
    spot_checks: Counter[Answer]
    spot_coverage: Mapping[str, SpotCoverage] = field(default_factory=dict)
    findings: Sequence[Finding]
    reasons: Sequence[str] = field(default=())
    notes: Sequence[str] = field(default=())
    canary: bool | None = None
    database_load: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    freshness: Mapping[str, object] | None = None
    mark: Mapping[str, object] | None = None

    def count(self, outcome: Outcome) -> int:
        return sum(finding.outcome is outcome for finding in self.findings)

    def exit_code(self, *, strict: bool) -> ExitCode:
        """What the command ends with."""
        if self.status is RunStatus.FAILED:
            return ExitCode.ERROR
        if self.status is RunStatus.INCOMPLETE:
            return ExitCode.INCOMPLETE
        unsure = self.mode is Mode.UNDO and self.count(Outcome.UNKNOWN) > 0  # rows that may not have been taken back
        if unsure or any(_remains(finding) for finding in self.findings) or (strict and self.findings):
            return ExitCode.DRIFT
        return ExitCode.CLEAN

    def to_json(self) -> dict[str, Any]:
        """Return the contract's object, of JSON values only; what it lists of the findings has a limit, MAX_BYTES."""
        listing = _listing(self.findings)
        drift = Counter(finding.drift_class for finding in self.findings)
        return {
            "run_id": str(self.run_id),
            "mode": self.mode.value,
            "extent": self.extent.value,
            "status": self.status.value,
            "started_at": json_value(self.started_at),
            "finished_at": json_value(self.finished_at),
            "watermark_ledger": self.watermark_ledger,
            "freshness": None if self.freshness is None else dict(self.freshness),
            "compared": {
                table: {"expected_rows": one.expected_rows, "app_rows": one.app_rows}
                for table, one in self.compared.items()
            },
            "spot_checks": {answer.value: self.spot_checks[answer] for answer in Answer},
            "spot_coverage": {table: one.to_json() for table, one in self.spot_coverage.items()},
            "drift": dict(sorted(drift.items())),
            "findings": [*self._listed(listing)],
            "repaired": self.count(Outcome.REPAIRED),
            "repaired_in_part": sum(bool(finding.left) for finding in self.findings),
            "skipped_changed": self.count(Outcome.SKIPPED_CHANGED),
            "proposed": self.count(Outcome.PROPOSED),
            "reported": self.count(Outcome.REPORTED),
            "unknown": self.count(Outcome.UNKNOWN),
            "failed": self.count(Outcome.FAILED),
            "reasons": list(self.reasons),
            "notes": [*self.notes, *listing.notes(len(self.findings))],
            "canary": self.canary,
            "database_load": {side: dict(load) for side, load in self.database_load.items()},
            **({} if listing.listed == len(self.findings) else {"findings_total": len(self.findings)}),
        }

    def _listed(self, listing: "Listing") -> Iterator[dict[str, Any]]:
        for number, finding in enumerate(self.findings[: listing.listed]):
            yield _finding_json(finding, with_evidence=number < listing.whole)


@dataclass(frozen=True, slots=True)
class Listing:
    """What of the findings fits into a report: the first `whole` with their evidence, the first `listed` at all."""

    whole: int
    listed: int

    def notes(self, total: int) -> Iterator[str]:
        """Yield what is said of the rest."""
        if self.whole < total:
            yield (
                f"The report is limited to {MAX_BYTES:,} bytes: {self.listed - self.whole:,} of {total:,} findings are listed "
                f"without their evidence, and {total - self.listed:,} are counted but not listed."
            )


def _listing(findings: Sequence[Finding]) -> Listing:
    """Return how much of the findings fits: evidence is left out of the last ones first, then the last ones themselves.

    Their JSON is measured one by one, so that no more of it is held than is listed.
    """
    sizes = [_sizes(finding) for finding in findings]
    left = MAX_BYTES - sum(brief for _, brief in sizes)
    if left < 0:
        fits = itertools.accumulate(brief for _, brief in sizes)
        return Listing(0, sum(size <= MAX_BYTES for size in fits))
    spent = itertools.accumulate(whole - brief for whole, brief in sizes)
    return Listing(sum(size <= left for size in spent), len(sizes))


def _sizes(finding: Finding) -> tuple[int, int]:
    """The bytes of a finding's JSON, with its evidence and without."""
    whole = _finding_json(finding)
    size = len(json.dumps(whole)) + len(", ")
    return size, size - len(json.dumps(whole["evidence"])) + len("{}")


def _remains(finding: Finding) -> bool:
    """Drift that policy would repair or propose, and that is still there; one that flaps is merely reported, and remains."""
    if finding.action is Policy.REPORT:
        return False
    return finding.outcome in (Outcome.PROPOSED, Outcome.SKIPPED_CHANGED, Outcome.FAILED, Outcome.REPORTED)


def _finding_json(finding: Finding, *, with_evidence: bool = True) -> dict[str, Any]:
    finding = long_values.bounded(finding)
    return {
        "class": finding.drift_class,
        "table": finding.table,
        "row_id": finding.row_id,
        "entity": finding.entity,
        "columns": {
            name: {"app": json_value(both.app), "chain": json_value(both.chain)}
            for name, both in finding.columns.items()
        },
        "left": list(finding.left),
        "words": finding.words,
        "evidence": json_value(finding.evidence) if with_evidence else {},
        "action": finding.action.value,
        "outcome": finding.outcome.value,
    }


def json_value(value: Any) -> Any:
    """The value for JSON: amounts and ids as text, times in UTC with a Z."""
    match value:
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case Decimal():
            return format(value, "f")
        case UUID() | float() if isinstance(value, UUID) or not math.isfinite(value):
            return str(value)  # JSON has no NaN: PostgreSQL would refuse the whole report
        case Mapping():
            return {str(key): json_value(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [json_value(item) for item in value]
    return value
