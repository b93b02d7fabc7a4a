"""The local stack itself: started twice at once, killed, started again, failing in its own words, and leaving nothing."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy import stack
from deploy.stack.server import temporary_directory

DEADLINE = 60.0


@pytest.fixture
def directory() -> Iterator[Path]:
    """One that the user who runs PostgreSQL may enter, when root runs the tests: pytest's own is private."""
    made = temporary_directory()
    yield made
    shutil.rmtree(made)


async def until(condition: Callable[[], bool], *, what: str) -> None:
    try:
        async with asyncio.timeout(DEADLINE):
            while not condition():  # noqa: ASYNC110 - the end of a foreign process sets no event of ours
                await asyncio.sleep(0.05)
    except TimeoutError:
        pytest.fail(f"not within {DEADLINE:g} s: {what}")


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def produce(servers: str, topic: str, value: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=servers) as producer:
        await producer.send_and_wait(topic, value, partition=0)


async def values(servers: str, topic: str, count: int) -> list[bytes | None]:
    async with AIOKafkaConsumer(bootstrap_servers=servers, auto_offset_reset="earliest") as consumer:
        consumer.assign([TopicPartition(topic, 0)])
        async with asyncio.timeout(DEADLINE):
            return [(await consumer.getone()).value for _ in range(count)]


