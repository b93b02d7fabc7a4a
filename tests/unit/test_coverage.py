"""The algebra of coverage against a model that cannot be wrong: sets of small integers.

Small integer n stands for the n-th of 24 places on the chain, six in each of four ledgers, the last of six ending its ledger.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import coverage, position
from shared.coverage import GapState, Range

PLACES_PER_LEDGER = 6
FIRST_LEDGER = 100
PLACES = [
    position.end_of(ledger) if place == PLACES_PER_LEDGER - 1 else f"{(ledger << 32) + place:019d}-{place:010d}"
    for ledger in range(FIRST_LEDGER, FIRST_LEDGER + 4)
    for place in range(PLACES_PER_LEDGER)
]
numbers = st.integers(0, len(PLACES) - 1)
bounds = st.tuples(numbers, numbers).map(sorted).map(tuple)
many = st.lists(bounds, max_size=8)


def real(pair):
    return Range(PLACES[pair[0]], PLACES[pair[1]])


def covered(pairs):
    """The model: a half-open range holds the integers behind its beginning, up to its end."""
    return {number for after, through in pairs for number in range(after + 1, through + 1)}


def ranges_of(held):
    """A set of integers as the ranges that it must be written as."""
    starts = sorted(number for number in held if number - 1 not in held)
    ends = sorted(number for number in held if number + 1 not in held)
    return tuple(Range(PLACES[start - 1], PLACES[end]) for start, end in zip(starts, ends, strict=True))


def added(pairs):
    held = coverage.NOTHING
    for pair in pairs:
        held = coverage.add(held, real(pair))
    return held


@given(many)
def test_add_is_the_union_in_order_neither_touching_nor_overlapping(pairs):
    assert added(pairs) == ranges_of(covered(pairs))


@given(many.flatmap(lambda pairs: st.tuples(st.just(pairs), st.permutations(pairs * 2))))
def test_order_and_repetition_of_what_is_added_are_of_no_account(pairs):
    once, shuffled = pairs
    assert added(once) == added(shuffled)


@given(many, bounds)
def test_missing_is_the_difference(pairs, wanted):
    assert coverage.missing(added(pairs), real(wanted)) == ranges_of(covered([wanted]) - covered(pairs))


@given(many, bounds)
def test_what_was_missing_and_is_added_is_missing_no_more(pairs, wanted):
    held = added(pairs)
    for hole in coverage.missing(held, real(wanted)):
        held = coverage.add(held, hole)
    assert held == added([*pairs, wanted])
    assert coverage.missing(held, real(wanted)) == coverage.NOTHING


def reached(pairs, start):
    held = covered(pairs)
    while start + 1 in held:
        start += 1
    return start


@given(many, numbers)
def test_reach_goes_on_until_the_first_hole(pairs, start):
    assert coverage.reach(added(pairs), PLACES[start]) == PLACES[reached(pairs, start)]


@given(many, numbers)
def test_the_watermark_is_the_last_ledger_without_a_hole(pairs, start):
    """A ledger that a cursor stands in the middle of is not complete."""
    end = reached(pairs, start)
    complete = (end + 1) // PLACES_PER_LEDGER
    assert coverage.watermark(added(pairs), PLACES[start]) == FIRST_LEDGER - 1 + complete


@given(st.lists(st.tuples(many, many), min_size=1, max_size=3), bounds.filter(lambda pair: pair[0] < pair[1]))
def test_the_state_of_a_gap_says_how_far_it_is_closed(contracts, gap):
    wanted = covered([gap])
    left = [wanted - covered(read) - covered(told) for read, told in contracts]
    state = coverage.gap_state(real(gap), [(added(read), added(told)) for read, told in contracts])
    if any(left):
        untouched = all(one == wanted for one in left)
        assert state is (GapState.OPEN if untouched else GapState.FILLING)
    else:
        by_state = any(wanted - covered(read) for read, _ in contracts)
        assert state is (GapState.SUPERSEDED if by_state else GapState.FILLED)


@given(many, many)
def test_the_union_holds_what_either_holds(one, other):
    assert coverage.union(added(one), added(other)) == added([*one, *other])


@pytest.mark.parametrize(("after", "through"), [(3, 3), (5, 3)])
def test_a_range_that_holds_nothing_adds_nothing(after, through):
    assert coverage.add(coverage.NOTHING, Range(PLACES[after], PLACES[through])) == coverage.NOTHING


@pytest.mark.parametrize(("after", "through"), [(3, 3), (5, 3)])
def test_of_a_range_that_holds_nothing_nothing_is_missing(after, through):
    assert coverage.missing(added([(4, 9)]), Range(PLACES[after], PLACES[through])) == coverage.NOTHING
    assert coverage.missing(coverage.NOTHING, Range(PLACES[after], PLACES[through])) == coverage.NOTHING
