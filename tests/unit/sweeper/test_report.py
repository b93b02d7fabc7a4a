"""The report: its exit code, and its JSON."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from shared.settings import Policy
from sweeper.model import Answer, Both, Finding, Outcome
from sweeper.report import ExitCode, Extent, Mode, Report, RunStatus, SpotCoverage

NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)


def report(findings: Sequence[Finding] = (), **changed: Any) -> Report:
    values: dict[str, Any] = {
        "run_id": UUID(int=1),
        "mode": Mode.REPAIR,
        "extent": Extent.FULL,
        "status": RunStatus.COMPLETE,
        "started_at": NOW,
        "finished_at": NOW,
        "watermark_ledger": 1,
        "compared": {},
        "spot_checks": Counter({Answer.CONFIRMED: 2}),
        "findings": findings,
    }
    return Report(**values | changed)


def finding(action: Policy, outcome: Outcome) -> Finding:
    return Finding(
        drift_class="stale_status", table="loans", row_id="1", entity=None, words="", action=action, outcome=outcome
    )


@pytest.mark.parametrize(
    ("action", "outcome", "code"),
    [
        (Policy.REPAIR, Outcome.REPAIRED, ExitCode.CLEAN),
        (Policy.REPAIR, Outcome.PROPOSED, ExitCode.DRIFT),
        (Policy.PROPOSE, Outcome.PROPOSED, ExitCode.DRIFT),
        (Policy.REPAIR, Outcome.SKIPPED_CHANGED, ExitCode.DRIFT),
        (Policy.REPAIR, Outcome.FAILED, ExitCode.DRIFT),
        (Policy.REPAIR, Outcome.UNKNOWN, ExitCode.CLEAN),
        (Policy.REPAIR, Outcome.REPORTED, ExitCode.DRIFT),
        (Policy.PROPOSE, Outcome.REPORTED, ExitCode.DRIFT),
        (Policy.REPORT, Outcome.REPORTED, ExitCode.CLEAN),
    ],
)
def test_what_policy_would_mend_and_is_still_there_is_drift(action: Policy, outcome: Outcome, code: ExitCode) -> None:
    """Reported, though policy would write it, is a row that flaps."""
    assert report([finding(action, outcome)]).exit_code(strict=False) is code
    assert report([finding(action, outcome)]).exit_code(strict=True) is ExitCode.DRIFT


def test_an_undo_that_knows_not_of_a_row_took_not_all_of_it_back() -> None:
    unknown = finding(Policy.REPAIR, Outcome.UNKNOWN)
    assert report([unknown], mode=Mode.UNDO).exit_code(strict=False) is ExitCode.DRIFT
    assert report([unknown]).exit_code(strict=False) is ExitCode.CLEAN


def test_what_a_repair_did_not_write_is_left_in_the_report() -> None:
    columns = {"amount": Both(1, 100), "status": Both("active", "completed")}
    one = replace(finding(Policy.REPAIR, Outcome.REPAIRED), columns=columns, update={"status": "completed"})
    inserted = replace(finding(Policy.REPAIR, Outcome.REPAIRED), row_id=None, insert={"status": "completed"})
    proposed = replace(one, outcome=Outcome.PROPOSED)
    told = report([one, inserted, proposed]).to_json()
    assert [each["left"] for each in told["findings"]] == [["amount"], [], []]
    assert (told["repaired"], told["repaired_in_part"]) == (2, 1)


def test_how_far_the_spot_checks_are_is_told_by_table() -> None:
    coverage = SpotCoverage(checked=200, of=600, round=3, round_started_at=NOW, last_round_ended_at=None)
    told = report(spot_coverage={"loans": coverage}).to_json()
    assert told["spot_checks"] == {"confirmed": 2, "absent": 0, "unknown": 0}
    assert told["spot_coverage"] == {
        "loans": {
            "checked": 200,
            "of": 600,
            "share": 0.3333,
            "round": 3,
            "round_started_at": "2026-09-01T12:00:00Z",
            "last_round_ended_at": None,
        }
    }


def test_of_no_entities_all_are_checked() -> None:
    none = SpotCoverage(checked=0, of=0, round=1, round_started_at=NOW, last_round_ended_at=None)
    assert none.to_json()["share"] == 1.0
