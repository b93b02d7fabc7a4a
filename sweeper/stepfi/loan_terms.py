"""How well one row of the application fits one loan of the chain. Pure.

Equal terms can prove a link. A possible match proves nothing: nothing that is known contradicts it, so the row may be the
loan's, and the loan must not get a second row. Anything else is contradicted.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, ROUND_HALF_UP, Context, Decimal
from enum import Enum

from shared import pg_times
from shared.stepfi import amounts
from sweeper.model import Row
from sweeper.stepfi import address_texts

AMOUNTS = ("amount", "guarantee")
_CENT = Decimal("0.01")
# NUMERIC has up to 131,072 digits before the point; an amount beyond this precision equals no amount of the chain.
_EXACT = Context(prec=200)
_ROUNDINGS = (ROUND_HALF_UP, ROUND_HALF_EVEN, ROUND_FLOOR)
_LARGEST_SHIFT = 60
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Strength(Enum):
    """What a row's terms say about one loan."""

    EQUAL = "equal"
    POSSIBLE = "possible"
    CONTRADICTED = "contradicted"


@dataclass(frozen=True, slots=True)
class Match:
    """A row and a loan. `reasons`: for a possible match, what is not equal and why that contradicts nothing."""

    strength: Strength
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """When terms count as equal, and when as possibly equal.

    window     how long after its row a loan is created
    skew       how far the application's clock and the chain's close times may disagree
    tolerance  the difference of amounts that still counts as equal, in the application's units
    unit       the token's smallest unit, in the application's units
    """

    window: timedelta
    skew: timedelta
    tolerance: Decimal
    unit: Decimal

    def closes_at(self, created_at: datetime | None) -> datetime | None:
        """Return the end of the time in which a row's loan may be created; None where no such time is known."""
        span = self.window + self.skew
        if created_at is None or created_at > pg_times.LAST - span:
            return None
        return created_at + span

    def seconds(self, created_at: datetime | None) -> tuple[Decimal, Decimal]:
        """Return the unix times between which a row's loan may be created; a row without a time has no bounds."""
        if created_at is None:
            return Decimal(0), Decimal(10) ** 20
        at, skew = _seconds(created_at - _EPOCH), _seconds(self.skew)
        return at - skew, at + _seconds(self.window) + skew


def wallet_of(row: Row) -> str | None:
    """Return the wallet that the row's text names: an address in other case, with blanks or quoted is no other wallet."""
    return address_texts.named(row["user_wallet"])


def match(row: Row, loan: Row, terms: Terms) -> Match:
    """Compare wallet, vendor, amounts and creation time; what is unknown on either side contradicts nothing."""
    if loan["borrower"] is None or wallet_of(row) != loan["borrower"]:
        return Match(Strength.CONTRADICTED)
    reasons: list[str] = []
    if row["user_wallet"] != loan["borrower"]:
        reasons.append("the row writes the wallet in another way")
    vendor, money, time = _vendor(row, loan), _amounts(row, loan, terms), _time(row, loan, terms)
    if vendor is None or money is None or time is None:
        return Match(Strength.CONTRADICTED)
    reasons += [*vendor, *money, *time]
    return Match(Strength.POSSIBLE if reasons else Strength.EQUAL, tuple(reasons))


def _vendor(row: Row, loan: Row) -> list[str] | None:
    """Return why the vendors may be the same though they are not known to be; None where they are not the same."""
    mine, its = row["vendor_wallet"], loan["vendor"]
    if its is None:
        return ["the loan's vendor is not known"]
    if mine == its:
        return []
    named = address_texts.named(mine)
    if named is None:
        return ["the row's vendor has no known wallet" if row["vendor_id"] is not None else "the row has no vendor"]
    if named == its:
        return ["the vendor's wallet is written in another way"]
    return None if address_texts.is_address(named) else ["the wallet of the row's vendor is no address"]


