"""The locks of keys that are inserted."""

from hypothesis import given
from hypothesis import strategies as st

from sweeper import insert_locks

KEYS = st.lists(st.text(max_size=60), max_size=20)


@given(KEYS, st.randoms())
def test_everybody_takes_them_in_one_order_and_none_twice(keys: list[str], random: object) -> None:
    shuffled = keys[:]
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # a Random
    found = insert_locks.numbers("loans", keys)
    assert found == insert_locks.numbers("loans", [*shuffled, *keys, None]) == sorted(set(found))
    assert len(found) == len(set(keys))
    assert all(-(1 << 63) <= number < 1 << 63 for number in found)


def test_tables_have_locks_of_their_own() -> None:
    assert insert_locks.numbers("loans", ["1"]) != insert_locks.numbers("vendors", ["1"])