async def create_topic(servers: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
    await admin.close()


@contextlib.asynccontextmanager
async def both() -> AsyncIterator[tuple[stack.Kafka, stack.Postgres]]:
    async with contextlib.AsyncExitStack() as exits:
        broker, server = await asyncio.gather(
            exits.enter_async_context(stack.kafka()), exits.enter_async_context(stack.postgres(fsync=False))
        )
        yield broker, server


async def test_a_wrong_password_is_refused_and_so_is_none(tmp_path: Path) -> None:
    async with stack.postgres(fsync=False) as server:
        url = urlsplit(await server.create_database("guarded"))
        assert url.hostname == "127.0.0.1"
        for user_info in ("postgres:wrong", "postgres"):
            wrong = url._replace(netloc=f"{user_info}@127.0.0.1:{url.port}").geturl()
            with pytest.raises(asyncpg.InvalidPasswordError):
                await asyncpg.connect(wrong, passfile=str(tmp_path / "none"))
        connection = await asyncpg.connect(url.geturl())
        assert int(await connection.fetchval("SHOW server_version_num")) // 10_000 == 18
        await connection.close()


async def test_two_stacks_at_once_do_not_meet() -> None:
    async with both() as (broker, server), both() as (other_broker, other_server):
        assert len({*broker.ports, *server.ports, *other_broker.ports, *other_server.ports}) == 6
        for servers, value in ((broker.bootstrap_servers, b"one"), (other_broker.bootstrap_servers, b"other")):
            await create_topic(servers, "topic")
            await produce(servers, "topic", value)
        assert await values(broker.bootstrap_servers, "topic", 1) == [b"one"]
        assert await values(other_broker.bootstrap_servers, "topic", 1) == [b"other"]
        directories = [item.directory for item in (broker, server, other_broker, other_server)]
        assert all(directory.is_dir() for directory in directories)
    assert not any(directory.exists() for directory in directories)


async def test_after_a_crash_kafka_starts_again_with_its_data_and_address() -> None:
    async with stack.kafka() as broker:
        address, pid = broker.bootstrap_servers, broker.pid
        await create_topic(address, "kept")
        await produce(address, "kept", b"before")

        await broker.kill()
        assert broker.pid is None
        assert pid is not None
        assert not lives(pid)
        assert not listens(broker.ports[0])
        await broker.start()

        assert broker.bootstrap_servers == address
        await produce(address, "kept", b"after")
        assert await values(address, "kept", 2) == [b"before", b"after"]


@pytest.mark.parametrize("how", ["kill", "stop"])
async def test_postgres_starts_again_with_its_data_and_address(how: str) -> None:
    async with stack.postgres(fsync=False) as server:
        url = await server.create_database("kept")
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE TABLE kept AS SELECT 1 AS one")

        await (server.kill() if how == "kill" else server.stop())
        connection.terminate()
        assert not listens(server.port)
        await server.start()

        assert server.url("kept") == url
        connection = await asyncpg.connect(url)
        assert await connection.fetchval("SELECT one FROM kept") == 1
        await connection.close()


async def test_a_directory_that_was_given_is_kept_and_found_again(directory: Path) -> None:
    async with stack.postgres(directory=directory, fsync=False) as server:
        await server.create_database("kept")
        password = server.password
    async with stack.postgres(directory=directory, fsync=False) as server:
        assert server.password == password
        connection = await asyncpg.connect(server.url("kept"))
        await connection.close()


async def test_a_kafka_that_cannot_start_shows_its_own_words(tmp_path: Path) -> None:
    (tmp_path / "kafka").mkdir()
    (tmp_path / "kafka" / "meta.properties").write_text("version=1\ncluster.id=abcdefghijklmnopqrstuw\nnode.id=77\n")
    with pytest.raises(stack.StackFailed, match=r"(?s)Kafka ended before it was ready.*node id 77") as raised:
        async with stack.kafka(directory=tmp_path):
            pytest.fail("it started on the data of another node")
    assert raised.value.cure


async def test_a_postgres_that_cannot_start_shows_its_own_words(directory: Path) -> None:
    async with stack.postgres(directory=directory, fsync=False) as server:
        (server.data / "PG_VERSION").write_text("9\n")
    with pytest.raises(stack.StackFailed, match=r"(?s)PostgreSQL ended before it was ready.*incompatible"):
        async with stack.postgres(directory=directory):
            pytest.fail("it started on the data of another version")


async def test_a_server_that_is_late_is_ended_at_its_deadline() -> None:
    with pytest.raises(stack.StackFailed, match=r"Kafka did not answer within 0\.2 s"):
        async with stack.kafka(ready_seconds=0.2):
            pytest.fail("no broker starts that quickly")


OWNER = """
import asyncio, json, sys
from contextlib import AsyncExitStack
from deploy import stack

async def main():
    async with AsyncExitStack() as exits:
        servers = await asyncio.gather(*(
            exits.enter_async_context(start()) for start in map(lambda name: getattr(stack, name), sys.argv[1:])
        ))
        print(json.dumps([[server.pid, server.ports, str(server.directory)] for server in servers]), flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("number", "names"),
    [
        (signal.SIGKILL, ("kafka", "postgres")),
        (signal.SIGTERM, ("postgres",)),
        (signal.SIGINT, ("postgres",)),
    ],
)
async def test_nothing_is_left_however_the_owner_ends(number: signal.Signals, names: tuple[str, ...]) -> None:
    owner = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", OWNER, *names), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    assert owner.stdout is not None
    servers = json.loads(await asyncio.wait_for(owner.stdout.readline(), DEADLINE))
    assert all(lives(pid) and listens(port) for pid, ports, _ in servers for port in ports)

    owner.send_signal(number)
    assert await asyncio.wait_for(owner.wait(), DEADLINE) != 0

    for pid, ports, directory in servers:
        await until(lambda pid=pid: not lives(pid), what=f"process {pid} is gone")  # type: ignore[misc] # bound early
        assert not any(listens(port) for port in ports)
        await until(lambda path=directory: not Path(path).exists(), what=f"{directory} is gone")  # type: ignore[misc] # bound early


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_when_the_keeper_ends_so_does_its_server(number: signal.Signals) -> None:
    async with stack.postgres(fsync=False) as server:
        pid, directory = server.pid, server.directory
        assert pid is not None
        os.kill(await asyncio.to_thread(parent_of, pid), number)
        await until(lambda: not lives(pid), what="PostgreSQL is gone")
        await until(lambda: server.pid is None, what="its owner knows")
        with pytest.raises(stack.StackFailed, match="keeper"):
            await server.start()
    assert not directory.exists()


def parent_of(pid: int) -> int:
    return int(subprocess.check_output(["/bin/ps", "-o", "ppid=", "-p", str(pid)]))  # noqa: S603 - a number of ours
