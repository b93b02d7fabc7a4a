"""What may be done about the findings: policy, answers and limits decide. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from shared import pg_times
from shared.settings import Policy, Sweep
from sweeper import classes
from sweeper.context import Compared
from sweeper.model import FLAPPING, NEEDS_SETTING, Answer, Finding, Outcome

_WRITTEN_AT = "updated_at"
"""What every repair sets to the time of its writing; another column that gets the same time goes with it."""
_TICK = timedelta(microseconds=1)
"""PostgreSQL knows no shorter one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Every finding with its action; those `to_write` are tried when the run repairs. `refused` says why none may be.

    `reviewed`: people agreed to what is proposed, so it is written, too.
    """

    findings: tuple[Finding, ...]
    refused: tuple[str, ...] = ()
    reviewed: bool = False

    @property
    def to_write(self) -> tuple[Finding, ...]:
        """The findings that a repairing run writes: none at all when a limit was passed."""
        if self.refused:
            return ()
        chosen = (one for one in self.findings if _is_planned(one) or (self.reviewed and _is_proposed(one)))
        return tuple(_behind_what_it_replaces(one) for one in chosen)


def make(findings: Sequence[Finding], *, settings: Sweep, compared: Mapping[str, Compared]) -> Plan:
    """Decide each finding's action, and its outcome as long as nothing is written."""
    decided = tuple(_decide(finding, settings) for finding in findings)
    return Plan(findings=decided, refused=_passed_limits(decided, settings, compared))


def review(findings: Sequence[Finding], *, settings: Sweep) -> Plan:
    """Decide the findings of a plan that people reviewed; those that were settled before keep their outcome.

    How large a share of the table they are was for the reviewers to see; how many rows one run may write stands.
    """
    decided = tuple(_decide(one, settings) if one.outcome is not Outcome.SKIPPED_CHANGED else one for one in findings)
    count = sum(_is_planned(one) or _is_proposed(one) for one in decided)
    return Plan(findings=decided, refused=_too_many(count, settings), reviewed=True)


def _decide(finding: Finding, settings: Sweep) -> Finding:
    policy = classes.policy(
        finding.drift_class, finding.table, policies=settings.policy, table_policies=settings.table_policy
    )
    if finding.answer is Answer.UNKNOWN:
        return replace(finding, action=policy, outcome=Outcome.UNKNOWN)
    if policy is Policy.REPORT or not finding.can_be_written:
        return replace(finding, action=Policy.REPORT, outcome=Outcome.REPORTED)
    if FLAPPING in finding.evidence:  # somebody else writes it back each time: to fight on mends nothing
        return replace(finding, action=policy, outcome=Outcome.REPORTED)
    if NEEDS_SETTING in finding.evidence:  # a repair of this run does not write it, so it is no planned one
        return replace(finding, action=Policy.PROPOSE, outcome=Outcome.PROPOSED)
    return replace(finding, action=policy, outcome=Outcome.PROPOSED)


def _is_planned(finding: Finding) -> bool:
    return finding.action is Policy.REPAIR and finding.outcome is Outcome.PROPOSED


def _is_proposed(finding: Finding) -> bool:
    is_open = finding.action is Policy.PROPOSE and finding.outcome is Outcome.PROPOSED
    return is_open and NEEDS_SETTING not in finding.evidence


def _behind_what_it_replaces(finding: Finding) -> Finding:
    """The finding with its times of writing behind those that they replace.

    The application's clock may be ahead of ours, and whoever asks for what changed behind a moment has to see the repair.
    """
    at = finding.update.get(_WRITTEN_AT)
    if not isinstance(at, datetime):
        return finding
    touched = {name for name, value in finding.update.items() if value == at}
    before = (value for name, value in finding.guard.items() if name in touched and isinstance(value, datetime))
    latest = max(before, default=None)
    if latest is None or latest < at or latest == pg_times.LAST:  # nothing is behind that one
        return finding
    return replace(finding, update={**finding.update, **dict.fromkeys(touched, latest + _TICK)})


def _too_many(count: int, settings: Sweep) -> tuple[str, ...]:
    if count <= settings.max_repairs:
        return ()
    words = f"{count} rows would be repaired, CHAINTRUE_SWEEP__MAX_REPAIRS allows {settings.max_repairs}: nothing is written"
    return (words,)


def _passed_limits(findings: Sequence[Finding], settings: Sweep, compared: Mapping[str, Compared]) -> tuple[str, ...]:
    planned = Counter(finding.table for finding in findings if _is_planned(finding))
    reasons = [*_too_many(planned.total(), settings)]
    for table, count in sorted(planned.items()):
        rows = max(compared[table].app_rows, compared[table].of_rows) if table in compared else 0
        ratio = Decimal(count) / max(rows, 1)
        if ratio > settings.max_drift_ratio:
            reasons.append(
                f"{count} of {rows} rows of {table} would be repaired, CHAINTRUE_SWEEP__MAX_DRIFT_RATIO allows "
                f"{settings.max_drift_ratio}: nothing is written"
            )
    return tuple(reasons)
