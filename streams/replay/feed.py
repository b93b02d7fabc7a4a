"""The feed of the fold: every fact that a fold takes, sorted by PostgreSQL, so that no history is too large.

The payload stands beside the fact's place as it was decoded, so that nothing is decoded twice. The table is a temporary one: no
other session can read or write it, and it is gone with ours.
"""

import pickle
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from shared import database
from streams.facts import Fact

PAGE_ROWS = 1000
_CREATE = 'CREATE TEMPORARY TABLE feed (scope smallint, key text COLLATE "C", position text COLLATE "C", payload bytea)'
_SORTED = "SELECT scope, key, position, payload FROM pg_temp.feed ORDER BY key, position"
_COLUMNS = ("scope", "key", "position", "payload")
FeedRow = tuple[int, str, str, bytes]
"""The number of the scope, the fact's key and position, and the fact packed."""
_place = itemgetter("key", "position")


@dataclass(frozen=True, slots=True)
class Place:
    """What the log tells at one position of a key. `payload` is None where it tells two things, one of which has won."""

    scope: int
    key: str
    position: str
    payload: bytes | None


def pack(fact: Fact) -> bytes:
    """The fact without its place, and without its body: a fold takes the payload."""
    return pickle.dumps((fact.kind, fact.payload, fact.at, fact.tx_hash), protocol=5)


def unpack(key: str, position: str, packed: bytes) -> Fact:
    """The fact, but for its body."""
    kind, payload, at, tx_hash = pickle.loads(packed)  # noqa: S301 - from our own session's table, which nobody else can write
    return Fact(key=key, position=position, kind=kind, body="", payload=payload, at=at, tx_hash=tx_hash)


class Feed:
    """Is filled, then read once. It has a session of its own for as long as it lives."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._raw = database.raw(connection)
        self._reading: Any = None
        self._cursor: Any = None
        self._first: list[Any] = []

    async def create(self) -> None:
        await self._raw.execute(_CREATE)

    async def add(self, rows: Iterable[FeedRow]) -> None:
        """Add rows, in any order, duplicates among them."""
        await self._raw.copy_records_to_table("feed", columns=_COLUMNS, records=rows)

    async def sort(self) -> None:
        """Begin to read: PostgreSQL sorts before it gives the first row."""
        self._reading = self._raw.transaction()
        await self._reading.start()
        self._cursor = await self._raw.cursor(_SORTED)
        self._first = await self._cursor.fetch(PAGE_ROWS)

    async def pages(self) -> AsyncIterator[list[Place]]:
        """Everything, by key and position, each place once; some rows are held at a time."""
        rows, left = self._first, list[Any]()
        while rows:
            whole, left = split([*left, *rows])
            yield places(whole)
            rows = await self._cursor.fetch(PAGE_ROWS)
        yield places(left)
        await self._reading.commit()
        await self._raw.execute("DROP TABLE pg_temp.feed")


def split(rows: list[Any]) -> tuple[list[Any], list[Any]]:
    """The rows (sorted, not empty), and apart from them those of the last place: more of it may come."""
    last = _place(rows[-1])
    cut = len(rows) - 1
    while cut > 0 and _place(rows[cut - 1]) == last:
        cut -= 1
    return rows[:cut], rows[cut:]


def places(rows: Iterable[Any]) -> list[Place]:
    """The rows (sorted) with each place once. A fact that came twice is one; two that differ are left to what was stored."""
    found = []
    for (key, position), same in groupby(rows, key=_place):
        first, *more = same
        agreed = all(other["payload"] == first["payload"] for other in more)
        found.append(Place(first["scope"], key, position, first["payload"] if agreed else None))
    return found
