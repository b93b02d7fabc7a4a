"""What people see: consoles, and the plain form of values. Results go to stdout, progress to stderr."""

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import orjson
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from sweeper.report import json_value

_ADDRESS = re.compile(r"\b[GC][A-Z2-7]{55}\b")
_HASH = re.compile(r"\b[0-9a-f]{64}\b")


def out() -> Console:
    """The console of results."""
    return Console(highlight=False)


def err() -> Console:
    """The console of progress; silent where nobody watches."""
    return Console(stderr=True, highlight=False, quiet=not sys.stderr.isatty())


@contextmanager
def progress(words: str, *, first: int, last: int) -> Iterator[Callable[[int], None]]:
    """A bar from `first` to `last`, both inclusive, that is told the last one that is done; silent where nobody watches."""
    with Progress(console=err(), transient=True) as bars:
        task = bars.add_task(words, total=last - first + 1)
        yield lambda done: bars.update(task, completed=done - first + 1)


def show_json(value: Any) -> None:
    """One object on stdout, and nothing else."""
    sys.stdout.buffer.write(orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n")
    sys.stdout.buffer.flush()


def short(text: str) -> str:
    """Addresses and hashes by both their ends, as wallets show them; the JSON has them whole."""
    return _HASH.sub(_ends, _ADDRESS.sub(_ends, text))


def _ends(match: re.Match[str]) -> str:
    return f"{match[0][:4]}…{match[0][-4:]}"


def text(value: object) -> str:
    """The value in a line of its own words, safe as markup."""
    plain = json_value(value)
    if isinstance(plain, list):
        return ", ".join(text(one) for one in plain)
    return escape("NULL" if plain is None else short(str(plain)))


def sentence(words: str) -> str:
    """The words as a sentence, safe as markup."""
    words = short(words.strip())
    first = words[:1] if "_" in words.partition(" ")[0] else words[:1].upper()  # a column's name stays as it is
    return escape(f"{first}{words[1:]}{'' if words.endswith(('.', ':', '!')) else '.'}")
