"""Whether a column holds a value: the text that PostgreSQL shows of it against the text that was to be written. Pure.

The value that was wanted counts, not what its column would make of it: numeric(14,2) makes 0.00 of 0.0000333, and that is
another amount. Only a time may lose what its column does not keep (a fraction of a second, or the time of day in a date).
"""

import re
import struct
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal, InvalidOperation

MODIFIER = re.compile(r"\([^)]*\)")
"""What a type says in brackets: length, scale or precision."""
_NUMBERS = frozenset({"smallint", "integer", "bigint", "numeric", "real", "double precision"})
_PRECISION = re.compile(r"\((\d)\)")
_EXACT = Context(prec=1_000)
_NONE = Decimal(0)


def is_same(stored: str | None, wanted: str | None, column_type: str, *, tolerance: Decimal = _NONE) -> bool:
    """Return whether a column of this type (no domain: its base type) holds the wanted value.

    An amount may be off by the tolerance. Blanks at the end of a `character(n)` mean nothing.
    """
    if stored is None or wanted is None or stored == wanted:
        return stored == wanted
    kind = MODIFIER.sub("", column_type)
    if kind in _NUMBERS:
        return _is_same_number(stored, wanted, tolerance) or (kind == "real" and _is_spelling_of(stored, wanted))
    if kind == "date" or kind.startswith("timestamp"):
        return _is_same_time(stored, wanted, column_type)
    if kind in ("boolean", "uuid"):
        return stored.lower() == wanted.lower()
    return kind == "character" and stored.rstrip(" ") == wanted.rstrip(" ")


def _is_same_number(stored: str, wanted: str, tolerance: Decimal) -> bool:
    try:
        one, other = Decimal(stored), Decimal(wanted)
    except InvalidOperation:
        return False
    if not (one.is_finite() and other.is_finite()):
        return False  # NaN and infinity have one spelling each
    return one == other or (bool(tolerance) and abs(_EXACT.subtract(one, other)) <= tolerance)


def _is_spelling_of(stored: str, wanted: str) -> bool:
    """Whether the wanted text is the stored `real` as a wider number shows it: 0.10000000149011612 is the real 0.1."""
    try:
        (widened,) = struct.unpack("f", struct.pack("f", float(stored)))
        return Decimal(repr(widened)) == Decimal(wanted)
    except (ValueError, OverflowError, InvalidOperation):
        return False


def _is_same_time(stored: str, wanted: str, column_type: str) -> bool:
    try:
        one, other = _time(stored), _time(wanted)
    except ValueError:
        return False  # infinity, or a year that Python does not count
    if column_type == "date":
        return one.date() == other.date()
    precision = _PRECISION.search(column_type)
    return abs(one - other) < timedelta(microseconds=10 ** (6 - int(precision[1] if precision else 6)))


def _time(told: str) -> datetime:
    """The time in UTC; one without a zone was written as UTC."""
    time = datetime.fromisoformat(told)
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
