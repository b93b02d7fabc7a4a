"""Times that PostgreSQL knows and Python does not."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.pg_times import FIRST, LAST, decoded, encoded, written

MICROSECONDS_OF_A_YEAR = 366 * 86_400 * 10**6


@given(st.datetimes(timezones=st.timezones()))
def test_a_time_is_the_same_after_it_was_sent_and_read(time: datetime) -> None:
    assert decoded(encoded(time)) == time.astimezone(
        UTC
    )  # across zones an hour that comes twice is equal to no other time


def test_microseconds_count_from_2000() -> None:
    assert encoded(datetime(2000, 1, 1, tzinfo=UTC)) == (0,)
    assert encoded(datetime(1999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-1)))) == (0,)
    assert decoded((1_500_000,)) == datetime(2000, 1, 1, 0, 0, 1, 500_000, tzinfo=UTC)


def test_infinity_is_the_end_of_all_times_on_both_ways() -> None:
    assert (encoded(LAST), encoded(FIRST)) == (((1 << 63) - 1,), (-(1 << 63),))
    assert (decoded(encoded(LAST)), decoded(encoded(FIRST))) == (LAST, FIRST)
    assert (written(LAST), written(FIRST)) == ("infinity", "-infinity")
    assert written(datetime(2026, 8, 1, tzinfo=UTC)) == "2026-08-01T00:00:00+00:00"


def test_years_that_python_does_not_count_are_beyond_its_ends() -> None:
    assert decoded((8_000 * MICROSECONDS_OF_A_YEAR,)) == LAST
    assert decoded((-2_001 * MICROSECONDS_OF_A_YEAR,)) == FIRST


def test_a_time_without_a_zone_is_none() -> None:
    with pytest.raises(TypeError):
        encoded(datetime(2026, 8, 1))  # noqa: DTZ001 - that is the mistake
