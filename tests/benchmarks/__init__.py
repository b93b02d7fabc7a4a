"""Benchmarks: each against a peer or a bound that is measured in the same run, so that a busy machine harms neither.

A module of this folder takes part by having `run() -> list[Row]`. All of them: `python -m tests.benchmarks`; those whose name
contains a word: `python -m tests.benchmarks decode`; one alone: `python -m tests.benchmarks.decode`. With `--markdown FILE`
the table is written to that file too. Where the time of applying goes: `python -m tests.benchmarks.profile apply`; of a sweep:
`python -m tests.benchmarks.profile_sweep`.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measure: ours and the peer's in the same unit, and how many times better ours is.

    A measure without a peer, as a part of a distribution, has neither `theirs` nor `ratio`; `peer` says what it is then.
    """

    name: str
    unit: str
    ours: float
    peer: str
    theirs: float | None = None
    ratio: float | None = None


def show(rows: list[Row]) -> None:
    """The rows as a table on standard output."""
    print(f"{'measure':<44} {'unit':<12} {'ours':>12} {'peer':>12} {'ratio':>8}  peer is")
    for row in rows:
        print(
            f"{row.name:<44} {row.unit:<12} {number(row.ours):>12} {number(row.theirs):>12} {times(row.ratio):>8}  {row.peer}"
        )


def number(value: float | None) -> str:
    """For people: small ones with two places, large ones with none."""
    if value is None:
        return ""
    return f"{value:,.2f}" if abs(value) < 1000 else f"{value:,.0f}"


def times(ratio: float | None) -> str:
    if ratio is None:
        return ""
    return f"{ratio:.1f}x" if ratio >= 10 else f"{ratio:.2f}x"
