"""The demo's voice: headings, short sentences, lists. In JSON mode it is silent and ends with one object."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from deploy import terminal
from sweeper import words

Bar = Callable[[int, int], None]
"""Called with what is done and what there is to do."""


class Guide:
    """Talks to the person who watches."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.console = Console(highlight=False, quiet=as_json)
        self._chapter = 0

    def chapter(self, title: str) -> None:
        """A new part of the tour."""
        self._chapter += 1
        self.console.print()
        self.console.rule(f"[bold]{self._chapter}. {escape(title)}[/]", align="left")

    def say(self, sentence: str) -> None:
        """One sentence."""
        self.console.print(escape(words.short(sentence)))

    def command(self, line: str) -> None:
        """A command, as the person would type it."""
        self.console.print(f"[bold green]$ {escape(line)}[/]", soft_wrap=True)

    def item(self, said: str, *, under: str = "") -> None:
        """One point of a list, and perhaps a line that explains it."""
        point = Table.grid(padding=(0, 1))
        point.add_row("•", escape(words.short(said)))
        if under:
            point.add_row("", f"[dim]{escape(words.short(under))}[/]")
        self.console.print(Padding.indent(point, 2))

    def address(self, name: str, url: str) -> None:
        """Where something is, never broken over lines: it is there to be copied."""
        self.console.print(f"  {escape(name)}: [bold]{escape(url)}[/]", soft_wrap=True)

    def head(self, name: str, said: str) -> None:
        """What the next points are about."""
        self.console.print(f"[bold]{escape(name)}[/]  {escape(said)}")

    def show(self, what: RenderableType) -> None:
        """A table."""
        self.console.print(what)

    def end(self, summary: dict[str, Any]) -> None:
        """The last word."""
        if self.as_json:
            terminal.show_json(summary)

    @contextmanager
    def bars(self) -> Iterator[Callable[[str], Bar]]:
        """Progress bars on standard error, made by name; nothing where nobody watches."""
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        quiet = self.as_json or not sys.stderr.isatty()
        with Progress(*columns, console=Console(file=sys.stderr), transient=True, disable=quiet) as progress:

            def bar(name: str) -> Bar:
                task = progress.add_task(name, total=None)
                return lambda done, whole: progress.update(task, completed=done, total=whole)

            yield bar
