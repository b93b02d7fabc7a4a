"""Cron expressions mean what cron means by them, also where the library means something else."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper import cron

FRIDAY = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)


def due(expression: str, *, count: int = 1, after: datetime = FRIDAY) -> list[str]:
    """The next times, as `Fri 27 12:00`."""
    trigger, found = cron.trigger(expression), []
    for _ in range(count):
        after = trigger.get_next_fire_time(None, after + timedelta(microseconds=1))
        found.append(f"{after:%a %d %H:%M}")
    return found


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("0 3 * * *", ["Sat 28 03:00", "Sun 29 03:00"]),
        ("*/10 * * * *", ["Fri 27 12:10", "Fri 27 12:20"]),
        ("0 3 * * 0", ["Sun 29 03:00", "Sun 06 03:00"]),
        ("0 3 * * 7", ["Sun 29 03:00", "Sun 06 03:00"]),
        ("0 3 * * 1-5", ["Mon 30 03:00", "Tue 01 03:00"]),
        ("0 3 * * 6,0", ["Sat 28 03:00", "Sun 29 03:00"]),
        ("0 3 * * 5-7", ["Sat 28 03:00", "Sun 29 03:00"]),
        ("0 3 * * fri-sun", ["Sat 28 03:00", "Sun 29 03:00"]),
        ("0 3 * * SUN", ["Sun 29 03:00", "Sun 06 03:00"]),
        ("0 3 * * */2", ["Sat 28 03:00", "Sun 29 03:00"]),
        ("0 3 * * 1/3", ["Mon 30 03:00", "Thu 03 03:00"]),
        ("0 3 1 * 0", ["Sun 29 03:00", "Tue 01 03:00"]),  # either of them
        ("0 3 1 1 *", ["Fri 01 03:00", "Sat 01 03:00"]),
    ],
)
def test_it_comes_due_as_cron_has_it(expression: str, expected: list[str]) -> None:
    assert due(expression, count=2) == expected


def test_it_is_read_in_utc() -> None:
    assert cron.trigger("0 3 * * *").get_next_fire_time(None, FRIDAY).utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "expression",
    [
        *("", "nope", "0 3 * *", "0 3 * * * *", "61 * * * *", "0 24 * * *", "0 3 * * 8", "0 3 * * 5-2", "0 3 * * mo"),
        *(
            "0 3 * * 1/0",
            "0 3 * * 1-",
            "0 3 * * ,",
            "0 3 0 * *",
            "0 3 * 13 *",
            "0 0 30 2 *",
            "*/0 * * * *",
            "0 3 * * -1",
        ),
    ],
)
def test_what_is_no_expression_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        cron.trigger(expression)


@given(st.sets(st.integers(0, 6), min_size=1))
def test_a_list_of_weekdays_is_those_days(days: set[int]) -> None:
    trigger = cron.trigger(f"30 4 * * {','.join(map(str, days))}")
    seen, at = set(), FRIDAY
    for _ in range(7):
        at = trigger.get_next_fire_time(None, at + timedelta(microseconds=1))
        seen.add(at.isoweekday() % 7)
    assert seen == days
