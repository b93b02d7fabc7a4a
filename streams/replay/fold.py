"""The fold of a whole history: each key once, from its first fact to its last, into tables that are empty."""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from shared import database
from streams.application import Application
from streams.facts import Fact
from streams.fold import Fold, State
from streams.replay.feed import Feed
from streams.replay.packing import Packing
from streams.replay.shadow import SHADOW

ROWS = 2000
"""State rows that are written at a time."""

_STORED = f"SELECT kind, body::text AS body FROM {SHADOW}.facts WHERE key = $1 AND position = $2"


class Folder:
    """Folds what the feed gives. `connection` commits each statement, and is used for nothing else meanwhile."""

    def __init__(
        self,
        *,
        connection: AsyncConnection,
        applications: Sequence[Application],
        packing: Packing,
        on_progress: Callable[[int], None],
    ) -> None:
        self._applications = applications
        self._folds = [{fold.prefix: fold for fold in one.folds} for one in applications]
        self._packing = packing
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
            for scope, key, position, packed in places:
                if key != self._key:
                    self._begin(scope, key)
                if packed is None:
                    fact = await self._stored(scope, key, position)
                else:
                    fact = self._packing.unpack(key, position, packed)
                self._state = self._fold.step(self._state, fact)  # type: ignore[union-attr]  # it has begun
                folded += 1
            await self._rows.write_full()
            self._on_progress(folded)
        self._end()
        await self._rows.write_all()

    def _begin(self, scope: int, key: str) -> None:
        self._end()
        self._key, self._state = key, None
        self._fold = self._folds[scope][key.partition(":")[0]]

    def _end(self) -> None:
        """No more facts of the key: its state is what the table is to hold."""
        if self._fold is not None and self._state is not None:
            self._rows.add(self._fold, self._state)

    async def _stored(self, scope: int, key: str, position: str) -> Fact:
        """The fact that has won, where the log tells two things at one place."""
        row = await self._raw.fetchrow(_STORED, key, position)
        return self._applications[scope].restore(key=key, position=position, kind=row["kind"], body=row["body"])


class Rows:
    """State rows on their way into their tables, some thousands at a time."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._waiting: dict[str, tuple[Fold, list[State]]] = {}

    def add(self, fold: Fold, state: State) -> None:
        self._waiting.setdefault(fold.prefix, (fold, []))[1].append(state)

    async def write_full(self) -> None:
        """Write what has become many."""
        await self._write(ROWS)

    async def write_all(self) -> None:
        await self._write(1)

    async def _write(self, least: int) -> None:
        for prefix, (fold, states) in list(self._waiting.items()):
            if len(states) >= least:
                await self._raw.copy_records_to_table(
                    fold.table.name, schema_name=SHADOW, columns=fold.columns, records=map(fold.write, states)
                )
                del self._waiting[prefix]
