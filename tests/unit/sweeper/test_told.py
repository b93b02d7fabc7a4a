"""A report read back from what was stored: the same as it was, in words for people."""

import io
import json
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from uuid import uuid4

import pytest
from rich.console import Console

from deploy import terminal_report
from shared.settings import Policy
from sweeper import told, words
from sweeper.context import Compared
from sweeper.model import Answer, Both, Finding, Outcome
from sweeper.report import Extent, Mode, Report, RunStatus
from tests import stored_reports


def test_a_report_comes_back_whole() -> None:
    finding = Finding(
        drift_class="stale_value",
        table="loans",
        row_id="7",
        entity=None,
        words="they differ",
        columns={"amount": Both(app=Decimal("1E+2"), chain=None)},
        evidence={"first_seen": datetime(2026, 3, 1, tzinfo=UTC)},
        action=Policy.REPAIR,
        outcome=Outcome.PROPOSED,
    )
    report = Report(
        run_id=uuid4(),
        mode=Mode.DRY,
        extent=Extent.FULL,
        status=RunStatus.COMPLETE,
        started_at=datetime(2026, 3, 4, tzinfo=UTC),
        finished_at=datetime(2026, 3, 4, 0, 0, 1, tzinfo=UTC),
        watermark_ledger=9,
        compared={"loans": Compared(expected_rows=2, app_rows=1)},
        spot_checks=Counter({Answer.CONFIRMED: 1}),
        findings=[finding],
        notes=["a note"],
    )
    back = told.read(json.loads(json.dumps(report.to_json())))
    assert (back.run_id, back.started_at, back.finished_at) == (
        str(report.run_id),
        report.started_at,
        report.finished_at,
    )
    (one,) = back.findings
    assert one.columns == {"amount": {"app": "100", "chain": None}}
    assert one.evidence == {"first_seen": "2026-03-01T00:00:00Z"}
    assert one.subject == "loans 7"
    assert one.done == "not written: --repair does it"
    assert (back.total, back.outcomes["proposed"], back.notes, back.more) == (1, 1, ["a note"], {})


@pytest.mark.parametrize(
    ("stored", "tone", "verdict"),
    [
        (
            stored_reports.report(),
            "good",
            "Clean: the application database agrees with the chain as of ledger 51234567.",
        ),
        (
            stored_reports.report([stored_reports.finding()]),
            "good",
            "Repaired: 1 row had drifted, and now says what the chain says.",
        ),
        (
            stored_reports.report([stored_reports.finding(), stored_reports.finding(2, outcome="reported")]),
            "attention",
            "2 rows differ: 1 repaired and 1 left to people.",
        ),
        (
            stored_reports.report([stored_reports.finding(), stored_reports.finding(2, left=["amount"])]),
            "attention",
            "2 rows differ: 1 repaired and 1 repaired in part.",
        ),
        (
            stored_reports.report([stored_reports.finding(left=["amount"])], repaired_in_part=1),
            "attention",
            "1 row differs: 1 repaired in part.",
        ),
        (stored_reports.report([stored_reports.finding(outcome="failed")]), "bad", "1 row differs: 1 failed."),
        (
            stored_reports.report(status="incomplete", reasons=["a.", "b"]),
            "bad",
            "Not complete: a. And 1 more reason, below.",
        ),
        (
            stored_reports.report(status="failed", reasons=["the canary was not found"]),
            "bad",
            "Failed: the canary was not found.",
        ),
        (stored_reports.report([stored_reports.finding()], mode="undo"), "good", "Taken back: 1 of 1 row."),
    ],
)
def test_a_run_in_one_sentence(stored: dict[str, object], tone: str, verdict: str) -> None:
    one = told.read(stored)
    assert (one.tone, one.verdict) == (tone, verdict)


def test_what_a_repair_left_is_told_apart_from_what_it_wrote() -> None:
    both = {"app": "1", "chain": "2"}
    stored = stored_reports.report(
        [
            stored_reports.finding(
                columns={"status": both, "amount": both, "guarantee": both}, left=["amount", "guarantee"]
            ),
            stored_reports.finding(2),
        ]
    )
    report = told.read(stored)
    one, other = report.findings
    assert (one.written, one.left) == (["status"], ["amount", "guarantee"])
    assert (one.done, one.label) == (
        "repaired in part: amount and guarantee stay as they are",
        "repaired in part",
    )
    assert (other.written, other.done, other.label) == (["defaulted_at", "status"], "repaired", "repaired")
    assert words.done("repaired", "repair", left=["amount"]) == "repaired in part: amount stays as it is"
    assert any("Of 1 repaired row some columns differ still" in step.words for step in report.next_steps())
    assert report.more == {}
    console = Console(file=io.StringIO(), width=120)
    with console.capture() as captured:
        console.print(terminal_report.repaired(report.findings))
        terminal_report.show(report, console=console)
    said = captured.get()
    assert "left as it was" in said
    assert "repaired in part: amount and guarantee stay as they are" in said
    assert "2 findings: 1 repaired in part, 1 repaired." in said


def test_a_report_of_before_repairs_told_what_they_left_is_read_as_it_was() -> None:
    (one,) = told.read(stored_reports.report([stored_reports.finding()])).findings
    assert (one.left, one.label) == ((), "repaired")


def test_of_an_undo_no_sweep_asks_again_about_what_is_not_known() -> None:
    stored = stored_reports.report([stored_reports.finding(outcome="unknown")], mode="undo")
    steps = [step.words for step in told.read(stored).next_steps()]
    assert steps == ["Whether 1 row was written is not known: a person has to look at it."]


def test_classes_stand_in_their_order_and_strange_ones_last() -> None:
    findings = [
        stored_reports.finding(1, **{"class": name}) for name in ("zzz", "missing_row", "stale_status", "duplicate_row")
    ]
    assert list(told.read(stored_reports.report(findings)).by_class()) == [
        "duplicate_row",
        "stale_status",
        "missing_row",
        "zzz",
    ]


def test_the_terminal_is_not_steered_by_a_row() -> None:
    evil = "[red]x[/] \x1b[2J\x1b]0;title\x07\r"
    stored = stored_reports.report(
        [
            stored_reports.finding(
                words=evil, entity=evil, columns={evil: {"app": evil, "chain": evil}}, evidence={"reason": evil}
            )
        ],
        notes=[evil],
    )
    console = Console(file=io.StringIO(), width=100)
    with console.capture() as captured:
        terminal_report.show(told.read(stored), console=console)
    assert "\x1b" not in captured.get()
    assert "\x07" not in captured.get()
    assert "[red]x[/] \\x1b[2J" in captured.get()


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.25, "250 ms"), (3, "3.0 s"), (143, "2 min 23 s"), (3600, "1 h 0 min"), (7265, "2 h 1 min")]
)
def test_spans(seconds: float, said: str) -> None:
    assert words.span(seconds) == said
