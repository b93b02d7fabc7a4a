"""One deployment of a simulation: its database, topic and settings, its chain, and its processes."""

import asyncio
import json
import os
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from deploy import localnet, stack
from deploy.localnet.history import Header, History
from shared import frames, position
from shared.settings import Kafka
from shared.stepfi.settings import Stepfi
from streams.stepfi.application import StepfiStream
from tests.simulation import blows, tables
from tests.simulation.blows import Blow
from tests.simulation.processes import Process, command

ONE_PROCESS = {"stream": ("stream",)}
SPLIT = {"indexer": ("stream", "--only", "indexer"), "worker": ("stream", "--only", "worker")}
SCALED_OUT = {
    "indexer-1": ("stream", "--only", "indexer"),
    "indexer-2": ("stream", "--only", "indexer"),
    "worker-1": ("stream", "--only", "worker"),
    "worker-2": ("stream", "--only", "worker"),
}
TOPOLOGIES: Sequence[Mapping[str, tuple[str, ...]]] = (
    ONE_PROCESS,
    SPLIT,
    {"stream-1": ("stream",), "stream-2": ("stream",)},
    SCALED_OUT,
)
"""The commands of a deployment, by the names of the processes."""
SETTLE_SECONDS = 90.0


@dataclass(frozen=True)
class Servers:
    kafka: stack.Kafka
    postgres: stack.Postgres


@dataclass(frozen=True, kw_only=True)
class Part:
    """The beginning of a recorded history: `ledgers` are those that hold transactions."""

    path: Path
    header: Header
    ledgers: Sequence[int]

    @property
    def last(self) -> int:
        return self.ledgers[-1]

    @property
    def application(self) -> StepfiStream:
        contracts = self.header["contracts"]
        return StepfiStream(
            Stepfi(
                creditline=contracts["creditline"],
                liquidity_pool=contracts["pool"],
                reputation=contracts["reputation"],
                vendor_registry=contracts["vendors"],
                parameters=contracts["parameters"],
            )
        )


def part_of(path: Path, *, ledgers: int) -> Part:
    with History(path) as history:
        busy = [history.first_ledger]
        while len(busy) < ledgers and (following := history.next_busy_ledger(busy[-1])) is not None:
            busy.append(following)
        return Part(path=path, header=history.header, ledgers=busy)


async def play(nets: Sequence[localnet.Localnet], ledgers: Sequence[int], *, seconds: float) -> None:
    """Close one ledger after the other, evenly; what lies between them closes with them."""
    clock = asyncio.get_running_loop().time
    began = clock()
    for number, ledger in enumerate(ledgers, start=1):
        await asyncio.gather(*(net.advance_to(ledger) for net in nets))
        await asyncio.sleep(max(0.0, began + seconds * number / len(ledgers) - clock()))


