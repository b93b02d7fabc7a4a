"""The feed of the fold: every fact that a fold takes, sorted by PostgreSQL, so that no history is too large.

The payload stands beside the fact's place as it was decoded, so that nothing is decoded twice. The table is a temporary one: no
other session can read or write it, and it is gone with ours.
"""

from collections.abc import AsyncGenerator, Iterable, Iterator
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from shared import database

FeedRow = tuple[int, str, str, bytes]
"""The number of the scope, the fact's key and position, and the fact packed."""
Place = tuple[int, str, str, bytes | None]
"""The same of what has won at a place: None stands for one of several facts that differ, which the stored facts tell."""

PAGE_ROWS = 500
_CREATE = 'CREATE TEMPORARY TABLE feed (scope smallint, key text COLLATE "C", position text COLLATE "C", fact bytea)'
_SORTED = "SELECT scope, key, position, fact FROM pg_temp.feed ORDER BY key, position"
_COLUMNS = ("scope", "key", "position", "fact")
_KEY, _POSITION, _FACT = 1, 2, 3


class Feed:
    """Is filled, then read once. It has a session of its own for as long as it lives."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._raw = database.raw(connection)

    async def create(self) -> None:
        await self._raw.execute(_CREATE)

    async def add(self, rows: Iterable[FeedRow]) -> None:
        """Add rows, in any order, duplicates among them."""
        await self._raw.copy_records_to_table("feed", columns=_COLUMNS, records=rows)

    async def pages(self) -> AsyncGenerator[Iterator[Place], None]:
        """Everything, by key and position, each place once; some rows are held at a time."""
        async with self._raw.transaction():
            cursor = await self._raw.cursor(_SORTED)
            left: list[Any] = []
            while rows := await cursor.fetch(PAGE_ROWS):
                whole, left = split([*left, *rows])
                yield places(whole)
            yield places(left)
        await self._raw.execute("DROP TABLE pg_temp.feed")


def split(rows: list[Any]) -> tuple[list[Any], list[Any]]:
    """The rows (sorted, not empty), and apart from them those of the last place: more of it may come."""
    key, position = rows[-1][_KEY], rows[-1][_POSITION]
    cut = len(rows) - 1
    while cut > 0 and rows[cut - 1][_POSITION] == position and rows[cut - 1][_KEY] == key:
        cut -= 1
    return rows[:cut], rows[cut:]


def places(rows: Iterable[Any]) -> Iterator[Place]:
    """The rows (sorted) with each place once. A fact that came twice is one."""
    held: Any = None
    for row in rows:
        if held is None:
            held = tuple(row)
        elif row[_POSITION] != held[_POSITION] or row[_KEY] != held[_KEY]:
            yield held
            held = tuple(row)
        elif row[_FACT] != held[_FACT]:
            held = (*held[:_FACT], None)
    if held is not None:
        yield held
