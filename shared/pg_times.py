"""Times between PostgreSQL and Python, where PostgreSQL knows more of them: infinity, and years that Python does not count.

asyncpg gives infinity as a time without a zone, which cannot be compared with any other, and fails on years behind 9999: one such
row, and anybody may have written it, would end whoever reads it. Here the ends of Python's time stand for what lies behind them,
and a `timestamp` is read as UTC, as all our sessions have it.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

FIRST, LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
"""Minus infinity and infinity, and whatever is nearer to them than Python can tell."""
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_ENDS = {FIRST: -(1 << 63), LAST: (1 << 63) - 1}
_WORDS = {FIRST: "-infinity", LAST: "infinity"}


def decoded(sent: tuple[int]) -> datetime:
    """The time, of microseconds since 2000 as PostgreSQL sends them."""
    try:
        return _EPOCH + sent[0] * _MICROSECOND
    except OverflowError:
        return LAST if sent[0] > 0 else FIRST


def encoded(time: datetime) -> tuple[int]:
    """The opposite; raises TypeError for a time without a zone."""
    end = _ENDS.get(time)
    return ((time - _EPOCH) // _MICROSECOND if end is None else end,)


def written(time: datetime) -> str:
    """The time as the text that PostgreSQL reads."""
    return _WORDS.get(time) or time.isoformat()


async def understand(connection: Any) -> None:
    """Let an asyncpg connection read and write all times so. Nothing is sent to the server."""
    for name in ("timestamptz", "timestamp"):
        await connection.set_type_codec(name, schema="pg_catalog", encoder=encoded, decoder=decoded, format="tuple")
