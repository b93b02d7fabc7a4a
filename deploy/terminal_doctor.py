"""`chaintrue doctor` for people: a mark and a line for each check, and how many need somebody."""

from rich.console import Console
from rich.markup import escape

from deploy.doctor import Check, Examination
from deploy.terminal import sentence

_WELL, _WARNING, _ILL = "[green]✓[/]", "[yellow]![/]", "[bold red]✗[/]"


def show(found: Examination, *, console: Console) -> None:
    """All checks in their order, each cure below its failure."""
    for one in found.checks:
        console.print(f"{_mark(one)} [bold]{escape(one.check)}[/]: {sentence(one.words)}")
        if one.cure is not None:
            console.print(f"    [dim]Cure:[/] {sentence(one.cure)}")
    ill = sum(not one.ok for one in found.checks)
    console.print()
    if ill:
        console.print(f"[bold red]{ill} of {len(found.checks)} checks failed.[/]")
    else:
        warnings = sum(one.is_warning for one in found.checks)
        also = f" {warnings} of them with a warning." if warnings else ""
        console.print(f"[bold green]All {len(found.checks)} checks are well.[/]{also}")


def _mark(one: Check) -> str:
    return _ILL if not one.ok else _WARNING if one.is_warning else _WELL
