"""Whether it is somebody else who changes a value that we repair again and again, or the chain."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper import row_images, written_back
from sweeper.model import Both
from sweeper.written_back import Write

BEGAN = datetime(2026, 9, 1, tzinfo=UTC)


def at(number: int) -> datetime:
    return BEGAN + timedelta(hours=number)


def writes(*pairs: tuple[Any, Any], column: str = "balance") -> list[Write]:
    return [
        Write(at=at(number), before=row_images.of({column: before}), after=row_images.of({column: after}))
        for number, (before, after) in enumerate(pairs)
    ]


def times(done: Sequence[Write], app: Any, chain: Any, column: str = "balance") -> int:
    told = written_back.most(done, {column: Both(app, chain)})
    return 0 if told is None else told.times


class TestTheChainMoves:
    def test_a_value_that_the_app_never_follows_is_nobody_s_doing(self) -> None:
        assert times(writes((100, 90), (90, 80), (80, 70), (70, 60)), 60, 50) == 0

    def test_a_score_that_goes_up_and_down_is_not_either(self) -> None:
        assert times(writes((50, 60), (60, 50), (50, 60), (60, 50)), 50, 60) == 0

    def test_an_app_that_follows_in_its_own_way_while_the_chain_moves_is_not_writing_back(self) -> None:
        assert times(writes((100, 90), (89, 80), (79, 70)), 69, 60) == 0

    @given(st.lists(st.integers(0, 5), min_size=2, max_size=12))
    def test_whatever_the_chain_says_one_after_the_other(self, said: list[int]) -> None:
        moved = list(pairwise(said))
        assert times(writes(*moved), said[-1], 9) == 0


class TestSomebodyWrites:
    def test_the_same_value_each_time(self) -> None:
        done = writes((100, 90), (100, 90), (100, 90))
        assert times(done, 100, 90) == 3
        told = written_back.most(done, {"balance": Both(100, 90)})
        assert told is not None
        assert told.since == at(0)

    def test_other_values_each_time_while_the_chain_stands_still(self) -> None:
        assert times(writes((100, 90), (95, 90), (70, 90)), 1, 90) == 3

    def test_the_old_value_though_the_chain_moves(self) -> None:
        assert times(writes((100, 90), (100, 80), (100, 70)), 100, 60) == 3

    def test_nothing_and_something_are_two_values(self) -> None:
        assert times(writes((None, 90), (None, 90)), None, 90) == 2
        assert times(writes((90, None), (90, None)), 90, None) == 2

    def test_only_what_was_written_over_counts_and_the_first_of_it_says_since_when(self) -> None:
        done = writes((100, 90), (90, 80), (100, 80))
        told = written_back.most(done, {"balance": Both(100, 80)})
        assert told is not None
        assert (told.times, told.since) == (2, at(1))

    @given(st.lists(st.integers(1, 9), min_size=1, max_size=12))
    def test_one_that_always_puts_the_old_value_back_is_always_seen(self, said: list[int]) -> None:
        assert times(writes(*((0, one) for one in said)), 0, 1) == len(said)


class TestColumns:
    def test_each_has_its_own_count_and_the_highest_tells(self) -> None:
        status = writes(*[("active", "completed")] * 3, column="status")
        both = [
            Write(
                at=one.at,
                before={**one.before, "balance": str(10 - number)},
                after={**one.after, "balance": str(9 - number)},
            )
            for number, one in enumerate(status)
        ]
        columns = {"balance": Both(7, 6), "status": Both("active", "completed")}
        assert times(both, 7, 6) == 0
        told = written_back.most(both, columns)
        assert told is not None
        assert (told.times, told.since) == (3, at(0))

    def test_one_that_was_not_written_or_whose_old_value_is_not_known_says_nothing(self) -> None:
        done = writes((100, 90), (100, 90))
        assert times(done, "a", "b", "status") == 0
        assert times([Write(at=at(0), before={}, after={"balance": "90"})] * 3, 100, 90) == 0
        assert written_back.most([], {"balance": Both(1, 2)}) is None
        assert written_back.most(done, {}) is None


class TestOurOwn:
    def test_another_repair_between_two_is_not_somebody_else(self) -> None:
        """It went up again by a repair of another class, and down by one of this: nobody wrote but us."""
        up = Write(at=at(1), before={"balance": "90"}, after={"balance": "100"}, counts=False)
        down = writes((100, 90), (0, 0), (100, 90))
        assert times([down[0], up, down[2]], 90, 80) == 0
        assert times([down[0], down[2]], 90, 80) == 1

    def test_what_is_not_counted_counts_for_nothing(self) -> None:
        done = [Write(at=one.at, before=one.before, after=one.after, counts=False) for one in writes(*[(100, 90)] * 3)]
        assert times(done, 100, 90) == 0


class TestValues:
    @pytest.mark.parametrize("text", ["90", "90.0", "90.000000", "0090", "9e1"])
    def test_an_amount_is_the_same_with_other_zeros(self, text: str) -> None:
        done = [Write(at=at(0), before={"balance": "100"}, after={"balance": text})]
        assert times(done, Decimal("90.00"), Decimal(80)) == 0
        assert times(done, Decimal(100), Decimal("90.00")) == 1

    def test_amounts_are_exact_whatever_their_size(self) -> None:
        large = 10**40
        assert times(writes((0, Decimal(large))), Decimal(large + 1), Decimal(large)) == 1
        assert times(writes((0, Decimal(large))), Decimal(large), Decimal(large + 1)) == 0

    def test_a_time_is_an_instant(self) -> None:
        east = timezone(timedelta(hours=9))
        assert times(writes((at(0), at(1)), column="at"), at(1).astimezone(east), at(2), "at") == 0
        assert times(writes((at(0), at(1)), column="at"), at(0).astimezone(east), at(1), "at") == 1

    def test_words_are_compared_as_they_are(self) -> None:
        assert times(writes(("0", "1.0"), column="word"), "1.00", "1.0", "word") == 1

    def test_what_is_none_of_its_kind_is_a_text(self) -> None:
        assert times(writes(("NaN", "soon")), Decimal(1), Decimal(2)) == 0
        assert times(writes(("soon", 2), ("soon", 2)), "NaN", 2) == 2
        assert times(writes(("2026", at(1)), ("2026", at(1)), column="at"), at(1), at(2), "at") == 1
        assert times(writes((True, False), column="flag"), True, False, "flag") == 1
