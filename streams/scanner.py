"""One page of events, read so that it proves what it says: for the indexer and for the filling of gaps."""

from collections.abc import Sequence
from typing import Protocol

import structlog

from shared import position
from shared.rpc.answers import EventPage

log = structlog.get_logger()

EDGE_LEDGERS = 64
"""A page that begins this close to the oldest ledger may lose rows to the node's trimming while it is read."""


class EventSource(Protocol):
    """What is needed of the RPC client."""

    async def events(
        self,
        *,
        contracts: Sequence[str],
        start_ledger: int | None = None,
        cursor: str | None = None,
        limit: int = 1000,
        node: str | None = None,
    ) -> EventPage: ...


class Scanner:
    """Reads pages of all events of some contracts."""

    def __init__(self, source: EventSource, *, contracts: Sequence[str], limit: int) -> None:
        self._source = source
        self._contracts = contracts
        self._limit = limit

    async def page(self, behind: str, *, start: int | None = None) -> EventPage | None:
        """The page behind the position, or from the beginning of the ledger `start`, which then follows it.

        None where the node may have trimmed rows of it while it was read: it proves nothing, and is to be asked again.
        """
        page = await self._ask(None if start is not None else behind, start=start)
        return page if await self._stood_still(page, behind) else None

    async def _ask(
        self, cursor: str | None, *, start: int | None = None, node: str | None = None, limit: int | None = None
    ) -> EventPage:
        return await self._source.events(
            contracts=self._contracts, start_ledger=start, cursor=cursor, limit=limit or self._limit, node=node
        )

    async def _stood_still(self, page: EventPage, behind: str) -> bool:
        """Whether the node had trimmed nothing of the page's ledgers when the page had been read.

        Near the oldest ledger rows can go between the node's look at its range and its look at its rows, so the page counts only
        once the same node has answered again, and still holds the ledger at which the page begins.
        """
        first = position.complete_ledger(behind) + 1
        if first - page.oldest_ledger >= EDGE_LEDGERS:
            return True
        again = await self._ask(page.cursor, node=page.node, limit=1)
        if again.oldest_ledger <= first:
            return True
        log.info("a page at the oldest ledger was trimmed while it was read", ledger=first, oldest=again.oldest_ledger)
        return False
