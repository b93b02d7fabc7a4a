"""Runs every benchmark of this folder, or those whose name contains one of the words given, and prints one table."""

import argparse
import importlib
import pkgutil
import sys
from collections.abc import Callable
from pathlib import Path

from tests import benchmarks
from tests.benchmarks import Row, markdown


def discover(words: list[str]) -> list[tuple[str, Callable[[], list[Row]]]]:
    """(name, run) of each module that has a `run`, by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(benchmarks.__path__) if module.name != "__main__")
    wanted = [name for name in names if not words or any(word in name for word in words)]
    modules = [(name, importlib.import_module(f"{benchmarks.__name__}.{name}")) for name in wanted]
    return [(name, module.run) for name, module in modules if hasattr(module, "run")]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="Benchmarks, as one table.")
    parser.add_argument("words", nargs="*", help="only those whose name contains one of these")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table to this file, too")
    chosen = parser.parse_args()
    found = discover(chosen.words)
    if not found:
        print(f"no benchmark is named like {' or '.join(chosen.words)}", file=sys.stderr)
        return 2
    rows: list[Row] = []
    for name, run in found:
        print(f"{name} …", file=sys.stderr, flush=True)
        rows += run()
    benchmarks.show(rows)
    if chosen.markdown is not None:
        chosen.markdown.write_text(markdown.page(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
