"""A sweep's report for people: each finding in words, then what was compared, then how it ended."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from deploy.terminal import sentence, short, text
from shared.settings import Policy
from sweeper.model import Both, Finding, Outcome
from sweeper.report import Mode, Report

MAX_SHOWN = 200
"""Findings that are told one by one: more are read by nobody on a terminal."""

_COLOURS = {
    Outcome.REPAIRED: "green",
    Outcome.PROPOSED: "yellow",
    Outcome.REPORTED: "cyan",
    Outcome.UNKNOWN: "magenta",
    Outcome.SKIPPED_CHANGED: "magenta",
    Outcome.FAILED: "red",
}
_DONE = {
    Outcome.REPAIRED: "repaired",
    Outcome.PROPOSED: "not written: for people to approve",
    Outcome.REPORTED: "not written: for people to decide",
    Outcome.UNKNOWN: "not written: the chain proves nothing",
    Outcome.SKIPPED_CHANGED: "not written: the row changed meanwhile",
    Outcome.FAILED: "could not be written",
}
_CLEAN = "[bold]No findings[/]: the app says what the chain says."
_NOTHING = {Mode.APPLY: "[bold]Nothing to do[/].", Mode.UNDO: "[bold]Nothing to do[/]."}
_UNDONE = {
    Outcome.REPAIRED: "put back",
    Outcome.REPORTED: "left as it is",
    Outcome.SKIPPED_CHANGED: "left as it is",
    Outcome.UNKNOWN: "not known",
}
"""Of an undo, where the words differ."""


def show(report: Report, *, console: Console) -> None:
    """All of it."""
    for number, finding in enumerate(report.findings[:MAX_SHOWN], start=1):
        _show_finding(number, finding, console, said=_UNDONE if report.mode is Mode.UNDO else {})
    if (more := len(report.findings) - MAX_SHOWN) > 0:
        console.print(f"… and {more} more: [bold]--json[/] tells all.\n")
    if report.mode is not Mode.UNDO:
        console.print(compared(report))
        console.print()
    if report.findings:
        console.print(outcomes(report.findings))
        console.print()
    show_end(report, console=console)


def show_end(report: Report, *, console: Console) -> None:
    """How the run ended, in sentences."""
    answers = ", ".join(f"{count} {answer.value}" for answer, count in report.spot_checks.items() if count)
    counts = Counter(finding.outcome for finding in report.findings)
    done = ", ".join(f"{counts[outcome]} {_name(outcome)}" for outcome in Outcome if counts[outcome])
    found = f"{len(report.findings)} finding{'' if len(report.findings) == 1 else 's'}"
    if report.mode is not Mode.UNDO:
        console.print(
            f"Stands on ledger {text(report.watermark_ledger)}. Answers of the chain: {answers or 'none needed'}."
        )
    console.print(f"[bold]{found}[/]: {done}." if done else _NOTHING.get(report.mode, _CLEAN))
    for note in report.notes:
        console.print(f"Note: {sentence(note)}")
    for reason in report.reasons:
        console.print(f"[bold red]Not complete[/]: {sentence(reason)}")


def compared(report: Report) -> Table:
    """What was looked at."""
    table = Table(title="Compared", title_justify="left")
    table.add_column("table")
    table.add_column("entities on chain", justify="right")
    table.add_column("rows of the app", justify="right")
    for name, one in report.compared.items():
        table.add_row(name, str(one.expected_rows), str(one.app_rows))
    return table


def outcomes(findings: Sequence[Finding]) -> Table:
    """Classes against outcomes, in numbers."""
    counts = Counter((finding.drift_class, finding.outcome) for finding in findings)
    shown = [outcome for outcome in Outcome if any(seen is outcome for _, seen in counts)]
    table = Table(title="Found", title_justify="left")
    table.add_column("class")
    for outcome in shown:
        table.add_column(_name(outcome), justify="right", style=_COLOURS[outcome])
    for drift_class in dict.fromkeys(finding.drift_class for finding in findings):
        table.add_row(drift_class, *(str(counts[drift_class, outcome] or "") for outcome in shown))
    return table


def repaired(findings: Sequence[Finding]) -> Table:
    """The rows that were written, and what in them."""
    table = Table()
    table.add_column("class", overflow="fold")
    table.add_column("of", overflow="fold")
    table.add_column("set", overflow="fold", style=_COLOURS[Outcome.REPAIRED])
    for finding in findings:
        if finding.outcome is Outcome.REPAIRED:
            table.add_row(finding.drift_class, _whose(finding), text(sorted(finding.columns)))
    return table


def done(finding: Finding) -> str:
    """What was done about it, in words."""
    if finding.outcome is Outcome.PROPOSED and finding.action is Policy.REPAIR:
        return "not written: --repair does it"
    return _DONE[finding.outcome]


def _show_finding(number: int, finding: Finding, console: Console, *, said: Mapping[Outcome, str]) -> None:
    colour, what = _COLOURS[finding.outcome], said.get(finding.outcome) or done(finding)
    console.print(f"[bold]{number}. {finding.drift_class}[/]  {_whose(finding)}  [{colour}]{what}[/]")
    console.print(Padding.indent(sentence(finding.words), 3))
    if finding.columns:
        console.print(Padding.indent(_columns(finding.columns), 5))
    for line in known(finding.evidence):
        console.print(Padding.indent(f"[dim]{escape(line)}[/]", 3))
    if finding.row_id is not None:
        console.print(Padding.indent(f"[dim]Row: {escape(f'{finding.table} {finding.row_id}')}[/]", 3))
    console.print()


def _whose(finding: Finding) -> str:
    """The entity; where there is no single one, the row."""
    return text(finding.entity or f"{finding.table} {(finding.row_id or '')[:8]}")


def _columns(columns: Mapping[str, Both]) -> Table:
    table = Table.grid(padding=(0, 2))
    for _ in range(3):
        table.add_column(overflow="fold")
    for name, both in columns.items():
        table.add_row(name, f"app [red]{text(both.app)}[/]", f"chain [green]{text(both.chain)}[/]")
    return table


def known(evidence: Mapping[str, Any]) -> Iterator[str]:
    """How we know: the few parts of the evidence that a person asks for first."""
    if chain := evidence.get("chain"):
        written = evidence.get("entry_last_modified_ledger")
        since = f", last written in ledger {written}" if written else ""
        yield f"Asked at ledger {evidence.get('asked_at_ledger', '?')}: {chain}{since}"
    elif transaction := evidence.get("transaction"):
        yield f"Told by an event of transaction {short(str(transaction))} in ledger {evidence.get('ledger', '?')}"
    if linked_by := evidence.get("linked_by"):
        yield f"Linked by {linked_by}; candidates: {', '.join(evidence.get('candidates') or ('none',))}"
    if reason := evidence.get("reason"):
        yield f"Reason: {reason}"


def _name(outcome: Outcome) -> str:
    return outcome.value.replace("_", " ")
