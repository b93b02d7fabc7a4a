"""Long values are cut before they are quoted, and a report has an end however much was found."""

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from shared.settings import Policy
from sweeper import long_values, report, told
from sweeper.model import Both, Finding, Outcome
from sweeper.report import Extent, Mode, Report, RunStatus

NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)
HUGE = "Ü" * 100_000


def finding(number: int = 1, **changed: Any) -> Finding:
    values: dict[str, Any] = {
        "drift_class": "stale_status",
        "table": "loans",
        "row_id": str(UUID(int=number)),
        "entity": f"loan:{number}",
        "words": "It differs.",
        "columns": {"status": Both("active", "completed")},
        "update": {"status": "completed"},
        "guard": {"status": "active", "amount": Decimal("12.5")},
        "action": Policy.REPAIR,
        "outcome": Outcome.PROPOSED,
    }
    return Finding(**values | changed)


class TestBounded:
    def test_what_is_short_stays_as_it_is(self) -> None:
        whole = finding(evidence={"candidates": ["loan:1", "loan:2"], "asked_at_ledger": 7, "since": NOW})
        assert long_values.bounded(whole) == whole
        edge = "a" * long_values.LONGEST
        assert long_values.shortened(edge) == edge

    def test_what_is_long_is_told_apart_by_its_length_and_hash(self) -> None:
        told_of = [long_values.shortened(text) for text in (HUGE, f"{HUGE}Ü", f"{HUGE[:-1]}x")]
        assert len(set(told_of)) == 3
        assert "[200000 bytes, md5 " in told_of[0]
        assert all(long_values.is_cut(one) for one in told_of)
        assert not long_values.is_cut("active")

    def test_nothing_of_a_finding_is_longer_than_may_be_quoted(self) -> None:
        long = finding(
            entity=HUGE,
            words=HUGE,
            columns={"status": Both(HUGE, None), "amount": Both(Decimal("1e131000"), Decimal(1))},
            evidence={"text": HUGE, "deep": {"list": [HUGE] * 1_000}, "rows": [str(n) for n in range(50_000)]},
            rests_on={"hashes": HUGE},
            guard={},
            update={},
        )
        one = long_values.bounded(long)
        assert len(one.words) < 3_000
        assert len(json.dumps(report.json_value([one.entity, one.evidence, one.rests_on]))) < 100_000
        assert all(len(str(both.app)) < 200 for both in one.columns.values())
        assert one.evidence["rows"][-1] == "… and 49800 more"
        assert one.drift_class == long.drift_class

    @pytest.mark.parametrize("value", [long_values.shortened(HUGE), Decimal("1e131000"), Decimal("1e-16000")])
    def test_a_row_whose_guarded_value_is_not_whole_is_not_written(self, value: Any) -> None:
        one = long_values.bounded(finding(guard={"status": "active", "error": value}))
        assert (one.update, one.guard, one.can_be_written) == ({}, {}, False)
        assert one.evidence["too_long"] == ["error"]
        assert "the value of error is too long to be compared" in one.words


class TestReport:
    def report(self, findings: list[Finding]) -> Report:
        return Report(
            run_id=UUID(int=1),
            mode=Mode.DRY,
            extent=Extent.FULL,
            status=RunStatus.COMPLETE,
            started_at=NOW,
            finished_at=NOW,
            watermark_ledger=1,
            compared={},
            spot_checks=Counter(),
            findings=findings,
        )

    def limited(self, monkeypatch: pytest.MonkeyPatch, findings: list[Finding], limit: int) -> dict[str, Any]:
        monkeypatch.setattr(report, "MAX_BYTES", limit)
        found = self.report(findings).to_json()
        assert len(json.dumps(found["findings"])) <= limit + 2
        assert found["drift"] == {"stale_status": len(findings)}
        assert found["proposed"] == len(findings)
        return found

    def test_what_fits_is_whole(self, monkeypatch: pytest.MonkeyPatch) -> None:
        found = self.limited(monkeypatch, [finding(n, evidence={"text": "x" * 500}) for n in range(10)], 20_000)
        assert all(one["evidence"] for one in found["findings"])
        assert (found["notes"], "findings_total" in found) == ([], False)

    def test_evidence_is_left_out_of_the_last_ones_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        found = self.limited(monkeypatch, [finding(n, evidence={"text": "x" * 500}) for n in range(20)], 10_000)
        kept = [bool(one["evidence"]) for one in found["findings"]]
        assert kept == sorted(kept, reverse=True)
        assert 0 < sum(kept) < len(kept) == 20
        assert f"{20 - sum(kept)} of 20 findings are listed without their evidence, and 0 are" in found["notes"][0]

    def test_then_the_last_ones_are_only_counted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        found = self.limited(monkeypatch, [finding(n, evidence={"text": "x" * 500}) for n in range(1_000)], 10_000)
        listed = len(found["findings"])
        assert 0 < listed < 1_000
        assert not any(one["evidence"] for one in found["findings"])
        assert f"{1_000 - listed} are counted but not listed" in found["notes"][0]
        shown = told.read(found)
        assert (shown.total, len(shown.findings), shown.outcomes["proposed"]) == (1_000, listed, 1_000)

    def test_one_that_is_too_large_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        found = self.limited(monkeypatch, [replace(finding(), words="x" * 3_000)], 100)
        assert (found["findings"], found["findings_total"]) == ([], 1)
