"""The worker: one Faust agent over the topic, which hands batches of records to the applier.

What is applied is in PostgreSQL, offsets included (I3); Kafka's committed offset is a hint for the next start. It is committed
from what was applied, not by Faust's acknowledgements: those count a record as done that Faust itself skipped in a rebalance, and
the group would then stand ahead of the tables.

An error of the applier ends the worker. Faust would start the agent anew with the records behind the failed ones.
"""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from typing import Any, NoReturn

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from sqlalchemy.ext.asyncio import AsyncEngine

from shared import errors, kafka
from shared.settings import Kafka
from streams import alignment, faust_app, standstill, topic
from streams.apply import Applied, Record
from streams.pipeline import RETRY_SECONDS, Applies, Pipeline

log = structlog.get_logger()

TAKE_RECORDS = 64
TAKE_SECONDS = 0.1
BATCH_BYTES = 4 * 1024 * 1024
"""Records are applied in transactions of at most this size; a single record may be larger."""
COMMIT_SECONDS = 1.0
STOP_SECONDS = 5.0


def batches(records: Sequence[Record], *, limit: int = BATCH_BYTES) -> Iterator[list[Record]]:
    """The records in their order, in batches of at most `limit` bytes."""
    batch: list[Record] = []
    size = 0
    for record in records:
        weight = len(record.value or b"")
        if batch and size + weight > limit:
            yield batch
            batch, size = [], 0
        batch.append(record)
        size += weight
    if batch:
        yield batch


def by_partition(events: Iterable[Any]) -> dict[int, list[Record]]:
    """Faust's events as records, in their order within each partition."""
    found: dict[int, list[Record]] = {}
    for event in events:
        message = event.message
        record = Record(offset=message.offset, value=message.value, at=int(message.timestamp))
        found.setdefault(message.partition, []).append(record)
    return found


async def _batches_of(taken: AsyncIterable[Sequence[Any]]) -> AsyncIterator[tuple[int, list[Record]]]:
    """What was taken from Faust, by partition and in batches."""
    async for events in taken:
        for partition, records in by_partition(events).items():
            for batch in batches(records):
                yield partition, batch


