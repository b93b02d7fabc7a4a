"""The Kafka and the PostgreSQL that tests are given, wherever they come from."""

import os

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy import stack
from tests import services


async def test_a_record_comes_back_as_it_was_sent(kafka: services.RunningKafka, topic_name: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    await admin.create_topics([NewTopic(topic_name, num_partitions=2, replication_factor=1)])
    await admin.close()

    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers, enable_idempotence=True) as producer:
        sent = await producer.send_and_wait(topic_name, b"value", key=b"key", partition=1)
    consumer = AIOKafkaConsumer(
        topic_name, bootstrap_servers=kafka.bootstrap_servers, group_id=topic_name, auto_offset_reset="earliest"
    )
    async with consumer:
        got = await consumer.getone()
        await consumer.commit()

    assert (got.partition, got.offset, got.key, got.value) == (1, sent.offset, b"key", b"value")


async def test_a_topic_that_nobody_created_is_not_there(kafka: services.RunningKafka, topic_name: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    try:
        await admin.describe_topics([topic_name])
        assert topic_name not in await admin.list_topics()
    finally:
        await admin.close()


async def test_a_database_is_empty_and_dropped_with_its_sessions(postgres: stack.Databases) -> None:
    url = await postgres.create_database('odd "name"/%')
    connection = await asyncpg.connect(url)
    assert await connection.fetchval("SELECT current_database()") == 'odd "name"/%'
    assert await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0

    await postgres.drop_database('odd "name"/%')

    assert connection.is_closed() or await _ended(connection)
    connection.terminate()


async def _ended(connection: asyncpg.Connection) -> bool:
    try:
        await connection.fetchval("SELECT 1")
    except (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.AdminShutdownError):
        return True
    return False


async def test_creating_a_database_twice_keeps_what_it_holds(database: str, postgres: stack.Databases) -> None:
    connection = await asyncpg.connect(database)
    await connection.execute("CREATE TABLE kept (id int)")

    again = await postgres.create_database(database.rsplit("/", 1)[1])

    assert again == database
    assert await connection.fetchval("SELECT to_regclass('kept') IS NOT NULL")
    await connection.close()


def test_the_settings_of_the_shell_are_gone() -> None:
    left = [name for name in os.environ if name.startswith("CHAINTRUE_") and not name.startswith("CHAINTRUE_TEST_")]
    assert left == []
