"""The worker: one Faust agent over the topic, which hands batches of records to the applier.

What is applied is in PostgreSQL, offsets included (I3); Kafka's committed offset is a hint for the next start. It is committed
from what was applied, not by Faust's acknowledgements: those count a record as done that Faust itself skipped in a rebalance, and
the group would then stand ahead of the tables.

An error of the applier ends the worker. Faust would start the agent anew with the records behind the failed ones.
"""

import asyncio
import contextlib
import logging
import tempfile
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from typing import Any

import faust
import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from faust.app.base import BootStrategy
from sqlalchemy.ext.asyncio import AsyncEngine

from shared import errors, kafka
from shared.settings import Kafka
from streams import alignment, credentials, topic
from streams.apply import Applied, Record
from streams.pipeline import RETRY_SECONDS, Applies, Pipeline

log = structlog.get_logger()

TAKE_RECORDS = 64
TAKE_SECONDS = 0.1
BATCH_BYTES = 4 * 1024 * 1024
"""Records are applied in transactions of at most this size; a single record may be larger."""
BUFFER_RECORDS = 64
COMMIT_SECONDS = 1.0
STOP_SECONDS = 5.0


class _ConsumerOnly(BootStrategy):
    """The worker consumes: no producer, no web server."""

    enable_kafka_producer = False
    enable_web = False


class _App(faust.App):
    BootStrategy = _ConsumerOnly
    logger = logging.getLogger("faust.chaintrue")  # else it would speak as this module, and as loud


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

    async def run(self) -> None:
        """Raises what ended the worker: FrameInvalid, OffsetGap, TopicInvalid, DatabaseUnreachable, KafkaUnreachable."""
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
        settings = self._settings
        app = _App(
            settings.group,
            broker=[f"aiokafka://{server}" for server in kafka.servers(settings)],
            broker_credentials=credentials.of(settings),
            datadir=directory,
            autodiscover=False,
            processing_guarantee="at_least_once",
            consumer_auto_offset_reset="earliest",
            consumer_max_fetch_size=kafka.MAX_MESSAGE_BYTES,
            stream_buffer_maxsize=BUFFER_RECORDS,
            stream_wait_empty=False,
            broker_session_timeout=settings.session_timeout_seconds,
            broker_heartbeat_interval=settings.session_timeout_seconds / 3,
            broker_request_timeout=max(settings.timeout_seconds, settings.session_timeout_seconds + 1),
            topic_disable_leader=True,
            topic_allow_declare=False,
            web_enabled=False,
        )
        frames = app.topic(settings.topic, value_type=bytes, value_serializer="raw", key_serializer="raw", acks=False)

        @app.agent(frames, concurrency=1, name="apply")
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
        try:
            while not stopped.done():
                await self._commit(app)
                await asyncio.wait({stopped}, timeout=COMMIT_SECONDS)
        finally:
            await _cancel(stopped)
        if isinstance(app.crash_reason, KafkaError):
            raise kafka.unreachable(self._settings, app.crash_reason)
        if app.crash_reason is not None:
            raise app.crash_reason

    async def _consume(self, stream: Any) -> None:
        pipeline = Pipeline(self._applier, on_applied=self._note, retry_seconds=self._retry_seconds)
        async with contextlib.aclosing(stream.noack_take(TAKE_RECORDS, within=TAKE_SECONDS)) as taken:
            await pipeline.run(_batches_of(taken))

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
        thread = app.consumer._thread  # the only way to Faust's Kafka client, which lives in a loop of its own
        told = asyncio.run_coroutine_threadsafe(_tell(app, thread._ensure_consumer(), news), thread.thread_loop)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                if await asyncio.wrap_future(told):
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
