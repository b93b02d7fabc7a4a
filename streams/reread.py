"""Re-reading every entity from its ledger entry, where the events that led to its state are lost.

What is left to read is a query over the tables: entities that were not observed behind a position. A pass goes through it page
by page in bounded memory; a restart begins a new pass, which names only what is still left. When a pass found nothing to ask,
all state is known as of the oldest of the observations.
"""

from collections.abc import Sequence

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared import position
from streams.application import Application
from streams.observations import KEYS, Observations

log = structlog.get_logger()

_ANSWERED = text("""
SELECT split_part(key, ':', 2) AS key FROM chain.facts WHERE key = ANY(:absent) AND position > :since
UNION
SELECT split_part(key, ':', 3) FROM chain.facts
WHERE key >= 'undecodable:' AND key < 'undecodable;' AND split_part(key, ':', 3) = ANY(:keys) AND position > :since
""")


class Rereader:
    """One pass after the other, a request at a time."""

    def __init__(self, *, engine: AsyncEngine, application: Application, observations: Observations) -> None:
        self._engine = engine
        self._application = application
        self._observations = observations
        self._since = ""
        self._cursor: str | None = None
        self._asked = 0

    async def step(self, *, since: str, contracts: Sequence[str]) -> int | None:
        """Read the next entities that were not observed behind `since`; the ledger as of which all are known, once they are."""
        if since != self._since:
            self._since, self._cursor, self._asked = since, None, 0
        async with self._engine.connect() as connection:
            page = await self._application.unseen(
                connection, since=since, contracts=contracts, after=self._cursor, limit=KEYS
            )
            keys = await self._unanswered(connection, page.keys, since=since)
        if keys and not await self._observe(keys, since=since):
            return None  # the same page again, once the worker is back
        self._cursor = page.cursor
        if page.cursor is not None:
            return None
        asked, self._asked = self._asked, 0
        if asked:
            return None  # one more pass: what was read may name more, as the counter of loans does
        async with self._engine.connect() as connection:
            known = await self._application.seen_since(connection, since=since, contracts=contracts)
        return position.ledger_of(known or since)

    async def _observe(self, keys: Sequence[str], *, since: str) -> bool:
        _, applied = await self._observations.make(keys, min_ledger=position.ledger_of(since))
        self._asked += len(keys)
        log.info("entities are read anew from their entries", asked=self._asked)
        return applied

    async def _unanswered(self, connection: AsyncConnection, keys: Sequence[str], *, since: str) -> list[str]:
        """Without the keys whose answer tells of no state: an entry that is absent, or that this version cannot read."""
        if not keys:
            return []
        parameters = {"absent": [f"absent:{key}" for key in keys], "keys": list(keys), "since": since}
        answered = {row.key for row in await connection.execute(_ANSWERED, parameters)}
        return [key for key in keys if key not in answered]
