"""Amounts: integers of the token's smallest unit on the chain, `Decimal` in the app, one scale between them. No float."""

from decimal import Context, Decimal

# 39 digits of an I128 and as many decimals: enough for every amount to be exact.
_EXACT = Context(prec=80)


def to_app(amount: int, *, decimals: int) -> Decimal:
    """The chain's amount in the app's units, exactly: 1234 at 2 decimals is 12.34."""
    return _EXACT.scaleb(Decimal(amount), -decimals)


def same(chain: int, app: Decimal, *, decimals: int, tolerance: Decimal) -> bool:
    """Whether the app's amount is the chain's, up to the tolerance (in the app's units)."""
    return abs(_EXACT.subtract(to_app(chain, decimals=decimals), app)) <= tolerance


def to_app_sql(column: str, *, decimals: int) -> str:
    """The same scale as a SQL expression, exactly: a product of NUMERICs is never rounded."""
    return f"{column} * CAST('1e-{decimals}' AS numeric)"
