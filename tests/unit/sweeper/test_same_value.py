"""Whether a column holds a value, by the text that PostgreSQL shows of it."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper import same_value

AT = "2026-08-01T12:00:00.723456+00:00"

SAME = [
    (None, None, "numeric"),
    ("1.50", "1.5000000", "numeric"),
    ("0", "-0", "numeric(14,2)"),
    ("NaN", "NaN", "numeric"),
    ("7", "7.0", "integer"),
    ("3.33e-05", "0.0000333", "real"),
    ("0.1", "0.10000000149011612", "real"),
    ("1e+20", "100000000000000000000", "double precision"),
    ("2026-08-01 12:00:00.723456+00", AT, "timestamp with time zone"),
    ("2026-08-01 12:00:00+00", AT, "timestamp(0) with time zone"),
    ("2026-08-01 12:00:01+00", AT, "timestamp(0) with time zone"),
    ("2026-08-01 12:00:00.723", AT, "timestamp(3) without time zone"),
    ("2026-08-01", AT, "date"),
    ("infinity", "infinity", "timestamp with time zone"),
    ("active", "active  ", "character(8)"),
    ("true", "True", "boolean"),
    ("0b9a6a0e-0000-4000-8000-000000000001", "0B9A6A0E-0000-4000-8000-000000000001", "uuid"),
]
OTHER = [
    (None, "0", "numeric"),
    ("0", None, "numeric"),
    ("0.00", "0.0000333", "numeric(14,2)"),
    ("0", "NaN", "numeric"),
    ("Infinity", "1", "numeric"),
    ("$1.00", "1", "numeric"),
    ("1.23457e+08", "123456789", "real"),
    ("1.2345678901234568e+16", "12345678901234567.5", "double precision"),
    ("2026-08-01 12:00:00+00", AT, "timestamp with time zone"),
    ("2026-08-01 12:00:02+00", AT, "timestamp(0) with time zone"),
    ("2026-08-01 12:00:00.725", AT, "timestamp(3) without time zone"),
    ("2026-08-02", AT, "date"),
    ("infinity", AT, "timestamp with time zone"),
    ("1.0", "1", "text"),
    ("active", "active ", "text"),
    ("Active", "active", "character varying(9)"),
    ("active", "completed", "character(9)"),
]


@pytest.mark.parametrize(("stored", "wanted", "column_type"), SAME)
def test_the_same_value_in_other_words(stored: str | None, wanted: str | None, column_type: str) -> None:
    assert same_value.is_same(stored, wanted, column_type)


@pytest.mark.parametrize(("stored", "wanted", "column_type"), OTHER)
def test_another_value(stored: str | None, wanted: str | None, column_type: str) -> None:
    assert not same_value.is_same(stored, wanted, column_type)


def test_the_tolerance_is_of_numbers_and_of_both_directions() -> None:
    tolerance = Decimal("0.005")
    assert same_value.is_same("12.35", "12.3450", "numeric(14,2)", tolerance=tolerance)
    assert same_value.is_same("12.34", "12.3450", "numeric(14,2)", tolerance=tolerance)
    assert not same_value.is_same("12.34", "12.3450001", "numeric(14,2)", tolerance=tolerance)
    assert not same_value.is_same("12.34", "12.345", "text", tolerance=tolerance)


@given(st.decimals(allow_nan=False, allow_infinity=False), st.decimals(allow_nan=False, allow_infinity=False))
def test_numbers_are_the_same_by_value_alone(one: Decimal, other: Decimal) -> None:
    assert same_value.is_same(format(one, "f"), format(other, "f"), "numeric") == (one == other)
