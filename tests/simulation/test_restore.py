"""A database that was restored from a backup is behind Kafka's offsets: mended before the workers join, and nothing is lost.

All processes die with the database (kill -9), so the group still counts its dead members, and two workers come back at once.
"""

import asyncio
from pathlib import Path

import asyncpg
from aiokafka import TopicPartition

from shared import kafka
from tests.simulation import scene, tables
from tests.simulation.scene import SCALED_OUT, SETTLE_SECONDS, Part, Scene, Servers

PLAY_SECONDS = 6.0


async def put_in_place(made: Scene, backup: str) -> None:
    """The database becomes what it was at the time of the backup."""
    name = made.url.rpartition("/")[2]
    await made.servers.postgres.drop_database(name)
    connection = await asyncpg.connect(made.servers.postgres.databases.admin_url)
    await connection.execute(f"ALTER DATABASE {backup} RENAME TO {name}")
    await connection.close()


async def back_up(made: Scene) -> str:
    """A copy of the database as it is, while nobody uses it."""
    name = made.url.rpartition("/")[2]
    connection = await asyncpg.connect(made.servers.postgres.databases.admin_url)
    await connection.execute(f"CREATE DATABASE {name}_backup TEMPLATE {name}")
    await connection.close()
    return f"{name}_backup"


async def until_kafka_knows(made: Scene) -> None:
    """Workers tell Kafka each second what they applied: one that is killed before knows more than Kafka does."""
    place = TopicPartition(made.kafka.topic, 0)
    async with kafka.consumer(made.kafka, group=made.kafka.group) as client, asyncio.timeout(SETTLE_SECONDS):
        client.assign([place])
        while await client.committed(place) != await applied(made):  # noqa: ASYNC110 - of other processes
            await asyncio.sleep(0.1)


async def applied(made: Scene) -> int:
    """The offset that the database waits for."""
    (offset,) = (await tables.offsets(made.url)).values()
    return offset


async def test_a_restored_database_is_brought_up_to_date(
    servers: Servers, part: Part, undisturbed: tables.Dump, tmp_path: Path
) -> None:
    third = len(part.ledgers) // 3
    async with scene.with_chain(servers, part, directory=tmp_path, topology=SCALED_OUT) as (made, net):
        await made.start()
        await scene.play([net], part.ledgers[:third], seconds=PLAY_SECONDS)
        await made.covered(through=part.ledgers[third - 1])
        await made.kill()
        backup = await back_up(made)
        old = await applied(made)
        await made.start()
        await scene.play([net], part.ledgers[third:], seconds=PLAY_SECONDS)
        await made.settled()
        await until_kafka_knows(made)
        await made.kill()
        assert await applied(made) > old
        await put_in_place(made, backup)
        await made.start()
        await made.settled()
        await made.stop()
        assert made.failures() == []
        said = [process.words() for name, process in made.processes.items() if name.startswith("worker")]
        assert any("Kafka's offsets were ahead of the database, and were set back" in words for words in said), said
        await made.check_against_the_log()
        found = await tables.chain_values(made.url)
        for table, rows in undisturbed.items():
            assert found[table] == rows, table
