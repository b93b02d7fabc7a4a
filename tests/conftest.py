"""What every test may use: a Kafka, a PostgreSQL, a database or a topic name of its own; nothing starts unless asked for."""

import os
import signal
import uuid
from collections.abc import AsyncIterator

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from hypothesis import settings

from deploy import stack
from tests import secured, services

# A machine that is busy elsewhere is no failure of what is tested.
settings.register_profile("untimed", settings.default, deadline=None)
settings.load_profile("untimed")


def pytest_configure() -> None:
    """A shell starts what is to run in the background deaf to Ctrl-C, and so would be whatever the tests start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def settings_of_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings in the shell of whoever runs the tests change no test."""
    for name in [
        name for name in os.environ if name.startswith("CHAINTRUE_") and not name.startswith("CHAINTRUE_TEST_")
    ]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
async def kafka() -> AsyncIterator[services.RunningKafka]:
    """One Kafka for the whole run: `.bootstrap_servers`."""
    async with services.kafka() as running:
        yield running


@pytest.fixture(scope="session")
async def secured_kafka() -> AsyncIterator[secured.SecuredKafka]:
    """One Kafka with TLS and users for the whole run, of the local stack: `.options(protocol)` are settings for it."""
    async with secured.kafka() as running:
        yield running


@pytest.fixture(scope="session")
async def postgres() -> AsyncIterator[stack.Databases]:
    """One PostgreSQL for the whole run: `await .create_database(name)` and `.url(name)` give addresses."""
    async with services.postgres() as databases:
        yield databases


@pytest.fixture
async def database(postgres: stack.Databases) -> AsyncIterator[str]:
    """The address of an empty database of this test alone, dropped after it."""
    name = f"test_{uuid.uuid4().hex}"
    yield await postgres.create_database(name)
    await postgres.drop_database(name)


@pytest.fixture
async def topic_name(kafka: services.RunningKafka) -> AsyncIterator[str]:
    """A topic name of this test alone; whoever needs the topic creates it, and it is deleted after the test."""
    name = f"test-{uuid.uuid4().hex}"
    yield name
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    try:
        await admin.delete_topics(
            [name]
        )  # for a topic that was never created the answer says so, and nothing is raised
    finally:
        await admin.close()
