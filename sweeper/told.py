"""A report as it was stored: the contract's JSON read back, for whoever shows it to people.

What a later version adds is kept (`more`), what an earlier one did not have yet is empty: every run of `recon` can be shown.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any

from shared.settings import Policy
from sweeper import classes, words
from sweeper.model import Answer, Outcome
from sweeper.report import Mode, RunStatus

_ORDER = {name: number for number, name in enumerate(classes.CLASSES)}
_COUNTS = {outcome.value for outcome in Outcome}


class Tone(StrEnum):
    """How the one sentence about a run is meant."""

    GOOD = "good"
    ATTENTION = "attention"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Step:
    """What a person can do next, and with which command."""

    words: str
    command: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldFinding:
    """One finding; `columns` has both sides, as JSON values, `left` those of a repaired row that were not written."""

    drift_class: str
    table: str
    row_id: str | None
    entity: str | None
    words: str
    columns: Mapping[str, Mapping[str, Any]]
    evidence: Mapping[str, Any]
    action: str
    outcome: str
    left: Sequence[str] = ()
    undoing: bool = False
    is_complete: bool = True

    @property
    def subject(self) -> str:
        """The entity; where there is no single one, the row."""
        return self.entity or f"{self.table} {(self.row_id or '')[:8]}"

    @property
    def done(self) -> str:
        """What was done about it, and why not more."""
        return words.done(self.outcome, self.action, undoing=self.undoing, left=self.left, is_complete=self.is_complete)

    @property
    def label(self) -> str:
        """The outcome in a word or two."""
        return words.IN_PART if self.left else words.label(self.outcome)

    @property
    def written(self) -> list[str]:
        """The columns that were set, of those that differed."""
        return sorted(self.columns.keys() - set(self.left)) if self.outcome == Outcome.REPAIRED else []


@dataclass(frozen=True, kw_only=True)
class Told:
    """One run. `total`: all findings, of which a capped report holds but the first.

    `repaired_in_part`: how many of the repaired rows differ still, in columns that were not written.
    """

    run_id: str
    mode: str
    extent: str
    status: str
    started_at: datetime
    finished_at: datetime
    watermark_ledger: int | None
    freshness: Mapping[str, Any]
    compared: Mapping[str, Mapping[str, Any]]
    spot_checks: Mapping[str, int]
    drift: Mapping[str, int]
    findings: Sequence[ToldFinding]
    total: int
    outcomes: Mapping[str, int]
    repaired_in_part: int
    canary: bool | None
    database_load: Mapping[str, Any]
    reasons: Sequence[str]
    notes: Sequence[str]
    more: Mapping[str, Any]

    @property
    def seconds(self) -> float:
        return (self.finished_at - self.started_at).total_seconds()

    @property
    def rows_compared(self) -> int:
        return sum(one.get("app_rows") or 0 for one in self.compared.values())

    @property
    def tone(self) -> Tone:
        if self.status != RunStatus.COMPLETE or self.outcomes.get(Outcome.FAILED):
            return Tone.BAD
        return Tone.ATTENTION if self.total > self._agreeing else Tone.GOOD

    @property
    def as_of(self) -> str:
        """The ledger that the run is true for, with its close time (or that of the nearest ledger below whose close is known)."""
        if self.watermark_ledger is None:
            return "no ledger"
        closed_at, closed_ledger = (self.freshness.get(f"watermark_{name}") for name in ("closed_at", "closed_ledger"))
        if closed_at is None:
            return f"ledger {self.watermark_ledger}"
        if closed_ledger == self.watermark_ledger:
            return f"ledger {self.watermark_ledger}, closed {words.moment(closed_at)}"
        return f"ledger {self.watermark_ledger}, closed after ledger {closed_ledger} at {words.moment(closed_at)}"

    @property
    def agreement(self) -> str:
        """What a run without findings says."""
        return f"the application database agrees with the chain as of {self.as_of}."

    @property
    def _agreeing(self) -> int:
        """How many of the findings agree now."""
        return self.outcomes.get(Outcome.REPAIRED, 0) - self.repaired_in_part

    @property
    def verdict(self) -> str:
        """The run in one sentence."""
        if self.status != RunStatus.COMPLETE:
            why = words.visible(self.reasons[0]).rstrip(".") + "." if self.reasons else "why was not recorded."
            more = f" And {words.count(len(self.reasons) - 1, 'more reason')}, below." if len(self.reasons) > 1 else ""
            return f"{'Failed' if self.status == RunStatus.FAILED else 'Not complete'}: {why}{more}"
        if self.mode == Mode.UNDO:
            return f"Taken back: {self.outcomes.get(Outcome.REPAIRED, 0):,} of {words.count(self.total, 'row')}."
        if not self.total:
            return f"Clean: {self.agreement}"
        rows, one = words.count(self.total, "row"), self.total == 1
        if self._agreeing == self.total:
            return f"Repaired: {rows} had drifted, and now {'says' if one else 'say'} what the chain says."
        shares = words.shares(self.outcomes, in_part=self.repaired_in_part)
        return f"{rows} {'differs' if one else 'differ'}: {shares}."

    def by_class(self) -> dict[str, list[ToldFinding]]:
        """The findings in the order of the classes."""
        names = sorted({*self.drift, *(one.drift_class for one in self.findings)}, key=class_order)
        grouped: dict[str, list[ToldFinding]] = {name: [] for name in names}
        for finding in self.findings:
            grouped[finding.drift_class].append(finding)
        return grouped

    def next_steps(self) -> Iterator[Step]:
        """What is left for people, and the commands that do it."""
        seen = Counter((one.outcome, one.action) for one in self.findings)
        if free := seen[Outcome.PROPOSED, Policy.REPAIR]:
            yield Step(f"Policy allows to repair {words.count(free, 'row')}:", "chaintrue sweep --repair")
        if proposed := seen[Outcome.PROPOSED, Policy.PROPOSE]:
            yield Step(
                f"Policy leaves {words.count(proposed, 'repair')} to people. Write the plan, and review it:",
                "chaintrue sweep --plan plan.json",
            )
            yield Step("Then apply it:", "chaintrue apply plan.json")
        if reported := self.outcomes.get(Outcome.REPORTED, 0):
            yield Step(
                f"{words.count(reported, 'finding')} cannot be mended by a rule, or may not: a person has to decide."
            )
        if in_part := self.repaired_in_part:
            yield Step(
                f"Of {words.count(in_part, 'repaired row')} some columns differ still, which no rule may write: "
                "a person has to decide."
            )
        unproven = self.outcomes.get(Outcome.UNKNOWN, 0)
        if unproven and self.mode == Mode.UNDO:
            yield Step(f"Whether {words.count(unproven, 'row')} was written is not known: a person has to look at it.")
        elif unproven:
            yield Step(
                f"Of {words.count(unproven, 'finding')} the chain proves nothing yet: the next sweep asks again."
            )
        if changed := self.outcomes.get(Outcome.SKIPPED_CHANGED, 0):
            yield Step(f"{words.count(changed, 'row')} changed while it was looked at: the next sweep looks again.")
        if failed := self.outcomes.get(Outcome.FAILED, 0):
            yield Step(f"{words.count(failed, 'repair')} could not be written: each finding says why.")
        if self.mode in (Mode.REPAIR, Mode.APPLY) and (written := self.outcomes.get(Outcome.REPAIRED, 0)):
            yield Step(
                f"To take back what was written to {words.count(written, 'row')}, where nobody touched it since:",
                f"chaintrue undo {self.run_id}",
            )


def class_order(name: str) -> tuple[int, str]:
    """The place of a class; those that this version does not know stand last."""
    return _ORDER.get(name, len(_ORDER)), name


def read(report: Mapping[str, Any]) -> Told:
    """The stored object; raises KeyError only for what every report ever had."""
    undoing, is_complete = report.get("mode") == Mode.UNDO, report["status"] == RunStatus.COMPLETE
    findings = [_finding(one, undoing=undoing, is_complete=is_complete) for one in report.get("findings", ())]
    drift = report.get("drift") or Counter(one.drift_class for one in findings)
    known = {field.name for field in fields(Told)} | {"findings_total"} | _COUNTS
    asked = dict(report.get("spot_checks") or {})
    held = Counter(one.outcome for one in findings)
    return Told(
        run_id=report["run_id"],
        mode=report["mode"],
        extent=report.get("extent", ""),
        status=report["status"],
        started_at=datetime.fromisoformat(report["started_at"]),
        finished_at=datetime.fromisoformat(report["finished_at"]),
        watermark_ledger=report.get("watermark_ledger"),
        freshness=report.get("freshness") or {},
        compared=report.get("compared") or {},
        spot_checks={answer.value: asked.pop(answer.value, 0) for answer in Answer} | asked,
        drift=drift,
        findings=findings,
        total=report.get("findings_total") or max(sum(drift.values()), len(findings)),
        outcomes={outcome.value: report.get(outcome.value, held[outcome.value]) for outcome in Outcome},
        repaired_in_part=report.get("repaired_in_part", sum(bool(one.left) for one in findings)),
        canary=report.get("canary"),
        database_load=report.get("database_load") or {},
        reasons=report.get("reasons") or (),
        notes=report.get("notes") or (),
        more={name: value for name, value in report.items() if name not in known and value not in (None, {}, [])},
    )


def _finding(one: Mapping[str, Any], *, undoing: bool, is_complete: bool) -> ToldFinding:
    return ToldFinding(
        drift_class=one["class"],
        table=one["table"],
        row_id=one.get("row_id"),
        entity=one.get("entity"),
        words=one.get("words") or "",
        columns=one.get("columns") or {},
        evidence=one.get("evidence") or {},
        action=one.get("action", ""),
        outcome=one.get("outcome", ""),
        left=one.get("left") or (),
        undoing=undoing,
        is_complete=is_complete,
    )
