"""How fresh the authoritative tables are: the watermark against the tip of the chain. Pure.

A run over tables that are behind sees no drift that began since, so it must not count as clean. The two sides are compared by
ledger numbers and by close times; only the age of the tip itself is measured by a clock, that of the Chaintrue database.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from shared.coverage_store import Watermark
from shared.settings import Sweep

FUTURE_SECONDS = 60
"""A tip that closed so far in the future says that one of the two clocks is wrong."""

_CHECK = "check that `chaintrue stream` is running, with `chaintrue status`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tip:
    """The newest ledger that a checked node holds; `closed_at` in unix seconds, None where no node tells it.

    silent  the configured nodes that did not pass the checks, or did not answer: they may hold newer ledgers
    """

    ledger: int
    closed_at: int | None
    node: str
    silent: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """The figures, and what follows from them.

    lag_ledgers, lag_seconds  how far the watermark is behind the tip; None where that is not known
    tip_age_seconds           how long ago the tip closed; None where that is not known
    reasons                   why a run over these tables is not complete
    warnings                  what is worth knowing besides
    """

    watermark: Watermark
    tip: Tip | None
    lag_ledgers: int | None
    lag_seconds: int | None
    tip_age_seconds: int | None
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """The figures, for the report and for `status`; close times as ISO 8601 in UTC."""
        return {
            "tip_ledger": None if self.tip is None else self.tip.ledger,
            "tip_closed_at": None if self.tip is None else iso(self.tip.closed_at),
            "tip_age_seconds": self.tip_age_seconds,
            "tip_node": None if self.tip is None else self.tip.node,
            "lag_ledgers": self.lag_ledgers,
            "lag_seconds": self.lag_seconds,
            "watermark_closed_at": iso(self.watermark.closed_at),
            "watermark_closed_ledger": self.watermark.closed_ledger,
        }


def measure(watermark: Watermark, tip: Tip | None, *, now: float) -> Freshness:
    """Return the figures alone. `now`: unix seconds by the Chaintrue database's clock."""
    if tip is None:
        return Freshness(watermark=watermark, tip=None, lag_ledgers=None, lag_seconds=None, tip_age_seconds=None)
    return Freshness(
        watermark=watermark,
        tip=tip,
        lag_ledgers=max(0, tip.ledger - watermark.ledger),
        lag_seconds=_lag_seconds(watermark, tip),
        tip_age_seconds=None if tip.closed_at is None else round(now - tip.closed_at),
    )


def judge(watermark: Watermark, tip: Tip, *, now: float, limits: Sweep) -> Freshness:
    """Return the figures with the reasons for which a run over these tables is incomplete, and warnings."""
    figures = measure(watermark, tip, now=now)
    return Freshness(
        watermark=watermark,
        tip=tip,
        lag_ledgers=figures.lag_ledgers,
        lag_seconds=figures.lag_seconds,
        tip_age_seconds=figures.tip_age_seconds,
        reasons=(*_lag_reasons(figures, tip, limits), *_age_reasons(figures, tip, limits)),
        warnings=_warnings(figures, tip),
    )


def late_entries(last_modified: Mapping[str, int], *, watermark: int, limit: int) -> str | None:
    """Return why entries (ledger key to the ledger of their last change) show that the tables are behind, or None."""
    late = [ledger for ledger in last_modified.values() if ledger - watermark > limit]
    if not late:
        return None
    entries = "1 ledger entry" if len(late) == 1 else f"{len(late)} ledger entries"
    return (
        f"the chain holds {entries} modified up to ledger {max(late)}, {max(late) - watermark} ledgers after the watermark "
        f"{watermark}; CHAINTRUE_SWEEP__MAX_LAG_LEDGERS allows {limit}. Hint: {_CHECK}"
    )


def iso(closed_at: int | None) -> str | None:
    """Return a close time (unix seconds) as ISO 8601 in UTC."""
    return None if closed_at is None else datetime.fromtimestamp(closed_at, UTC).isoformat().replace("+00:00", "Z")


def _lag_seconds(watermark: Watermark, tip: Tip) -> int | None:
    if watermark.ledger >= tip.ledger:
        return 0
    if watermark.closed_at is None or tip.closed_at is None:
        return None
    return max(0, tip.closed_at - watermark.closed_at)


def _lag_reasons(figures: Freshness, tip: Tip, limits: Sweep) -> list[str]:
    watermark, reasons = figures.watermark, []
    ends = f"the authoritative tables end at ledger {watermark.ledger}"
    lag, seconds = figures.lag_ledgers, figures.lag_seconds
    if lag is not None and lag > limits.max_lag_ledgers:
        reasons.append(
            f"{ends}, {lag} ledgers behind the chain (ledger {tip.ledger}); CHAINTRUE_SWEEP__MAX_LAG_LEDGERS allows "
            f"{limits.max_lag_ledgers}. Hint: {_CHECK}"
        )
    if watermark.closed_at is None:
        reasons.append(f"{ends}, and no close time is known at or below it, so no age can be judged. Hint: {_CHECK}")
    elif seconds is None:
        reasons.append(f"no node tells when ledger {tip.ledger} closed, so the lag in seconds is not known")
    elif seconds > limits.max_lag_seconds:
        by = (
            ""
            if watermark.closed_ledger == watermark.ledger
            else f" (by ledger {watermark.closed_ledger}, the nearest one below whose close time is known)"
        )
        reasons.append(
            f"{ends}, {seconds} s behind the chain by close times{by}; CHAINTRUE_SWEEP__MAX_LAG_SECONDS allows "
            f"{limits.max_lag_seconds}. Hint: {_CHECK}"
        )
    return reasons


def _age_reasons(figures: Freshness, tip: Tip, limits: Sweep) -> list[str]:
    limit, age = limits.max_tip_age_seconds, figures.tip_age_seconds
    if limit == 0:
        return []
    if age is None:
        return [f"no node tells when ledger {tip.ledger} closed, so its age is not known"]
    if age <= limit:
        return []
    return [
        f"the newest ledger of all nodes, {tip.ledger}, closed {age} s ago by the clock of the Chaintrue database; "
        f"CHAINTRUE_SWEEP__MAX_TIP_AGE_SECONDS allows {limit}. Hint: use a node that follows the network, and check the clock"
    ]


def _warnings(figures: Freshness, tip: Tip) -> tuple[str, ...]:
    age, warnings = figures.tip_age_seconds, []
    if age is not None and age < -FUTURE_SECONDS:
        warnings.append(
            f"ledger {tip.ledger} closed {-age} s in the future by the clock of the Chaintrue database. "
            "Hint: check the clocks of the database and of the node"
        )
    if tip.silent:
        warnings.append(
            f"{' and '.join(tip.silent)} did not tell the newest ledger, so the chain may be ahead of ledger {tip.ledger}. "
            "Hint: run `chaintrue status`, which says why"
        )
    return tuple(warnings)
