"""The fold of a whole history: each key once, from its first fact to its last, into tables that are empty."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import database
from streams.application import Application
from streams.facts import Fact
from streams.fold import Fold, State
from streams.replay.feed import Feed, Place, unpack
from streams.replay.shadow import SHADOW

ROWS = 2000
"""State rows that are written at a time."""

_STORED = f"SELECT kind, body::text AS body FROM {SHADOW}.facts WHERE key = $1 AND position = $2"


class Folder:
    """Folds what the feed gives; `connection` commits each statement, and is used for nothing else meanwhile."""

    def __init__(
        self, *, connection: AsyncConnection, applications: Sequence[Application], on_progress: Callable[[int], None]
    ) -> None:
        self._applications = applications
        self._folds = [{fold.prefix: fold for fold in one.folds} for one in applications]
        self._raw = database.raw(connection)
        self._rows = Rows(self._raw)
        self._on_progress = on_progress
        self._key: str | None = None
        self._fold: Fold | None = None
        self._state: State | None = None

    async def run(self, feed: Feed) -> None:
        """Fold everything, and write the rows."""
        folded = 0
        async for places in feed.pages():
            facts = {place: await self._stored(place) for place in places if place.payload is None}
            self._take(places, facts)
            await self._rows.write_full()
            folded += len(places)
            self._on_progress(folded)
        self._end()
        await self._rows.write_all()

    def _take(self, places: Iterable[Place], stored: dict[Place, Fact]) -> None:
        for place in places:
            if place.key != self._key:
                self._end()
                self._key, self._state = place.key, None
                self._fold = self._folds[place.scope][place.key.partition(":")[0]]
            packed = place.payload
            fact = stored[place] if packed is None else unpack(place.key, place.position, packed)
            if self._fold is not None:
                self._state = self._fold.step(self._state, fact)

    def _end(self) -> None:
        """No more facts of the key: its state is what the table is to hold."""
        if self._fold is not None and self._state is not None:
            self._rows.add(self._fold.table, self._fold.write(self._state))

    async def _stored(self, place: Place) -> Fact:
        """The fact that has won, where the log tells two things at one place."""
        row = await self._raw.fetchrow(_STORED, place.key, place.position)
        return self._applications[place.scope].restore(
            key=place.key, position=place.position, kind=row["kind"], body=row["body"]
        )


class Rows:
    """State rows on their way into their tables, some thousands at a time; the last ones sent while the next are made."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._waiting: dict[str, tuple[Table, list[Sequence[Any]]]] = {}

    def add(self, table: Table, row: Sequence[Any]) -> None:
        self._waiting.setdefault(table.name, (table, []))[1].append(row)

    async def write_full(self) -> None:
        """Write what has become many."""
        await self._write(ROWS)

    async def write_all(self) -> None:
        await self._write(1)

    async def _write(self, least: int) -> None:
        for name, (table, rows) in list(self._waiting.items()):
            if len(rows) >= least:
                columns = [column.name for column in table.columns]
                await self._raw.copy_records_to_table(name, schema_name=SHADOW, columns=columns, records=rows)
                del self._waiting[name]
