"""Two sides in the order of their keys, merged: what one lacks, and what both have otherwise."""

from collections.abc import AsyncIterator

from hypothesis import given
from hypothesis import strategies as st

from shared.chain_tables import coverage
from streams.replay.differences import Key, merged, row_difference
from streams.replay.outcome import Outcome, Pair, RowDifference, TableComparison

sides = st.dictionaries(st.integers(0, 9), st.integers(0, 2))


async def rows(side: dict[int, int]) -> AsyncIterator[tuple[Key, int]]:
    for key in sorted(side):
        yield (key,), side[key]


@given(sides, sides)
async def test_every_difference_is_found_once_in_order(live: dict[int, int], replay: dict[int, int]) -> None:
    found = [(key[0], which) async for key, which in merged(rows(live), rows(replay))]
    assert [key for key, _ in found] == sorted(key for key in live | replay if live.get(key) != replay.get(key))
    for key, which in found:
        assert which == ("both" if key in live and key in replay else "live" if key in live else "replay")


KEY = ("s", "C", "1")
LIVE = {"scope": "s", "contract": "C", "after": "1", "through": "2"}


def test_of_a_row_on_both_sides_the_columns_that_differ_are_told() -> None:
    found = row_difference(coverage, KEY, "both", {KEY: LIVE}, {KEY: LIVE | {"through": "3"}})
    assert found == RowDifference(
        key={"scope": "s", "contract": "C", "after": "1"}, found="both", columns={"through": Pair("2", "3")}
    )


def test_of_a_row_on_one_side_all_is_told() -> None:
    found = row_difference(coverage, KEY, "replay", {}, {KEY: LIVE})
    assert found.columns == {name: Pair(None, value) for name, value in LIVE.items()}


def outcome(*, identical: bool, swapped: bool) -> Outcome:
    table = TableComparison(table="loans", live_rows=1, replay_rows=1, identical=identical)
    return Outcome(offsets={0: 1}, records=1, events=1, seconds=1.0, tables=(table,), swapped=swapped)


def test_the_exit_code_is_two_only_where_a_difference_remains() -> None:
    codes = {
        (identical, swapped): outcome(identical=identical, swapped=swapped).exit_code
        for identical in (True, False)
        for swapped in (True, False)
    }
    assert codes == {(True, True): 0, (True, False): 0, (False, True): 0, (False, False): 2}
