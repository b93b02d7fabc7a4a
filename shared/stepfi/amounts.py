"""Amounts: integers of the token's smallest unit on the chain, `Decimal` in the app, one scale between them. No float."""

from decimal import Context, Decimal

# 39 digits of an I128 and as many decimals: enough for every amount to be exact.
_EXACT = Context(prec=80)
_READ = Context(prec=12)


def to_app(amount: int, *, decimals: int) -> Decimal:
    """The chain's amount in the app's units, exactly: 1234 at 2 decimals is 12.34."""
    return _EXACT.scaleb(Decimal(amount), -decimals)


def differ(app: Decimal | None, chain: Decimal, *, tolerance: Decimal) -> bool:
    """Whether the app's amount is further from the chain's than the tolerance (both in the app's units).

    NULL, NaN and infinity, all of which a NUMERIC may hold, are far from every amount of the chain.
    """
    return app is None or not app.is_finite() or abs(_EXACT.subtract(app, chain)) > tolerance


def less(one: Decimal, other: Decimal) -> Decimal:
    """The difference, exactly: that of two I128 has more digits than a Decimal keeps by itself."""
    return _EXACT.subtract(one, other)


def ratio(one: Decimal | None, other: Decimal | None) -> Decimal | None:
    """How many times `other` is `one`, for a person to read; None where that is no number."""
    if one is None or other is None or not one.is_finite() or not other.is_finite() or other == 0:
        return None
    return _READ.divide(one, other).normalize(_READ)


def to_app_sql(column: str, *, decimals: int) -> str:
    """The same scale as a SQL expression, exactly: a product of NUMERICs is never rounded."""
    return f"{column} * CAST('1e-{decimals}' AS numeric)"