class Worker:
    """Applies the topic until it is cancelled or cannot go on."""

    def __init__(
        self,
        *,
        settings: Kafka,
        engine: AsyncEngine,
        applier: Applies,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._applier = applier
        self._retry_seconds = retry_seconds
        self._applied: dict[int, int] = {}
        self._committed: dict[int, int] = {}
        self._pipeline: Pipeline | None = None
        self._left_behind = False

    async def run(self) -> None:
        """Raises what ended the worker: FrameInvalid, OffsetGap, TopicInvalid, DatabaseUnreachable, KafkaUnreachable.

        A record that was not delivered though the log has it is no reason: the worker joins its group anew, which then delivers
        from the offset that PostgreSQL waits for. Where that one is missed twice, it ends.
        """
        missed: set[tuple[int, int]] = set()
        while True:
            try:
                await self._live()
            except errors.OffsetGap as gap:
                if gap.due is None or gap.due in missed or self._left_behind:
                    raise
                missed.add(gap.due)
                log.warning("a record that is due was not delivered; joining the group anew", why=str(gap.args[0]))

    async def _live(self) -> NoReturn:
        """From joining the group to the first error."""
        self._applied, self._committed, self._pipeline = {}, {}, None
        partitions = await topic.verify(self._settings)
        await alignment.align(self._settings, self._engine, partitions=partitions)
        consumed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with tempfile.TemporaryDirectory(
            prefix="chaintrue-"
        ) as directory:  # Faust makes directories, and keeps nothing
            app = self._app(directory, consumed)
            serving = asyncio.ensure_future(self._serve(app))
            refused = asyncio.ensure_future(kafka.until_refused(self._settings))
            try:
                await asyncio.wait({serving, consumed, refused}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                await _cancel(serving)
                await _cancel(refused)
                await self._stop(app)
                _ = consumed.done() and consumed.exception()  # looked at, also when we are cancelled
        for ended in (consumed, serving, refused):
            if ended.done() and not ended.cancelled():
                ended.result()
        raise errors.ChaintrueError("the worker ended though nobody stopped it")

    def _app(self, directory: str, consumed: "asyncio.Future[None]") -> Any:
        app = faust_app.make(self._settings, directory=directory)

        @app.agent(faust_app.frames(app, self._settings), concurrency=1, name="apply")
        async def apply(stream: Any) -> None:
            # In a task of its own: an error is kept for run(), and Faust, which would start the agent anew, never sees it.
            consuming = asyncio.ensure_future(self._consume(stream))
            try:
                await asyncio.wait({consuming})
            finally:
                await _cancel(consuming)
            if not consumed.done() and not consuming.cancelled():
                _copy(consuming, consumed)

        return app

    async def _serve(self, app: Any) -> None:
        """Run the app, and tell Kafka now and then how far we are."""
        async with kafka.reaching(self._settings, seconds=self._settings.timeout_seconds * 2):
            await app.start()
        log.info("the worker is running", group=self._settings.group, topic=self._settings.topic)
        stopped = asyncio.ensure_future(app.wait_until_stopped())
        watching = asyncio.ensure_future(standstill.watch(app, self._engine, idle=self._idle))
        try:
            while not (stopped.done() or watching.done()):
                await self._commit(app)
                await asyncio.wait({stopped, watching}, timeout=COMMIT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _cancel(stopped)
            await _cancel(watching)
        if watching.done() and not watching.cancelled():
            watching.result()
        if isinstance(app.crash_reason, KafkaError):
            raise kafka.unreachable(self._settings, app.crash_reason)
        if app.crash_reason is not None:
            raise app.crash_reason

    async def _consume(self, stream: Any) -> None:
        self._pipeline = Pipeline(self._applier, on_applied=self._note, retry_seconds=self._retry_seconds)
        async with contextlib.aclosing(stream.noack_take(TAKE_RECORDS, within=TAKE_SECONDS)) as taken:
            await self._pipeline.run(_batches_of(taken))

    def _idle(self) -> bool:
        return self._pipeline is None or self._pipeline.idle

    def _note(self, partition: int, applied: Applied) -> None:
        self._applied[partition] = applied.next_offset

    async def _commit(self, app: Any) -> None:
        """Tell Kafka what was applied. It may fail: the offset is a hint, and the next one is told soon."""
        news = {
            TopicPartition(self._settings.topic, partition): offset
            for partition, offset in self._applied.items()
            if self._committed.get(partition) != offset
        }
        if not news:
            return
        try:
            if await faust_app.ask(app, lambda consumer: _tell(app, consumer, news), seconds=STOP_SECONDS):
                self._committed |= {place.partition: offset for place, offset in news.items()}
        except (KafkaError, TimeoutError) as error:
            log.debug("Kafka did not take the offsets", error=type(error).__name__)

    async def _stop(self, app: Any) -> None:
        try:
            async with asyncio.timeout(STOP_SECONDS):
                if app.started and not app.crashed:
                    await self._commit(app)
                await app.stop()
        except TimeoutError:
            self._left_behind = True  # it may still be in the group
            log.warning("Faust did not stop in time; the process ends without it")


async def _tell(app: Any, consumer: AIOKafkaConsumer, offsets: dict[TopicPartition, int]) -> bool:
    """Commit the offsets of partitions that are ours; says whether that was done. Runs in the consumer's loop.

    Not in a rebalance: Kafka refuses an offset of the generation that ends, the client then joins anew, and that is the next
    rebalance, in which the next commit is refused.
    """
    mine = {place: offset for place, offset in offsets.items() if place in consumer.assignment()}
    if app.rebalancing or len(mine) < len(offsets):
        return False
    await consumer.commit(mine)
    return True


async def _cancel(task: "asyncio.Future[None]") -> None:
    task.cancel()
    await asyncio.wait({task}, timeout=STOP_SECONDS)  # Faust may be in the middle of a start that nothing ends


def _copy(source: "asyncio.Future[None]", target: "asyncio.Future[None]") -> None:
    error = source.exception()
    if error is None:
        target.set_result(None)
    else:
        target.set_exception(error)
