"""Benchmarks: each a ratio against a peer or a bound that is measured in the same run, so that a busy machine harms neither.

A module of this folder takes part by having `run() -> list[Row]`. All of them: `python -m tests.benchmarks`; those whose name
contains a word: `python -m tests.benchmarks decode`; one alone: `python -m tests.benchmarks.decode`.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measure: ours and the peer's in the same unit, and how many times better ours is."""

    name: str
    unit: str
    ours: float
    peer: str
    theirs: float
    ratio: float


def show(rows: list[Row]) -> None:
    """The rows as a table on standard output."""
    print(f"{'measure':<44} {'unit':<12} {'ours':>12} {'peer':>12} {'ratio':>8}  peer is")
    for row in rows:
        print(f"{row.name:<44} {row.unit:<12} {row.ours:>12,.2f} {row.theirs:>12,.2f} {row.ratio:>7.1f}x  {row.peer}")
