"""A sweep's report for people: each finding in words, then what was compared, then how it ended."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from deploy.terminal import sentence, text
from sweeper import words
from sweeper.model import Outcome
from sweeper.report import Mode, RunStatus
from sweeper.told import Told, ToldFinding

MAX_SHOWN = 200
"""Findings that are told one by one: more are read by nobody on a terminal."""

_COLOURS: Mapping[str, str] = {
    Outcome.REPAIRED: "green",
    Outcome.PROPOSED: "yellow",
    Outcome.REPORTED: "cyan",
    Outcome.UNKNOWN: "magenta",
    Outcome.SKIPPED_CHANGED: "magenta",
    Outcome.FAILED: "red",
}


_NOTHING: Mapping[str, str] = dict.fromkeys((Mode.APPLY, Mode.UNDO), "[bold]Nothing to do[/].")


def show(report: Told, *, console: Console) -> None:
    """All of it."""
    for number, finding in enumerate(report.findings[:MAX_SHOWN], start=1):
        _show_finding(number, finding, console)
    if (more := report.total - min(len(report.findings), MAX_SHOWN)) > 0:
        console.print(f"… and {more} more: [bold]chaintrue report {report.run_id} --format html[/] shows them.\n")
    if report.mode != Mode.UNDO:
        console.print(compared(report))
        console.print()
    if report.findings:
        console.print(outcomes(report.findings))
        console.print()
    show_end(report, console=console)


def show_end(report: Told, *, console: Console) -> None:
    """How the run ended, in sentences."""
    answers = ", ".join(f"{count} {answer}" for answer, count in report.spot_checks.items() if count)
    counts = {_name(outcome): report.outcomes[outcome] for outcome in Outcome}
    counts = {words.IN_PART: report.repaired_in_part, **counts}
    counts[_name(Outcome.REPAIRED)] -= report.repaired_in_part
    done = ", ".join(f"{number} {name}" for name, number in counts.items() if number)
    found = words.count(report.total, "finding")
    if report.mode != Mode.UNDO:
        console.print(f"True as of {text(report.as_of)}. Answers of the chain: {answers or 'none needed'}.")
    console.print(f"[bold]{found}[/]: {done}." if done else _NOTHING.get(report.mode) or _no_findings(report))
    for note in report.notes:
        console.print(f"Note: {sentence(note)}")
    for reason in report.reasons:
        console.print(f"[bold red]Not complete[/]: {sentence(reason)}")


def _no_findings(report: Told) -> str:
    """A run that is not complete found nothing, which is not the same as clean."""
    if report.status != RunStatus.COMPLETE:
        return "[bold]No findings[/], but the run is not complete."
    return f"[bold]No findings[/]: {text(report.agreement)}"


def compared(report: Told) -> Table:
    """What was looked at."""
    table = Table(title="Compared", title_justify="left")
    table.add_column("table")
    table.add_column("entities on chain", justify="right")
    table.add_column("rows of the app", justify="right")
    for name, one in report.compared.items():
        table.add_row(text(name), text(one.get("expected_rows")), text(one.get("app_rows")))
    return table


def outcomes(findings: Sequence[ToldFinding]) -> Table:
    """Classes against outcomes, in numbers."""
    counts = Counter((finding.drift_class, finding.outcome) for finding in findings)
    shown = [outcome for outcome in Outcome if any(seen == outcome for _, seen in counts)]
    table = Table(title="Found", title_justify="left")
    table.add_column("class")
    for outcome in shown:
        table.add_column(_name(outcome), justify="right", style=_COLOURS[outcome])
    for drift_class in dict.fromkeys(finding.drift_class for finding in findings):
        table.add_row(text(drift_class), *(str(counts[drift_class, outcome] or "") for outcome in shown))
    return table


def repaired(findings: Sequence[ToldFinding]) -> Table:
    """The rows that were written, and what in them; what differs there still, where something does."""
    written = [finding for finding in findings if finding.outcome == Outcome.REPAIRED]
    table = Table()
    table.add_column("class", overflow="fold")
    table.add_column("of", overflow="fold")
    table.add_column("set", overflow="fold", style=_COLOURS[Outcome.REPAIRED])
    in_part = any(finding.left for finding in written)
    if in_part:
        table.add_column("left as it was", overflow="fold", style=_COLOURS[Outcome.REPORTED])
    for finding in written:
        cells = (finding.drift_class, finding.subject, finding.written, *([list(finding.left)] if in_part else ()))
        table.add_row(*map(text, cells))
    return table


def _show_finding(number: int, finding: ToldFinding, console: Console) -> None:
    colour = _COLOURS.get(finding.outcome, "default")
    console.print(
        f"[bold]{number}. {text(finding.drift_class)}[/]  {text(finding.subject)}  [{colour}]{text(finding.done)}[/]"
    )
    console.print(Padding.indent(sentence(finding.words), 3))
    if finding.columns:
        console.print(Padding.indent(_columns(finding.columns), 5))
    for line in words.known(finding.evidence):
        console.print(Padding.indent(f"[dim]{escape(line)}[/]", 3))
    if finding.row_id is not None:
        console.print(Padding.indent(f"[dim]Row: {escape(words.visible(f'{finding.table} {finding.row_id}'))}[/]", 3))
    console.print()


def _columns(columns: Mapping[str, Mapping[str, Any]]) -> Table:
    table = Table.grid(padding=(0, 2))
    for _ in range(3):
        table.add_column(overflow="fold")
    for name, both in columns.items():
        table.add_row(text(name), f"app [red]{text(both.get('app'))}[/]", f"chain [green]{text(both.get('chain'))}[/]")
    return table


def _name(outcome: Outcome) -> str:
    return words.label(outcome)
