"""Answers of nodes as frames of the log."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from shared import frames
from sweeper import observe
from sweeper.questions import Held

HELD = st.builds(
    Held,
    key=st.text("abc", min_size=1, max_size=8),
    xdr=st.text("xyz", max_size=40_000),
    last_modified=st.integers(1, 50),
    live_until=st.none() | st.integers(0, 5000),
    ledger=st.integers(50, 53),
    node=st.just("https://one"),
)


@given(st.lists(HELD, max_size=12, unique_by=lambda one: one.key))
def test_each_answer_stands_once_as_it_was_given_under_its_own_ledger(held: list[Held]) -> None:
    batch = list(observe.frames_of(held, network="n", scope="s"))
    assert all((one.network, one.scope) == ("n", "s") for one in batch)
    assert all(before.latest_ledger <= after.latest_ledger for before, after in pairwise(batch))
    told = {entry.key: (one.latest_ledger, entry) for one in batch for entry in one.entries}
    assert told == {one.key: (one.ledger, one.entry()) for one in held}
    assert sum(len(one.entries) for one in batch) == len(held)
    assert all(len(frames.encode(one)) <= frames.FRAME_BYTES or len(one.entries) == 1 for one in batch)
