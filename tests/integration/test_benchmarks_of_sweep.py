"""The benchmarks of the sweep at a tiny size: they still run, and every party finds what differs and nothing else.

What they measure is not looked at here: no test depends on the speed of a machine.
"""

import pytest

from tests.benchmarks import sweep, sweep_load, sweep_repairs
from tests.benchmarks.loanbook.book import Book
from tests.benchmarks.loanbook.drift import Drift
from tests.benchmarks.traffic.chain import Traffic

LOANS = 1200


async def test_every_party_finds_the_rows_that_differ() -> None:
    rows = await sweep.measure([LOANS], runs=1)

    peers = {(row.name, row.peer) for row in rows}
    assert len(peers) == len(rows) == 11, "four without drift, three with either drift, one of memory"
    assert all(row.ratio is not None and row.ratio > 0 for row in rows)


async def test_both_ways_of_repairing_write_every_row() -> None:
    rows = await sweep_repairs.measure(300, runs=1)

    assert [row.ours > 0 and row.theirs is not None and row.theirs > 0 for row in rows] == [True, True]


async def test_the_chain_is_asked_for_many_entries_at_once() -> None:
    *loads, asked = await sweep_load.measure(LOANS)

    assert all(row.ours > 0 for row in loads if row.unit == "s")
    assert asked.theirs is not None
    assert asked.theirs > asked.ours


def test_a_party_that_misses_a_row_or_invents_one_has_no_figure() -> None:
    drift = Drift(Book(chain_url="", app_url="", loans=50, traffic=Traffic()), rows_that_differ=[7, 12])

    drift.check(["loan:12", "loan:7"])
    for wrong in (["loan:7"], ["loan:7", "loan:12", "loan:13"], ["loan:7", "loan:12", "loan:12"]):
        with pytest.raises(ValueError, match="rows were found to differ"):
            drift.check(wrong)
