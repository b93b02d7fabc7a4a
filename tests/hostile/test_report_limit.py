"""A report has a limit whatever the findings hold, and what is left out of it is counted."""

import json
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest

from shared.settings import Policy
from sweeper import long_values, report
from sweeper.model import Both, Finding, Outcome
from sweeper.report import ExitCode, Extent, Mode, Report, RunStatus

LIMIT = 40_000
MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
NASTY = ('"' * 900, "\\" * 900, "\u00fc" * 900, "\U0001f600" * 900, "\x07" * 900, "]}" * 450, "x" * 10_000)


def finding(number: int, text: str) -> Finding:
    return Finding(
        drift_class="stale_value",
        table="loans",
        row_id=str(UUID(int=number)),
        entity=f"loan:{text}",
        words=text,
        columns={"status": Both(text, "active"), "amount": Both(Decimal("1e9000"), Decimal(0))},
        evidence={"told": {"more": [text] * 300, "amount": Decimal("9e131071"), "at": MOMENT}},
        action=Policy.REPAIR,
        outcome=Outcome.PROPOSED,
    )


def of(findings: list[Finding]) -> Report:
    return Report(
        run_id=UUID(int=0),
        mode=Mode.DRY,
        extent=Extent.FULL,
        status=RunStatus.COMPLETE,
        started_at=MOMENT,
        finished_at=MOMENT,
        watermark_ledger=7,
        compared={},
        spot_checks=Counter(),
        findings=findings,
    )


@pytest.mark.parametrize("count", [1, 2, 100])
@pytest.mark.parametrize("text", NASTY, ids=lambda text: ascii(text[:2]))
def test_no_findings_exceed_it(monkeypatch: pytest.MonkeyPatch, text: str, count: int) -> None:
    monkeypatch.setattr(report, "MAX_BYTES", LIMIT)
    told = of([finding(number, text) for number in range(count)])
    found = told.to_json()
    listed = json.dumps(found["findings"], allow_nan=False)
    assert len(listed) <= LIMIT + 2
    assert found["drift"] == {"stale_value": count}
    assert found["proposed"] == count
    assert found.get("findings_total", len(found["findings"])) == count
    left_out = len(found["findings"]) < count or any(not one["evidence"] for one in found["findings"])
    assert left_out is bool(found["notes"])
    assert told.exit_code(strict=False) is ExitCode.DRIFT
    for one in found["findings"]:
        assert len(one["words"]) <= long_values.LONGEST_WORDS + 40
        assert len(one["columns"]["amount"]["app"]) < 200


def test_what_fits_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "MAX_BYTES", 10_000_000)
    found = of([finding(number, "short") for number in range(5)]).to_json()
    assert found["notes"] == []
    assert "findings_total" not in found
    assert all(len(one["evidence"]["told"]["more"]) == long_values.MOST_ITEMS + 1 for one in found["findings"])


@pytest.mark.parametrize("size", [1024, 1025, 2_000])
def test_a_guard_that_was_cut_guards_nothing(size: int) -> None:
    one = finding(1, "short")
    cut = long_values.shortened("a" * size)
    guarded = long_values.bounded(
        Finding(
            drift_class=one.drift_class,
            table="loans",
            row_id=one.row_id,
            entity=one.entity,
            words="w",
            update={"status": "active"},
            guard={"status": cut},
        )
    )
    assert guarded.can_be_written is (size <= long_values.LONGEST)
