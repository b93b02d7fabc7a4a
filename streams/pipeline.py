"""Decoding and applying, side by side: while PostgreSQL takes a batch, the next one is decoded in a thread.

At most one batch waits between the two, so memory is that of three batches. The first that fails ends both.
"""

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

import structlog
from sqlalchemy.exc import DBAPIError

from shared import errors, metrics, transient
from streams.apply import Applied, Batch, Record

log = structlog.get_logger()

RETRY_SECONDS = 60.0
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5.0
SWITCH_SECONDS = 0.0005
"""A thread that decodes hands the interpreter over so soon. At the usual 5 ms each answer of PostgreSQL would wait for that."""
YOUNG_OBJECTS = 1_000_000
"""The batches in work are some hundred thousand objects, none of them in a cycle: to look for garbage among them after each 700
costs a fifth of the time."""


class Applies(Protocol):
    def prepare(self, partition: int, records: Sequence[Record]) -> Batch: ...
    async def write(self, batch: Batch) -> Applied: ...


def tune() -> None:
    """Set the interpreter for much decoding; for a process that does little else."""
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.set_threshold(YOUNG_OBJECTS, 20, 50)
    gc.freeze()


class Pipeline:
    """Applies batches of records, in their order. `on_applied` hears of each, with its partition."""

    def __init__(
        self,
        applies: Applies,
        *,
        on_applied: Callable[[int, Applied], None],
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self._applies = applies
        self._on_applied = on_applied
        self._retry_seconds = retry_seconds
        self._in_work = 0

    @property
    def idle(self) -> bool:
        """Whether all batches that were given are applied."""
        return not self._in_work

    async def run(self, batches: AsyncIterator[tuple[int, Sequence[Record]]]) -> None:
        """Until the batches end, or the first failure: of the decoding, of the applying, or of what gives the batches."""
        decoded: asyncio.Queue[Batch | None] = asyncio.Queue(maxsize=1)
        decoding = asyncio.ensure_future(self._decode(batches, decoded))
        applying = asyncio.ensure_future(self._write_all(decoded))
        try:
            await asyncio.wait({decoding, applying}, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for task in (decoding, applying):
                task.cancel()
            await asyncio.wait({decoding, applying})
        for task in (applying, decoding):
            if not task.cancelled():
                task.result()

    async def _decode(
        self, batches: AsyncIterator[tuple[int, Sequence[Record]]], decoded: "asyncio.Queue[Batch | None]"
    ) -> None:
        async for partition, records in batches:
            self._in_work += 1
            await decoded.put(await asyncio.to_thread(self._applies.prepare, partition, records))
        await decoded.put(None)

    async def _write_all(self, decoded: "asyncio.Queue[Batch | None]") -> None:
        while (batch := await decoded.get()) is not None:
            self._on_applied(batch.partition, await self._write(batch))
            self._in_work -= 1

    async def _write(self, batch: Batch) -> Applied:
        """One transaction, tried again while PostgreSQL is away."""
        now = asyncio.get_running_loop().time
        until = now() + self._retry_seconds
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                with metrics.apply_seconds.time():
                    return await self._applies.write(batch)
            except (DBAPIError, OSError, TimeoutError) as error:
                if not transient.is_transient(error):
                    raise
                words = transient.words(error)
                if now() + pause > until:
                    raise errors.DatabaseUnreachable(
                        f"CHAINTRUE_DATABASE__URL: the records could not be applied for {self._retry_seconds:g} s ({words})",
                        cure="look at PostgreSQL, then start chaintrue again: it goes on where it stopped",
                    ) from None
                log.warning("PostgreSQL does not take the records; trying again", error=words)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
