"""A topic and a database for a worker; a file whose tests need others has fixtures of its own."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.settings import Kafka
from tests import services
from tests.integration import worker_parts


@pytest.fixture
async def settings(kafka: services.RunningKafka, topic_name: str) -> Kafka:
    """Of a topic that was just made."""
    return await worker_parts.fresh_topic(kafka.bootstrap_servers, topic_name)


@pytest.fixture
async def engine(database: str) -> AsyncIterator[AsyncEngine]:
    """Of a database with the tables, empty."""
    async with worker_parts.migrated(database) as engine:
        yield engine
