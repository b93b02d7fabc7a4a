"""Ledger entries from RPC to observation frames: for the observer, and for the re-reading of what was lost."""

from collections.abc import Sequence
from typing import Protocol

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from shared import applied, frames
from shared.rpc.answers import EntriesAnswer
from streams.indexer import FrameSink, Scope

log = structlog.get_logger()

KEYS = 200  # what getLedgerEntries takes
APPLY_SECONDS = 30.0
"""How long the worker may take to apply an observation before the work list is asked again."""


class EntrySource(Protocol):
    async def entries(
        self, *, keys: Sequence[str], min_ledger: int | None = None, node: str | None = None
    ) -> EntriesAnswer: ...


class Observations:
    """Asks for entries, writes the answers to the log, and waits until they are applied."""

    def __init__(
        self,
        *,
        engine: AsyncEngine,
        source: EntrySource,
        sink: FrameSink,
        scope: Scope,
        apply_seconds: float = APPLY_SECONDS,
    ) -> None:
        self._engine = engine
        self._source = source
        self._sink = sink
        self._scope = scope
        self._apply_seconds = apply_seconds

    async def make(self, keys: Sequence[str], *, min_ledger: int) -> tuple[int, bool]:
        """Observe up to KEYS ledger keys (base64) at `min_ledger` or later: the ledger of the answer, and whether it was applied
        in time. Until then a query over the tables would name the same keys again."""
        answer = await self._source.entries(keys=keys, min_ledger=min_ledger)
        entries = tuple(answer.entries.get(key) or frames.Entry(key=key, xdr=None) for key in keys)
        observation = frames.Observation(
            network=self._scope.network, scope=self._scope.name, latest_ledger=answer.latest_ledger, entries=entries
        )
        offsets = await self._sink.write(self._scope.partition, frames.cut_entries(observation))
        done = await applied.wait(
            self._engine, partition=self._scope.partition, offset=offsets[-1], seconds=self._apply_seconds
        )
        if not done:
            log.warning("observations are not applied yet; is a worker running?", offset=offsets[-1])
        return answer.latest_ledger, done
