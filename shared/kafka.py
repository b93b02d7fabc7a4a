"""Connections to Kafka: an admin client, readers and a writer of frames, each opened and closed within a deadline.

Whatever keeps us from Kafka ends in KafkaUnreachable, which names the setting.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Protocol

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from aiokafka.producer.message_accumulator import BatchBuilder

from shared import errors, frames, kafka_faults, metrics
from shared.settings import Kafka, environment_name

log = structlog.get_logger()

MAX_MESSAGE_BYTES = 8 * 1024 * 1024
"""A frame is cut at 64 KiB, but a single event or entry may be larger. Far above what a ledger can hold."""
RECORD_OVERHEAD_BYTES = 128  # more than the headers of a record and its batch take
BATCH_BYTES = 256 * 1024
"""Size of a record batch before compression. Four frames an acknowledgement are quicker than one frame each, sent ahead."""
CLOSE_SECONDS = 5.0
PRODUCE_SECONDS = 60.0
"""How long a frame may wait for its acknowledgement. A broker that restarts is back by then."""
LOOK_SECONDS = 20.0
REFUSALS = 3
"""So many refusals in a row, LOOK_SECONDS apart, and no waiting will mend it."""


def servers(settings: Kafka) -> list[str]:
    """The bootstrap servers, each `host:port`."""
    if settings.bootstrap_servers is None:
        raise errors.SettingError("the Kafka address is used before it was required")
    return [server.strip() for server in settings.bootstrap_servers.split(",") if server.strip()]


def security(settings: Kafka) -> dict[str, Any]:
    """What every client is told of TLS and users, in aiokafka's words; Faust's are made of it, too. Holds the password.

    Raises SettingError for a file of certificates that is no longer what it was when the settings were read.
    """
    options: dict[str, Any] = {
        "security_protocol": settings.security_protocol.value,
        "ssl_context": settings.ssl_context(),
    }
    if settings.sasl_mechanism is not None and settings.sasl_password is not None:
        options |= {
            "sasl_mechanism": settings.sasl_mechanism.value,
            "sasl_plain_username": settings.sasl_username,
            "sasl_plain_password": settings.sasl_password.get_secret_value(),
        }
    return options


def _connection(settings: Kafka) -> dict[str, Any]:
    """What all clients have in common."""
    return {
        "bootstrap_servers": servers(settings),
        "request_timeout_ms": int(settings.timeout_seconds * 1000),
        **security(settings),
    }


def unreachable(settings: Kafka, cause: BaseException) -> errors.KafkaUnreachable:
    """The error for `cause`, in the words of the setting."""
    if refusal := kafka_faults.refusal(cause, settings):
        return refusal
    variable = environment_name("kafka", "bootstrap_servers")
    words = str(cause).strip().partition("\n")[0] or type(cause).__name__
    if isinstance(cause, TimeoutError):
        words = f"no answer within {settings.timeout_seconds:g} s"
    return errors.KafkaUnreachable(
        f"{variable}: Kafka at {settings.bootstrap_servers} cannot be used ({words})",
        cure=f"start Kafka there, or correct {variable}",
    )


@asynccontextmanager
async def reaching(settings: Kafka, *, seconds: float | None = None) -> AsyncIterator[None]:
    """Bound the block by `seconds` (the setting's time-out); its failures become KafkaUnreachable."""
    try:
        async with asyncio.timeout(settings.timeout_seconds if seconds is None else seconds):
            yield
    except (KafkaError, OSError, TimeoutError) as error:
        raise unreachable(settings, error) from None


async def until_refused(settings: Kafka) -> None:
    """Look now and then whether Kafka still takes our certificate, user and password; raises KafkaRefused once it does not.

    For clients that would try for ever, and never say why: those of Faust. Some brokers ask another server about their users,
    so a single refusal counts for nothing.
    """
    refused = 0
    shown = security(settings)  # what those clients show: files that were exchanged meanwhile are for the next start
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        cause = await kafka_faults.diagnose(servers(settings), settings, shown)
        refusal = None if cause is None else kafka_faults.refusal(cause, settings)
        refused = 0 if refusal is None else refused + 1
        if refusal is not None and refused == REFUSALS:
            raise refusal


class _Client(Protocol):
    async def start(self) -> None: ...
    async def stop(self) -> None: ...


@asynccontextmanager
async def _running(client: _Client, settings: Kafka) -> AsyncIterator[None]:
    try:
        await _start(client, settings)
        yield
    finally:
        await _close(client)


async def _start(client: _Client, settings: Kafka) -> None:
    """Start the client within the deadline. It says only that it failed, so on a failure we look for the cause ourselves."""
    try:
        async with asyncio.timeout(settings.timeout_seconds):
            await client.start()
    except TimeoutError as error:
        raise unreachable(settings, error) from None
    except (KafkaError, OSError, ValueError) as error:  # ValueError: a server that does not prove to know the password
        cause = await kafka_faults.diagnose(servers(settings), settings, security(settings)) or error
        known = kafka_faults.refusal(cause, settings) or kafka_faults.guess(cause, settings)
        raise known or unreachable(settings, cause) from None


async def _close(client: _Client) -> None:
    """Stop the client, or leave it: a broker that is gone must not keep us from ending."""
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await client.stop()
    except (KafkaError, OSError, TimeoutError) as error:
        log.warning("a Kafka client did not close cleanly", error=type(error).__name__)


class _Admin:
    """The admin client under the names that the others use."""

    def __init__(self, client: AIOKafkaAdminClient) -> None:
        self._client = client

    async def start(self) -> None:
        await self._client.start()

    async def stop(self) -> None:
        await self._client.close()


@asynccontextmanager
async def admin(settings: Kafka) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(**_connection(settings))
    async with _running(_Admin(client), settings):
        yield client


@asynccontextmanager
async def consumer(settings: Kafka, *, group: str | None = None) -> AsyncIterator[AIOKafkaConsumer]:
    """A reader that joins no group: with `group` it may commit offsets for it, while nobody is in it."""
    client = AIOKafkaConsumer(
        **_connection(settings),
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="none",  # an offset that is gone is an error, never a silent jump
        max_partition_fetch_bytes=MAX_MESSAGE_BYTES,
    )
    async with _running(client, settings):
        yield client


class Writer:
    """Writes frames: in order, once, acknowledged by all in-sync replicas."""

    def __init__(self, client: AIOKafkaProducer, settings: Kafka) -> None:
        self._client = client
        self._settings = settings

    async def write(self, partition: int, batch: Iterable[frames.Frame]) -> list[int]:
        """Write the frames in their order, wait until all are acknowledged, and return their offsets.

        Whatever fails, the log never holds a frame without those before it: a record batch is stored whole or not at all, and
        the next is sent only after its acknowledgement. Idempotence alone does not give this: aiokafka drops a batch that expires
        without a leader and sends those behind it, and a broker takes any first sequence number of a producer new to it.

        Raises KafkaUnreachable after PRODUCE_SECONDS. The last batch may stand in the log nevertheless, so the caller asks the
        log for its position before it writes again. Raises FrameInvalid for a frame over the topic's message limit.
        """
        offsets: list[int] = []
        try:
            async with asyncio.timeout(PRODUCE_SECONDS):
                records = self._client.create_batch()
                for frame in batch:
                    value = frames.encode(frame)
                    if not _append(records, value):
                        offsets += await self._send(partition, records)
                        records = self._client.create_batch()
                        _append(records, value)  # the first record of a batch may exceed BATCH_BYTES
                    metrics.frames_produced_total.labels(_kind(frame)).inc()
                if records.record_count():
                    offsets += await self._send(partition, records)
                return offsets
        except MessageSizeTooLargeError:
            raise errors.FrameInvalid(
                f"an event or entry does not fit into a message of {MAX_MESSAGE_BYTES} bytes",
            ) from None
        except (KafkaError, OSError, TimeoutError) as error:
            words = TimeoutError(f"no acknowledgement within {PRODUCE_SECONDS:g} s")
            raise unreachable(self._settings, words if isinstance(error, TimeoutError) else error) from None

    async def _send(self, partition: int, records: BatchBuilder) -> range:
        """Send one record batch, wait for its acknowledgement, and return the offsets of its records."""
        records.close()
        sent = await self._client.send_batch(records, self._settings.topic, partition=partition)
        metadata = await sent
        return range(metadata.offset, metadata.offset + records.record_count())


def _append(records: BatchBuilder, value: bytes) -> bool:
    """Append a record to the batch; return False where the batch is full. Raises MessageSizeTooLargeError."""
    if len(value) + RECORD_OVERHEAD_BYTES > MAX_MESSAGE_BYTES:  # `send` of aiokafka checks it, `send_batch` does not
        raise MessageSizeTooLargeError
    return records.append(timestamp=None, key=None, value=value) is not None


def _kind(frame: frames.Frame) -> str:
    return frame.kind if isinstance(frame, frames.Page) else type(frame).__name__.lower()


@asynccontextmanager
async def writer(settings: Kafka) -> AsyncIterator[Writer]:
    """A writer of frames: with idempotence a batch is retried until acknowledged, and never stands twice or out of order."""
    client = AIOKafkaProducer(
        **_connection(settings),
        enable_idempotence=True,
        acks="all",
        compression_type="lz4",
        max_batch_size=BATCH_BYTES,
        max_request_size=MAX_MESSAGE_BYTES,
    )
    async with _running(client, settings):
        yield Writer(client, settings)