def _amounts(row: Row, loan: Row, terms: Terms) -> list[str] | None:
    """The same for the amounts: of the same scale each by itself, of another scale all together."""
    of_same_scale = [_amount(name, row[name], loan[name], terms) for name in AMOUNTS]
    if all(reasons is not None for reasons in of_same_scale):
        return [reason for reasons in of_same_scale for reason in reasons or ()]
    pairs = [(row[name], loan[name]) for name in AMOUNTS if _is_amount(row[name]) and loan[name] is not None]
    unknown = [name for name in AMOUNTS if not _is_amount(row[name]) or loan[name] is None]
    for shift in _shifts(pairs):
        if all(_is_scaled(mine, its, shift, terms) for mine, its in pairs):
            ratio = f"the row's amounts are 10^{shift} times the loan's: another scale"
            return [ratio, *(f"{name} is not known" for name in unknown)]
    return None


def _amount(name: str, mine: Decimal | None, its: Decimal | None, terms: Terms) -> list[str] | None:
    if its is None:
        return [f"the loan's {name} is not known"]
    if mine is None or not _is_amount(mine):
        return [f"the row's {name} is not known"]
    if not amounts.differ(mine, its, tolerance=terms.tolerance):
        return []
    if mine.adjusted() <= _LARGEST_SHIFT and abs(_EXACT.subtract(mine, its)) <= terms.unit:
        return [f"{name} is within one smallest unit of the loan's"]
    return [f"{name} equals the loan's after rounding to cents"] if _is_same_in_cents(mine, its) else None


def _is_scaled(mine: Decimal, its: Decimal, shift: int, terms: Terms) -> bool:
    """Whether the row's amount is 10^shift times the loan's: within one unit, or after rounding to cents."""
    if (mine == 0) != (its == 0):
        return False
    unit = max(terms.unit, terms.unit.scaleb(shift, _EXACT))
    is_within = abs(_EXACT.subtract(mine, its.scaleb(shift, _EXACT))) <= unit
    return is_within or _is_same_in_cents(mine.scaleb(-shift, _EXACT), its)


def _is_amount(value: Decimal | None) -> bool:
    """Whether the value is a number; NULL and NaN say nothing about the amount."""
    return value is not None and value.is_finite()


def _is_same_in_cents(mine: Decimal, its: Decimal) -> bool:
    """Whether both round to the same cents; of amounts far below a cent that says nothing, unless the row's is zero."""
    if mine.adjusted() > _LARGEST_SHIFT:
        return False
    for rounding in _ROUNDINGS:
        cents = _EXACT.subtract(mine.quantize(_CENT, rounding, _EXACT), its.quantize(_CENT, rounding, _EXACT))
        if cents == 0 and (mine == 0 or mine.quantize(_CENT, rounding, _EXACT) != 0):
            return True
    up = _EXACT.subtract(mine.quantize(_CENT, ROUND_CEILING, _EXACT), its.quantize(_CENT, ROUND_CEILING, _EXACT))
    return up == 0 and its.quantize(_CENT, ROUND_FLOOR, _EXACT) != 0


def _shifts(pairs: list[tuple[Decimal, Decimal]]) -> Iterator[int]:
    """Yield the powers of ten that may lie between the amounts, by the first pair of numbers that are not zero."""
    for mine, its in pairs:
        if mine and its:
            shift = mine.adjusted() - its.adjusted()
            yield from (one for one in (shift, shift - 1, shift + 1) if one and abs(one) <= _LARGEST_SHIFT)
            return


def _time(row: Row, loan: Row, terms: Terms) -> list[str] | None:
    if loan["created_at"] is None:
        return ["the loan's creation time is not known"]
    if row["created_at"] is None:
        return ["the row has no creation time"]
    after = loan["created_at"] - row["created_at"]
    if not -terms.skew <= after <= terms.window + terms.skew:
        return None
    if after < timedelta(0):
        return [f"the loan was created {_seconds(-after)} s before the row: within the clock skew"]
    if after > terms.window:
        return [f"the loan was created {_seconds(after - terms.window)} s after the link window: within the clock skew"]
    return []


def _seconds(span: timedelta) -> Decimal:
    return (Decimal(span // _MICROSECOND) / 1_000_000).normalize(_EXACT) + 0