@dataclass(kw_only=True)
class Scene:
    """Where everything is. `processes` run for the length of `scene`, once they were started."""

    servers: Servers
    part: Part
    url: str
    kafka: Kafka
    config: Path
    processes: dict[str, Process] = field(default_factory=dict)

    async def strike(self, plan: Sequence[Blow]) -> None:
        """Carry out the blows."""
        servers = {"kafka": self.servers.kafka, "postgresql": self.servers.postgres}
        aim = partial(tables.in_transaction, self.url)
        await blows.strike(plan, processes=self.processes, servers=servers, aim=aim)

    async def run(self, *arguments: str) -> tuple[int, str, str]:
        """A one-shot command to its end: exit code, stdout, stderr."""
        # The environment goes before the file: nothing of whoever runs the tests may lead to their own deployment.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("CHAINTRUE_")}
        process = await asyncio.create_subprocess_exec(
            *(command(), *arguments, "--config", str(self.config)),
            env=inherited,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(60):
            stdout, stderr = await process.communicate()
        return process.returncode or 0, stdout.decode(), stderr.decode()

    async def until(self, statement: str, *, seconds: float = SETTLE_SECONDS) -> None:
        """Until the query gives a true value; where it does not, the failure tells what the processes said."""
        try:
            async with asyncio.timeout(seconds):
                while not (await tables.query(self.url, statement))[0][0]:  # noqa: ASYNC110 - of another process
                    await asyncio.sleep(0.1)
        except TimeoutError:
            standing = await tables.query(self.url, "SELECT partition, next_offset FROM chain.offsets")
            said = [f"{name} said:\n{process.words()}" for name, process in self.processes.items()]
            raise AssertionError(
                "\n\n".join([f"not within {seconds:g} s: {statement}; offsets {standing}", *said])
            ) from None

    async def covered(self, *, through: int) -> None:
        """Until the tables hold what closed up to this ledger, the last that the chain has."""
        await self.until(f"SELECT count(*) > 0 FROM chain.coverage WHERE through = '{position.end_of(through)}'")

    async def settled(self) -> None:
        """Until all ledgers of the part are covered, and whatever asks for an observation has one."""
        await self.covered(through=self.part.last)
        await self.until("SELECT bool_and(state IN ('filled', 'superseded')) FROM chain.gaps")
        for table in ("contracts", "loans", "liquidity_positions", "vendors"):
            await self.until(f"SELECT count(*) = 0 FROM chain.{table} WHERE asked_at IS NOT NULL")

    async def start(self) -> None:
        """Start all processes."""
        for process in self.processes.values():
            await process.start()

    async def kill(self) -> None:
        """kill -9 to all processes, at once."""
        await asyncio.gather(*(process.kill() for process in self.processes.values()))

    async def stop(self) -> None:
        """SIGTERM to all processes: each ends well, and in time."""
        await asyncio.gather(*(process.stop() for process in self.processes.values()))

    async def check_against_the_log(self) -> None:
        """Every table is what a fold of the log up to the stored offset gives, undisturbed and from the first record; the log
        leaves no ledger out."""
        log = await tables.read_log(self.kafka)
        applied = await tables.offsets(self.url)
        network = self.part.header["networkPassphrase"]
        fresh = await self.servers.postgres.create_database(f"anew_{uuid.uuid4().hex}")
        anew = await tables.fold_anew(
            fresh, tables.until(log, applied), applications=[self.part.application], network=network
        )
        found = await tables.dump(self.url)
        for table in tables.TABLES:
            assert found[table] == anew[table], table
        assert tables.holes(frames.decode(record.value, network=network) for record in log[0]) == []

    def failures(self) -> list[str]:
        """How processes ended by themselves, but for lack of Kafka or PostgreSQL."""
        return [
            f"{process.name} ended with {end.code}:\n{end.words}"
            for process in self.processes.values()
            for end in process.ends
            if not end.passes
        ]


@asynccontextmanager
async def scene(
    servers: Servers,
    part: Part,
    *,
    urls: Sequence[str],
    directory: Path,
    topology: Mapping[str, tuple[str, ...]],
    settings: Mapping[tuple[str, str], str] | None = None,
) -> AsyncIterator[Scene]:
    """A deployment of its own that reads the nodes at `urls`; its database and topic are made, no process runs yet."""
    name = uuid.uuid4().hex
    url = await servers.postgres.create_database(f"chain_{name}")
    kafka = Kafka(bootstrap_servers=servers.kafka.bootstrap_servers, topic=f"facts-{name}", group=f"group-{name}")
    config = directory / f"{name}.toml"
    config.write_text(toml(_values(part, kafka, url, urls) | dict(settings or {})))
    made = Scene(servers=servers, part=part, url=url, kafka=kafka, config=config)
    code, _, said = await made.run("migrate")
    assert code == 0, said
    async with AsyncExitStack() as exits:
        for process, arguments in topology.items():
            argv = [command(), *arguments, "--config", str(config)]
            tended = Process(process, argv, directory=directory).tended()
            made.processes[process] = await exits.enter_async_context(tended)
        yield made


@asynccontextmanager
async def with_chain(
    servers: Servers, part: Part, *, directory: Path, topology: Mapping[str, tuple[str, ...]]
) -> AsyncIterator[tuple[Scene, localnet.Localnet]]:
    """A deployment that reads one good node, which keeps all ledgers."""
    async with (
        localnet.serve(history=part.path, tip=part.ledgers[0], retention=None) as net,
        scene(servers, part, urls=[net.url], directory=directory, topology=topology) as made,
    ):
        yield made, net


def _values(part: Part, kafka: Kafka, url: str, urls: Sequence[str]) -> dict[tuple[str, str], str]:
    stepfi = part.application.settings
    return {
        ("network", "passphrase"): part.header["networkPassphrase"],
        ("rpc", "urls"): ",".join(urls),
        ("rpc", "requests_per_second"): "200",
        ("rpc", "poll_seconds"): "0.2",
        ("kafka", "bootstrap_servers"): kafka.bootstrap_servers or "",
        ("kafka", "topic"): kafka.topic,
        ("kafka", "group"): kafka.group,
        ("database", "url"): url,
        ("stepfi", "creditline"): stepfi.creditline or "",
        ("stepfi", "liquidity_pool"): stepfi.liquidity_pool or "",
        ("stepfi", "reputation"): stepfi.reputation or "",
        ("stepfi", "vendor_registry"): stepfi.vendor_registry or "",
        ("stepfi", "parameters"): stepfi.parameters or "",
    }


def toml(values: Mapping[tuple[str, str], str]) -> str:
    """The settings as a TOML file; a JSON string is a TOML string."""
    sections: dict[str, list[str]] = {}
    for (section, name), value in values.items():
        sections.setdefault(section, []).append(f"{name} = {json.dumps(value)}")
    return "\n".join("\n".join((f"[{section}]", *lines, "")) for section, lines in sections.items())
