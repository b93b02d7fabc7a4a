"""Merging facts: one a key and position, whatever the order; of two values the lower bytes, and it is said."""

from hypothesis import given
from hypothesis import strategies as st

from shared import position
from streams.facts import OBSERVED, Fact, merge

keys = st.sampled_from(["loan:C:1", "loan:C:10", "loan:C:2", "pool:C", "é:C", "\U0001f600:C"])
positions = st.integers(1, 3).map(position.end_of)
facts = st.builds(
    lambda key, at, body, tx_hash: Fact(key=key, position=at, kind=OBSERVED, body=body, tx_hash=tx_hash),
    keys,
    positions,
    st.sampled_from(['{"a":1}', '{"a":2}', '{"é":1}', '{"\U0001f600":1}', '{"z":1}', '{"\uffee":1}']),
    st.none(),
)
lists = st.lists(facts, max_size=12)


@given(lists)
def test_one_fact_a_place_sorted_as_the_database_sorts(many):
    merged = merge(many)
    places = [(fact.key.encode(), fact.position.encode()) for fact in merged]
    assert places == sorted(set(places))
    assert {(fact.key, fact.position) for fact in merged} == {(fact.key, fact.position) for fact in many}


@given(lists)
def test_the_lower_bytes_win_and_say_so(many):
    for fact in merge(many):
        bodies = {one.body for one in many if (one.key, one.position) == (fact.key, fact.position)}
        assert fact.body == min(bodies, key=str.encode)
        assert fact.conflict == (len(bodies) > 1)


@given(lists.flatmap(lambda many: st.tuples(st.just(many), st.permutations(many + many))))
def test_order_and_repetition_are_of_no_account(both):
    many, shuffled = both
    assert merge(many) == merge(shuffled)


@given(lists, lists)
def test_merging_in_parts_is_merging_at_once(some, others):
    assert merge([*merge(some), *merge(others)]) == merge([*some, *others])


def test_nothing_merges_to_nothing():
    assert merge([]) == []


def test_the_prefix_names_the_fold():
    assert Fact(key="loan:C:1", position=position.START, kind="x", body="{}").prefix == "loan"
    assert Fact(key="alone", position=position.START, kind="x", body="{}").prefix == "alone"
