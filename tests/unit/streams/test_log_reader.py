"""Where the log stands: gaps carried over, windows that grow."""

from hypothesis import given
from hypothesis import strategies as st

from shared import frames, position
from streams.log_reader import FIRST_STEP, LARGEST_STEP, carried, windows


def gap(after: int, through: int) -> frames.Gap:
    return frames.Gap(
        network="Test", scope="scope", after=position.end_of(after), through=position.end_of(through), reason="lost"
    )


def test_gaps_that_follow_carry_the_position_on():
    assert carried(position.end_of(10), [gap(10, 20), gap(20, 25)]) == position.end_of(25)


def test_a_gap_noted_twice_and_longer_carries_on():
    assert carried(position.end_of(10), [gap(10, 20), gap(10, 30)]) == position.end_of(30)


def test_a_gap_elsewhere_carries_nothing():
    assert carried(position.end_of(10), [gap(2, 5), gap(50, 60)]) == position.end_of(10)


@given(st.integers(0, 100_000))
def test_windows_cover_every_offset_once_from_the_end(end: int):
    found = list(windows(0, end))
    assert [stop for _, stop in found] == ([end, *(start for start, _ in found)][: len(found)])
    assert sum(stop - start for start, stop in found) == end
    assert all(0 < stop - start <= LARGEST_STEP for start, stop in found)
    assert not found or found[0][1] - found[0][0] == min(end, FIRST_STEP)
