"""The sorted feed with each place once, whatever page a row came with; and what is new of a batch."""

from hypothesis import given
from hypothesis import strategies as st

from shared import position
from streams.facts import Fact, merge
from streams.replay.feed import places, split
from streams.replay.load import Lanes

Row = tuple[int, str, str, bytes]

rows = st.lists(
    st.tuples(st.just(0), st.sampled_from("ab"), st.sampled_from("123"), st.sampled_from([b"x", b"y"])), max_size=20
).map(lambda found: sorted(found, key=lambda row: row[1:3]))


@given(rows, st.integers(1, 5))
def test_each_place_once_whatever_the_pages(found: list[Row], size: int) -> None:
    told = []
    left: list[Row] = []
    for start in range(0, len(found), size):
        whole, left = split([*left, *found[start : start + size]])
        told += list(places(whole))
    told += list(places(left))
    wanted: dict[tuple[str, str], set[bytes]] = {}
    for _, key, place, packed in found:
        wanted.setdefault((key, place), set()).add(packed)
    assert told == [
        (0, key, place, next(iter(packed)) if len(packed) == 1 else None)
        for (key, place), packed in sorted(wanted.items())
    ]


def fact(key: str, place: str) -> Fact:
    return Fact(key=key, position=place, kind="k", body="{}")


EVENTS = [f"{ledger << 32 | 1 << 12:019d}-{index:010d}" for ledger in (5, 6, 7) for index in (0, 1)]
OBSERVATIONS = [position.end_of(ledger) for ledger in (5, 6, 9)]


def test_an_observation_ahead_of_the_pages_does_not_make_them_late() -> None:
    lanes = Lanes()
    assert lanes.split([fact("entry", OBSERVATIONS[2])]) == ([fact("entry", OBSERVATIONS[2])], [])
    page = [fact("a", EVENTS[0]), fact("b", EVENTS[1])]
    assert lanes.split(page) == (page, [])
    assert lanes.split(page) == ([], page)
    assert max(lanes.newest.values()) == OBSERVATIONS[2]


@given(st.lists(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(EVENTS + OBSERVATIONS)), max_size=6)))
def test_nothing_that_was_there_before_is_taken_for_new(batches: list[list[tuple[str, str]]]) -> None:
    lanes = Lanes()
    seen: set[tuple[str, str]] = set()
    for batch in batches:
        facts = merge(fact(key, place) for key, place in batch)
        new, late = lanes.split(facts)
        assert not seen & {(one.key, one.position) for one in new}
        assert sorted(new + late) == facts
        seen |= {(one.key, one.position) for one in facts}
