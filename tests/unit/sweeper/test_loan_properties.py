"""Any row beside any loan: no rule raises, nothing but owned columns is written, and a repair leaves nothing to repair."""

from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shared.stepfi import amounts
from sweeper.stepfi.loan_links import LinkKind
from tests.unit.sweeper import loan_cases as cases
from tests.unit.sweeper.loan_cases import around, case, expected, found, link, row

OWNED = {"loan_id", "status", "remaining_balance", "completed_at", "defaulted_at", "vendor_id", "updated_at"}
AMOUNTS = st.sampled_from(
    [None, *map(Decimal, ("NaN", "Infinity", "-Infinity", "0", "-1", "100", "105.00", "20", "1E+400", "1E-400"))]
)
TIMES = st.sampled_from([None, cases.MADE, cases.DONE])
WORDS = st.sampled_from(
    [
        None,
        "",
        "pending",
        "active",
        "completed",
        "defaulted",
        "paid",
        "PENDING",
        "under_review",
        "rejected",
        "cancelled",
    ]
)
WALLETS = st.sampled_from([None, "", cases.BORROWER, cases.BORROWER.lower(), cases.STRANGER])
ROWS = st.fixed_dictionaries(
    {
        "loan_id": st.sampled_from(["7", "07", "٧", "", cases.PROVISIONAL, "9" * 5000, "loan_1"]),
        "user_wallet": WALLETS,
        "vendor_wallet": st.sampled_from([None, cases.VENDOR, cases.OTHER_VENDOR]),
        "vendor_id": st.sampled_from([None, cases.VENDOR_ROW, cases.OTHER_VENDOR_ROW]),
        **dict.fromkeys(("amount", "loan_amount", "guarantee", "remaining_balance"), AMOUNTS),
        "status": WORDS,
        "completed_at": TIMES,
        "defaulted_at": TIMES,
        "created_at": TIMES,
    }
)
KNOWN = st.sampled_from([None, Decimal(0), Decimal(100), Decimal("105.0000000"), Decimal(20), Decimal("1.7E+31")])
LOANS = st.fixed_dictionaries(
    {
        "user_wallet": st.sampled_from([None, cases.BORROWER, cases.CONTRACT_BORROWER]),
        "vendor": st.sampled_from([None, cases.VENDOR, cases.OTHER_VENDOR]),
        "status": st.sampled_from([None, "pending", "active", "completed", "defaulted", "cancelled"]),
        **dict.fromkeys(("amount", "guarantee", "remaining_balance"), KNOWN),
        "completed_at": TIMES,
        "defaulted_at": TIMES,
    }
)


@given(changed=ROWS, loan=st.none() | LOANS, kind=st.none() | st.sampled_from(LinkKind), linked=st.booleans())
def test_no_row_raises_and_a_repair_is_whole(
    changed: dict[str, Any], loan: dict[str, Any] | None, kind: LinkKind | None, linked: bool
) -> None:
    one, chain = row(**changed), None if loan is None else expected(**loan)
    surroundings = around(links=link(kind)) if kind is not None and linked else around()
    finding = found(case(one, chain), surroundings)
    if finding is None:
        return
    assert set(finding.update) <= OWNED
    assert set(finding.update) <= set(finding.guard)
    assert all(finding.guard[name] == one[name] or finding.guard[name] is one[name] for name in finding.guard)
    if not finding.update:
        return
    assert chain is not None
    terms = {"amount", "guarantee"}
    if terms & finding.columns.keys() or None in (chain["amount"], chain["guarantee"]):
        assert "remaining_balance" not in finding.update
    after = found(case({**one, **finding.update}, chain), surroundings if kind is not LinkKind.UNIQUE else around())
    assert after is None or after.update == {}
    assert after is None or after.drift_class in ("terms_mismatch", "stale_value")


@given(app=AMOUNTS, chain=KNOWN.filter(lambda one: one is not None), tolerance=st.sampled_from(["0", "0.01"]))
def test_only_a_number_is_near_an_amount(app: Decimal | None, chain: Decimal, tolerance: str) -> None:
    far = amounts.differ(app, chain, tolerance=Decimal(tolerance))
    assert far or (app is not None and app.is_finite())
    assert not amounts.differ(chain, chain, tolerance=Decimal(tolerance))


def test_the_difference_of_two_i128_keeps_all_its_digits() -> None:
    most = amounts.to_app((1 << 127) - 1, decimals=7)
    assert amounts.less(most, Decimal("0.0000001")) == amounts.to_app((1 << 127) - 2, decimals=7)
    assert amounts.differ(most, amounts.to_app((1 << 127) - 2, decimals=7), tolerance=Decimal(0))
    assert amounts.ratio(Decimal("0.001"), Decimal(100)) == Decimal("0.00001")
    assert amounts.ratio(Decimal(1), Decimal("NaN")) is None
