"""While the stream runs: is the topic still the log that the tables were filled from?

A topic can be deleted, made anew or truncated under a running stream. Kafka's client would go on at the first record that is
there, and the worker would skip all that stands below its offset as applied before: records would be lost without a word.
"""

import asyncio

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from shared import errors, transient
from shared.settings import Kafka
from streams import alignment, topic

log = structlog.get_logger()

PERIOD_SECONDS = 10.0
AGAIN_SECONDS = 3.0
"""A broker that just came back may not know all of its topics yet."""


async def watch(settings: Kafka, engine: AsyncEngine, *, scopes: int) -> None:
    """Look every few seconds, until cancelled; raises TopicInvalid. What is away is looked at when it is back."""
    suspected = False
    while True:
        await asyncio.sleep(AGAIN_SECONDS if suspected else PERIOD_SECONDS)
        try:
            partitions = await topic.verify(settings, scopes=scopes)
            await alignment.check(settings, engine, partitions=partitions)
            suspected = False
        except errors.TopicInvalid:
            if suspected:
                raise
            suspected = True
        except errors.KafkaUnreachable as error:
            log.debug("the topic could not be looked at", error=str(error.args[0]))
        except (DBAPIError, OSError, TimeoutError) as error:
            if not transient.is_transient(error):
                raise
            log.debug("the topic could not be looked at", error=transient.words(error))
