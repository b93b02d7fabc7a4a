"""Reading a log back from its end: windows that grow."""

from hypothesis import given
from hypothesis import strategies as st

from streams.log_reader import LARGEST_STEP, LOOK_BACK, windows


@given(st.integers(0, 100_000))
def test_windows_cover_every_offset_once_from_the_end(end: int):
    found = list(windows(0, end))
    assert [stop for _, stop in found] == ([end, *(start for start, _ in found)][: len(found)])
    assert sum(stop - start for start, stop in found) == end
    assert all(0 < stop - start <= LARGEST_STEP for start, stop in found)
    assert not found or found[0][1] - found[0][0] == min(end, LOOK_BACK)
