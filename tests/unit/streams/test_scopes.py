"""Which partition is whose."""

import pytest

from shared import errors
from streams import scopes


def test_an_empty_topic_is_given_out_in_the_order_of_the_settings():
    assert scopes.assign({0: None, 1: None, 2: None}, ["b", "a"]) == {"b": 0, "a": 1}


def test_a_scope_keeps_its_partition_whatever_comes_before_it():
    assert scopes.assign({0: "a", 1: None, 2: "c"}, ["new", "c", "a"]) == {"new": 1, "c": 2, "a": 0}


def test_two_processes_that_begin_at_once_decide_alike():
    """The second one finds the first scope begun already."""
    wanted = ["a", "b", "c"]
    first = scopes.assign({0: None, 1: None, 2: None}, wanted)
    assert scopes.assign({0: "a", 1: None, 2: None}, wanted) == first
    assert scopes.assign({0: "a", 1: "b", 2: None}, wanted) == first


def test_a_topic_with_too_few_partitions_is_refused():
    with pytest.raises(errors.TopicInvalid, match="no empty partition for the scope 'b'") as caught:
        scopes.assign({0: "a"}, ["a", "b"])
    assert "chaintrue migrate" in (caught.value.cure or "")
