"""Faust, set up to consume one topic and for nothing else, and the way to its Kafka client."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import faust
from aiokafka import AIOKafkaConsumer
from faust.app.base import BootStrategy

from shared import kafka
from shared.settings import Kafka
from streams import credentials

BUFFER_RECORDS = 64
METADATA_SECONDS = 5
"""How old what is known of the topic may be. A Kafka that is coming up may answer who coordinates the group before it tells of
topics: the worker that leads then has no partition to give out, and looks again after so long (by Faust's default: 5 minutes)."""

Answer = TypeVar("Answer")


class _ConsumerOnly(BootStrategy):
    """The worker consumes: no producer, no web server."""

    enable_kafka_producer = False
    enable_web = False


class _App(faust.App):
    BootStrategy = _ConsumerOnly
    logger = logging.getLogger("faust.chaintrue")  # else it would speak as this module, and as loud


def make(settings: Kafka, *, directory: str) -> faust.App:
    """The app; `directory` is for what Faust wants to keep, which is nothing."""
    return _App(
        settings.group,
        broker=[f"aiokafka://{server}" for server in kafka.servers(settings)],
        broker_credentials=credentials.of(settings),
        datadir=directory,
        autodiscover=False,
        processing_guarantee="at_least_once",
        consumer_auto_offset_reset="earliest",
        consumer_metadata_max_age_ms=METADATA_SECONDS * 1000,
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


def frames(app: faust.App, settings: Kafka) -> faust.TopicT:
    """The topic of the frames. Faust acknowledges none: it would count a record as done that it skipped in a rebalance."""
    return app.topic(settings.topic, value_type=bytes, value_serializer="raw", key_serializer="raw", acks=False)


async def ask(app: faust.App, question: Callable[[AIOKafkaConsumer], Awaitable[Answer]], *, seconds: float) -> Answer:
    """What Faust's Kafka client answers; it lives in a loop and a thread of its own. Raises KafkaError or TimeoutError."""
    consumer: Any = app.consumer  # its thread is the only way, and not among Faust's types
    thread = consumer._thread

    async def asked() -> Answer:
        return await question(thread._ensure_consumer())

    async with asyncio.timeout(seconds):
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(asked(), thread.thread_loop))
