"""Two and three workers over several scopes, which join, leave, die and freeze while frames are written: each frame is applied
once. One that froze for longer than its session wakes up as the owner of partitions that are others' by then.

At the end every table is what one undisturbed pass over the log gives. No worker ends by itself but for a lack of Kafka: where
a rebalance lost or skipped a record, the offset that is due would end it.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from random import Random

from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from pydantic import SecretStr

import migrations
from shared import database as databases
from shared import frames, kafka
from shared.settings import Database, Kafka
from streams import topic
from tests.simulation import blows, scene, scopes_worker, tables
from tests.simulation.blows import How
from tests.simulation.clones import Clone
from tests.simulation.processes import Process
from tests.simulation.scene import Servers
from tests.simulation.seeds import seeds

PLAY_SECONDS = 16.0
PAUSE_SECONDS = (2.0, 6.0)
"""Long enough between two blows for those who are left to take over and work."""
SETTLE_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class Group:
    """Workers over several scopes."""

    clones: Sequence[Clone]
    kafka: Kafka
    url: str
    workers: dict[str, Process]


@asynccontextmanager
async def group(servers: Servers, directory: Path, *, scopes: int, workers: int) -> AsyncIterator[Group]:
    name = uuid.uuid4().hex
    settings = Kafka(bootstrap_servers=servers.kafka.bootstrap_servers, topic=f"facts-{name}", group=f"group-{name}")
    await topic.ensure(settings, scopes=scopes)
    url = await servers.postgres.create_database(f"chain_{name}")
    async with databases.connect(Database(url=SecretStr(url)), section="database") as engine:
        await migrations.upgrade(engine)
    clones = scopes_worker.clones(scopes)
    config = directory / "worker.toml"
    config.write_text(
        scene.toml(
            {
                ("network", "passphrase"): clones[0].network,
                ("kafka", "bootstrap_servers"): servers.kafka.bootstrap_servers,
                ("kafka", "topic"): settings.topic,
                ("kafka", "group"): settings.group,
                ("database", "url"): url,
            }
        )
    )
    async with AsyncExitStack() as exits:
        argv = scopes_worker.argv(config, scopes)
        names = [f"worker-{number}" for number in range(1, workers + 1)]
        processes = [Process(name, argv, directory=directory) for name in names]
        tended = [await exits.enter_async_context(process.tended()) for process in processes]
        yield Group(clones=clones, kafka=settings, url=url, workers=dict(zip(names, tended, strict=True)))


async def write(settings: Kafka, logs: Sequence[list[frames.Frame]], chance: Random, *, seconds: float) -> None:
    """All frames over so many seconds: each scope's in their order, the scopes in any."""
    turns = list(chain.from_iterable([partition] * len(log) for partition, log in enumerate(logs)))
    chance.shuffle(turns)
    waiting = [iter(log) for log in logs]
    clock = asyncio.get_running_loop().time
    async with kafka.writer(settings) as writer:
        began = clock()
        for number, partition in enumerate(turns, start=1):
            await writer.write(partition, [next(waiting[partition])])
            await asyncio.sleep(max(0.0, began + seconds * number / len(turns) - clock()))


async def all_applied(made: Group) -> None:
    """Until each partition is applied to its end."""
    log = await tables.read_log(made.kafka, partitions=len(made.clones))
    ends = {partition: len(records) for partition, records in log.items()}
    async with asyncio.timeout(SETTLE_SECONDS):
        while await tables.offsets(made.url) != ends:  # noqa: ASYNC110 - of other processes
            await asyncio.sleep(0.2)


async def fold_anew(servers: Servers, made: Group) -> tables.Dump:
    log = await tables.read_log(made.kafka, partitions=len(made.clones))
    fresh = await servers.postgres.create_database(f"anew_{uuid.uuid4().hex}")
    applications = [clone.application for clone in made.clones]
    return await tables.fold_anew(fresh, log, applications=applications, network=made.clones[0].network)


async def assigned(settings: Kafka) -> list[int]:
    """How many partitions each member of the group has; empty while they are being assigned."""
    async with kafka.admin(settings) as admin:
        (response,) = await admin.describe_consumer_groups([settings.group])
    (found,) = response.to_object()["groups"]
    if found["state"] != "Stable":
        return []
    held = [ConsumerProtocolMemberAssignment.decode(member["member_assignment"]) for member in found["members"]]
    return [sum(len(partitions) for _, partitions in one.assignment) for one in held]


async def all_at_work(made: Group) -> None:
    """Until every worker has partitions, and every partition has a worker."""
    async with asyncio.timeout(SETTLE_SECONDS):
        while True:
            held = await assigned(made.kafka)
            if len(held) == len(made.workers) and min(held) > 0 and sum(held) == len(made.clones):
                return
            await asyncio.sleep(0.5)


@seeds(usual=1)
async def test_workers_that_join_leave_and_die_apply_each_frame_once(
    servers: Servers, tmp_path: Path, seed: int
) -> None:
    chance = Random(seed)  # noqa: S311 - draws what goes wrong, guards nothing
    workers, scopes = chance.choice([2, 3]), chance.randint(4, 6)
    names = [f"worker-{number}" for number in range(1, workers + 1)]
    victims = [*names, *chance.choice([[], ["kafka"]])]
    plan = blows.draw(chance, names=victims, seconds=PLAY_SECONDS, pause=PAUSE_SECONDS, hows=tuple(How))
    print(f"seed {seed}: {workers} workers, {scopes} scopes", *plan, sep="\n  ")  # noqa: T201 - shown where the test fails
    async with group(servers, tmp_path, scopes=scopes, workers=workers) as made:
        logs = [list(clone.log(chance)) for clone in made.clones]
        for process in made.workers.values():
            await process.start()
            await asyncio.sleep(chance.uniform(0, 2))
        writing = write(made.kafka, logs, chance, seconds=PLAY_SECONDS)
        aim = partial(tables.in_transaction, made.url)
        striking = blows.strike(plan, processes=made.workers, servers={"kafka": servers.kafka}, aim=aim)
        await asyncio.gather(writing, striking)
        await all_applied(made)
        await all_at_work(made)
        await asyncio.gather(*(process.stop() for process in made.workers.values()))
        failures = [end.words for process in made.workers.values() for end in process.ends if not end.passes]
        assert failures == []
        found = await tables.dump(made.url)
        anew = await fold_anew(servers, made)
        for table in tables.TABLES:
            assert found[table] == anew[table], table
