"""When the authoritative tables are too old for a run to count."""

from typing import Any

import pytest

from shared.coverage_store import Watermark
from shared.settings import Sweep
from sweeper import freshness
from sweeper.freshness import Freshness, Tip

NOW = 1_800_000_000
LEDGER = 50_000


def judged(
    *, behind: int = 0, closed_ago: int | None = 5, closed_ledger: int | None = None, **limits: Any
) -> Freshness:
    """A tip that closed 10 s ago; a watermark so many ledgers behind it, closed so many seconds before it."""
    tip = Tip(ledger=LEDGER, closed_at=NOW - 10, node="node")
    closed_at = None if closed_ago is None else NOW - 10 - closed_ago
    ledger = LEDGER - behind
    known = None if closed_at is None else (ledger if closed_ledger is None else closed_ledger)
    return freshness.judge(Watermark(ledger, closed_at, known), tip, now=NOW, limits=Sweep(**limits))


@pytest.mark.parametrize(
    ("case", "reasons"),
    [
        ({"behind": 0}, []),
        ({"behind": 60, "closed_ago": 300}, []),
        ({"behind": 61, "closed_ago": 300}, ["MAX_LAG_LEDGERS"]),
        ({"behind": 60, "closed_ago": 301}, ["MAX_LAG_SECONDS"]),
        ({"behind": 89_960, "closed_ago": 449_800}, ["MAX_LAG_LEDGERS", "MAX_LAG_SECONDS"]),
        ({"behind": 1, "closed_ago": None}, ["no close time is known"]),
        ({"behind": 0, "closed_ago": None}, ["no close time is known"]),
        ({"behind": 5, "closed_ago": 30, "max_lag_ledgers": 4}, ["MAX_LAG_LEDGERS"]),
        ({"behind": 5, "closed_ago": 30, "max_lag_seconds": 29}, ["MAX_LAG_SECONDS"]),
        ({"behind": 89_960, "closed_ago": 449_800, "max_lag_ledgers": 100_000, "max_lag_seconds": 500_000}, []),
        ({"behind": -3}, []),
    ],
)
def test_lag(case: dict[str, Any], reasons: list[str]) -> None:
    found = judged(**case)
    assert len(found.reasons) == len(reasons), found.reasons
    for reason, named in zip(found.reasons, reasons, strict=True):
        assert named in reason


def test_the_nearest_known_close_below_is_named() -> None:
    found = judged(behind=20, closed_ago=900, closed_ledger=LEDGER - 170)
    assert len(found.reasons) == 1
    assert f"by ledger {LEDGER - 170}" in found.reasons[0]
    assert found.to_json()["watermark_closed_ledger"] == LEDGER - 170


@pytest.mark.parametrize(("age", "limit", "count"), [(900, 900, 0), (901, 900, 1), (901, 0, 0), (10**8, 0, 0)])
def test_the_age_of_the_tip(age: int, limit: int, count: int) -> None:
    tip = Tip(ledger=LEDGER, closed_at=NOW - age, node="node")
    limits = Sweep(max_tip_age_seconds=limit)
    found = freshness.judge(Watermark(LEDGER, NOW - age, LEDGER), tip, now=NOW, limits=limits)
    assert len(found.reasons) == count
    assert found.tip_age_seconds == age


@pytest.mark.parametrize(("ahead", "count"), [(60, 0), (61, 1)])
def test_a_tip_in_the_future_is_a_warning(ahead: int, count: int) -> None:
    tip = Tip(ledger=LEDGER, closed_at=NOW + ahead, node="node")
    found = freshness.judge(Watermark(LEDGER, NOW, LEDGER), tip, now=NOW, limits=Sweep())
    assert (len(found.warnings), found.reasons) == (count, ())


def test_a_tip_whose_close_nobody_tells_is_not_fresh() -> None:
    found = freshness.judge(
        Watermark(LEDGER - 1, NOW, LEDGER - 1), Tip(ledger=LEDGER, closed_at=None, node="n"), now=NOW, limits=Sweep()
    )
    assert len(found.reasons) == 2  # neither the lag in seconds nor the age could be told


@pytest.mark.parametrize(("modified", "is_late"), [([1_060], False), ([1_061], True), ([5, 1_061], True), ([], False)])
def test_late_entries(modified: list[int], is_late: bool) -> None:
    entries = {str(number): ledger for number, ledger in enumerate(modified)}
    reason = freshness.late_entries(entries, watermark=1_000, limit=60)
    assert (reason is not None) == is_late
    if reason is not None:
        assert "1 ledger entry " in reason
        assert "61 ledgers after" in reason
