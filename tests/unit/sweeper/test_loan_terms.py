"""How well a row fits a loan: equal, possible with its reasons, or contradicted."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import pg_times, strkey
from sweeper.stepfi.loan_terms import Match, Strength, Terms, match, wallet_of

AT = datetime(2026, 8, 1, 12, 0, 0, 250_000, tzinfo=UTC)
WINDOW, SKEW, TICK = timedelta(hours=1), timedelta(seconds=120), timedelta(microseconds=1)
LATER = timedelta(seconds=5)
VENDOR = strkey.encode_account(bytes(32))
TERMS = Terms(window=WINDOW, skew=SKEW, tolerance=Decimal(0), unit=Decimal("0.0000001"))
ROW = {
    "user_wallet": "GB",
    "vendor_id": 1,
    "vendor_wallet": "GV",
    "amount": Decimal("100.00"),
    "guarantee": Decimal("20.00"),
    "created_at": AT,
}
LOAN = {
    "borrower": "GB",
    "vendor": "GV",
    "amount": Decimal("100.0000000"),
    "guarantee": Decimal("20.0000000"),
    "created_at": AT + LATER,
}


def fit(row: dict[str, Any], loan: dict[str, Any], *, tolerance: str = "0") -> Match:
    terms = Terms(window=WINDOW, skew=SKEW, tolerance=Decimal(tolerance), unit=TERMS.unit)
    return match({**ROW, **row}, {**LOAN, **loan}, terms)


def money(amount: str, guarantee: str) -> dict[str, Decimal]:
    return {"amount": Decimal(amount), "guarantee": Decimal(guarantee)}


@pytest.mark.parametrize("row", [{}, {"created_at": AT + LATER}, {"created_at": AT + LATER - WINDOW}])
def test_equal_terms(row: dict[str, Any]) -> None:
    assert fit(row, {}) == Match(Strength.EQUAL)


@pytest.mark.parametrize(
    ("row", "loan", "reason"),
    [
        ({"user_wallet": "gb"}, {}, "wallet in another way"),
        ({"user_wallet": " GB\t"}, {}, "wallet in another way"),
        ({"vendor_id": None, "vendor_wallet": None}, {}, "the row has no vendor"),
        ({"vendor_wallet": None}, {}, "vendor has no known wallet"),
        ({"vendor_wallet": " "}, {}, "vendor has no known wallet"),
        ({"vendor_wallet": "gv"}, {}, "written in another way"),
        ({"vendor_wallet": "GX"}, {}, "is no address"),
        ({"vendor_wallet": VENDOR[:-1] + "7"}, {}, "is no address"),
        ({"vendor_wallet": f'"{VENDOR}"'}, {"vendor": VENDOR}, "written in another way"),
        (money("33.34", "6.67"), money("33.3333333", "6.6666666"), "rounding to cents"),
        (money("3333", "667"), money("33.3333333", "6.6666666"), "10^2 times"),
        ({}, {"vendor": None}, "loan's vendor is not known"),
        ({"amount": None}, {}, "row's amount is not known"),
        ({"amount": Decimal("NaN")}, {}, "row's amount is not known"),
        ({"guarantee": Decimal("-Infinity")}, {}, "row's guarantee is not known"),
        ({}, {"amount": None, "guarantee": None}, "loan's amount is not known"),
        ({"guarantee": Decimal("20.0000001")}, {}, "guarantee is within one smallest unit"),
        (money("99.9999999", "20.0000001"), {}, "amount is within one smallest unit"),
        ({"amount": Decimal("33.33")}, {"amount": Decimal("33.3333333")}, "rounding to cents"),
        ({"amount": Decimal("33.34")}, {"amount": Decimal("33.3350000")}, "rounding to cents"),
        ({"amount": Decimal("66.66")}, {"amount": Decimal("66.6666666")}, "rounding to cents"),
        (money("0.00", "0.00"), money("0.0000333", "0.0000066"), "rounding to cents"),
        ({}, money("0.001", "0.0002"), "10^5 times"),
        ({}, money("1000", "200"), "10^-1 times"),
        (money("100", "0"), money("0.001", "0"), "10^5 times"),
        ({"guarantee": None}, {"amount": Decimal("0.001")}, "10^5 times"),
        (money("0.0010001", "0.0002"), money("100", "20"), "10^-5 times"),
        ({"created_at": None}, {}, "no creation time"),
        ({}, {"created_at": None}, "creation time is not known"),
        ({}, {"created_at": AT - TICK}, "0.000001 s before the row"),
        ({}, {"created_at": AT - SKEW}, "120 s before the row"),
        ({}, {"created_at": AT + WINDOW + TICK}, "0.000001 s after the link window"),
        ({}, {"created_at": AT + WINDOW + SKEW}, "120 s after the link window"),
    ],
)
def test_a_possible_match_says_why(row: dict[str, Any], loan: dict[str, Any], reason: str) -> None:
    found = fit(row, loan)
    assert found.strength is Strength.POSSIBLE
    assert reason in ", ".join(found.reasons)


@pytest.mark.parametrize(
    ("row", "loan"),
    [
        ({"user_wallet": "GX"}, {}),
        ({"user_wallet": None}, {}),
        ({"user_wallet": None}, {"borrower": None}),
        ({"vendor_wallet": VENDOR}, {}),
        ({"amount": Decimal("100.01")}, {}),
        ({"guarantee": Decimal("19.99")}, {}),
        ({"amount": Decimal(-100)}, {}),
        (money("0.0000333", "0.0000066"), money("0.0000444", "0.0000066")),  # both are no cents at all
        (money("0.01", "0.00"), money("0.0000333", "0.0000066")),
        (money("1000", "20"), {}),
        (money("1000", "2000"), {}),
        (money("1000", "0"), {}),
        (money("0", "0"), {}),
        ({"amount": Decimal("1E+400")}, {}),
        ({"amount": Decimal("1E+400"), "guarantee": Decimal("2E+399")}, {}),
        ({}, {"created_at": AT - SKEW - TICK}),
        ({}, {"created_at": AT + WINDOW + SKEW + TICK}),
        ({"created_at": pg_times.FIRST}, {}),
        ({"created_at": pg_times.LAST}, {}),
        ({"vendor_wallet": None, "amount": Decimal(7)}, {}),
    ],
)
def test_whatever_is_known_to_differ_contradicts(row: dict[str, Any], loan: dict[str, Any]) -> None:
    assert fit(row, loan).strength is Strength.CONTRADICTED


def test_the_tolerance_is_of_each_amount() -> None:
    assert fit(money("100.01", "19.99"), {}, tolerance="0.01").strength is Strength.EQUAL
    assert fit({"amount": Decimal("100.02")}, {}, tolerance="0.01").strength is Strength.CONTRADICTED


def test_a_moment_is_the_same_in_every_time_zone() -> None:
    west = timezone(timedelta(hours=-8))
    assert fit({"created_at": AT.astimezone(west)}, {"created_at": AT}).strength is Strength.EQUAL
    assert fit({}, {"created_at": (AT + WINDOW).astimezone(west)}).strength is Strength.EQUAL


def test_all_reasons_are_told() -> None:
    found = fit({"vendor_wallet": None, "created_at": AT + timedelta(seconds=7)}, {"guarantee": Decimal("20.0000001")})
    assert (found.strength, len(found.reasons)) == (Strength.POSSIBLE, 3)


def test_when_the_window_closes_and_which_times_are_read() -> None:
    assert TERMS.closes_at(AT) == AT + WINDOW + SKEW
    assert (TERMS.closes_at(None), TERMS.closes_at(pg_times.LAST)) == (None, None)
    at = Decimal("1785585600.25")
    assert TERMS.seconds(AT) == (at - 120, at + 3720)
    assert TERMS.seconds(None)[0] == 0
    assert TERMS.seconds(pg_times.LAST)[1] < TERMS.seconds(None)[1]


def test_a_wallet_is_the_address_that_its_text_names() -> None:
    texts: list[Any] = ["GB", " gb ", "", "  ", None]
    assert [wallet_of({"user_wallet": text}) for text in texts] == ["GB", "GB", None, None, None]


AMOUNTS = st.none() | st.decimals(allow_nan=True, allow_infinity=True) | st.decimals(-100, 100, places=7)
CHAIN = st.none() | st.integers(0, (1 << 127) - 1).map(lambda n: Decimal(n).scaleb(-7))
TIMES = (
    st.none() | st.sampled_from([pg_times.FIRST, pg_times.LAST]) | st.timedeltas(-WINDOW, WINDOW).map(lambda d: AT + d)
)


@given(
    row=st.fixed_dictionaries({"amount": AMOUNTS, "guarantee": AMOUNTS, "created_at": TIMES}),
    loan=st.fixed_dictionaries({"amount": CHAIN, "guarantee": CHAIN}),
)
def test_no_row_raises_and_equal_terms_have_no_reasons(row: dict[str, Any], loan: dict[str, Any]) -> None:
    found = fit(row, loan)
    assert (found.strength is Strength.POSSIBLE) == bool(found.reasons)


@given(raw=st.integers(1, 10**12), guarantee=st.integers(0, 10**12), shift=st.integers(-7, 7).filter(bool))
def test_every_power_of_ten_is_seen(raw: int, guarantee: int, shift: int) -> None:
    amount, its = Decimal(raw).scaleb(-7), Decimal(guarantee).scaleb(-7)
    found = fit({"amount": amount.scaleb(shift), "guarantee": its.scaleb(shift)}, {"amount": amount, "guarantee": its})
    assert found.strength is Strength.POSSIBLE
