"""What people see: consoles, and the plain form of values. Results go to stdout, progress to stderr."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import orjson
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from sweeper import words
from sweeper.report import json_value


def out() -> Console:
    """The console of results."""
    return Console(highlight=False)


def err() -> Console:
    """The console of progress; silent where nobody watches."""
    return Console(stderr=True, highlight=False, quiet=not sys.stderr.isatty())


@contextmanager
def progress(what: str, *, first: int, last: int) -> Iterator[Callable[[int], None]]:
    """A bar from `first` to `last`, both inclusive, that is told the last one that is done; silent where nobody watches."""
    with Progress(console=err(), transient=True) as bars:
        task = bars.add_task(what, total=last - first + 1)
        yield lambda done: bars.update(task, completed=done - first + 1)


def show_json(value: Any) -> None:
    """One object on stdout, and nothing else."""
    sys.stdout.buffer.write(orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n")
    sys.stdout.buffer.flush()


def text(value: object) -> str:
    """The value in a line of its own words, safe as markup."""
    return escape(words.short(words.value(json_value(value))))


def sentence(said: str) -> str:
    """The words as a sentence, safe as markup."""
    return escape(words.sentence(said))
