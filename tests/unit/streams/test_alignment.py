"""Do Kafka's offsets, the topic and the database belong together?"""

import pytest

from shared import errors
from streams.alignment import Offsets, must_set_back


@pytest.mark.parametrize("committed", [None, 0, 6, 7])
def test_kafka_behind_or_level_needs_nothing(committed: int | None):
    assert not must_set_back(Offsets(stored=7, committed=committed, begin=0, end=9), topic="facts")


def test_kafka_ahead_is_set_back():
    assert must_set_back(Offsets(stored=7, committed=8, begin=0, end=9), topic="facts")


def test_an_empty_topic_and_an_empty_database_belong_together():
    assert not must_set_back(Offsets(stored=0, committed=None, begin=0, end=0), topic="facts")


def test_deleted_records_are_refused():
    with pytest.raises(errors.TopicInvalid, match=r"begins at offset 5.*waits for 3.*deleted") as caught:
        must_set_back(Offsets(stored=3, committed=3, begin=5, end=9), topic="facts")
    assert caught.value.cure


def test_a_topic_that_was_made_anew_is_refused():
    with pytest.raises(errors.TopicInvalid, match=r"ends at offset 2.*applied 7.*made anew") as caught:
        must_set_back(Offsets(stored=7, committed=None, begin=0, end=2), topic="facts")
    assert caught.value.cure


def test_all_applied_and_all_deleted_is_no_loss():
    assert not must_set_back(Offsets(stored=9, committed=9, begin=9, end=9), topic="facts")
