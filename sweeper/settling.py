"""When a difference counts: seen twice, the settle time apart, the same both times, and not ahead of the watermark. Pure.

How long a difference stands already is told by the own database's clock, which all runs share; how long a run then waits is
measured by its own monotonic clock. Neither is ever held against the time of a ledger.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from sweeper.model import Finding, Identity, Value
from sweeper.report import json_value


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What is remembered of a difference: since when the row drifts without a break, and since when in this very way."""

    first_seen: datetime
    same_since: datetime
    signature: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """One look, as it was written down: when, by the own database's clock, and what is remembered of each finding."""

    at: datetime
    sightings: Mapping[Identity, Sighting]


def signature(finding: Finding) -> str:
    """What differs, and how: class, both sides of each column, and what else of the row was judged.

    The evidence may change without another difference.
    """
    told: list[object] = [finding.drift_class]
    told.append({name: (_plain(both.app), _plain(both.chain)) for name, both in sorted(finding.columns.items())})
    if finding.rests_on:
        told.append({name: _plain(value) for name, value in sorted(finding.rests_on.items())})
    text = json.dumps(told, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Value) -> object:
    """The value as JSON with its type, so that no two values look alike; an amount is the same with fewer zeros."""
    plain = json_value(value)
    if isinstance(value, Decimal):
        digits, _, places = str(plain).partition(".")
        plain = f"{digits}.{places.rstrip('0')}".lstrip("-" if value.is_zero() else "")
    return [type(value).__name__, plain]


def remaining(noted: Noted, *, settle_seconds: float) -> float:
    """Seconds until the youngest of the differences has stood for the settle time; 0 when all have."""
    youngest = max((one.same_since for one in noted.sightings.values()), default=None)
    if youngest is None:
        return 0.0
    stood = max((noted.at - youngest).total_seconds(), 0.0)  # a clock that was set back makes nothing older
    return max(settle_seconds - stood, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What the second look makes of the first: the findings that count, and how many do not, by why.

    in_motion   they are still there, and differ in another way than before
    ahead       our tables know newer facts of them than the watermark vouches for
    """

    findings: Sequence[Finding]
    in_motion: int
    ahead: int

    @property
    def notes(self) -> list[str]:
        """What is said of those that do not count."""
        notes = []
        if self.in_motion:
            notes.append(
                f"{_rows(self.in_motion)} changed between the two looks: in motion, so not counted by this run"
            )
        if self.ahead:
            notes.append(f"{_rows(self.ahead)} changed on chain behind the watermark: not counted before it is there")
        return notes


def settled(first: Noted, second: Noted, again: Iterable[Finding], *, ahead: Set[Identity]) -> Settled:
    """Return those findings of the second look that count. `ahead`: those that rest on facts beyond the watermark."""
    findings: list[Finding] = []
    in_motion = beyond = 0
    for finding in again:
        before, now = first.sightings.get(finding.identity), second.sightings[finding.identity]
        if before is None or before.signature != now.signature:
            in_motion += 1
        elif finding.identity in ahead:
            beyond += 1
        else:
            findings.append(finding.with_evidence(first_seen=now.first_seen))
    return Settled(findings=findings, in_motion=in_motion, ahead=beyond)


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"
