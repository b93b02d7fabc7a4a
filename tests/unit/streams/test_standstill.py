"""When a partition stands still: the same offset due at every look, while its log has more."""

from streams.standstill import STILL_LOOKS, Standstill


def test_a_partition_that_waits_for_the_same_offset_at_every_look_stands_still():
    standstill = Standstill()
    assert [standstill.look({0: 5}) for _ in range(STILL_LOOKS)] == [None] * (STILL_LOOKS - 1) + [(0, 5)]


def test_one_that_goes_on_does_not():
    standstill = Standstill()
    assert not any(standstill.look({0: 5 + turn // 2}) for turn in range(10 * STILL_LOOKS))


def test_one_that_had_caught_up_in_between_does_not():
    standstill = Standstill()
    turns = [{0: 5}] * (STILL_LOOKS - 1) + [{}]
    assert not any(standstill.look(behind) for behind in turns * 3)


def test_another_partition_that_goes_on_hides_nothing():
    standstill = Standstill()
    found = [standstill.look({0: turn, 1: 7}) for turn in range(STILL_LOOKS)]
    assert found[-1] == (1, 7)
