"""kill -9 of indexer, worker, Kafka and PostgreSQL, at any moment and in any order, several at once: nothing is lost or doubled.

At the end the tables say of the chain what those of an undisturbed run say, and every table, offsets included, is what a
fold of the same log into a fresh database gives. A frame may stand twice in the log (see `streams.leadership`), none is missing.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest

from deploy import localnet
from tests.simulation import blows, scene, tables
from tests.simulation.scene import ONE_PROCESS, TOPOLOGIES, Part, Scene, Servers
from tests.simulation.seeds import seeds

PLAY_SECONDS = 12.0


@asynccontextmanager
async def deployment(
    servers: Servers, part: Part, directory: Path, topology: Mapping[str, tuple[str, ...]]
) -> AsyncIterator[tuple[Scene, localnet.Localnet]]:
    async with (
        localnet.serve(history=part.path, tip=part.ledgers[0], retention=None) as net,
        scene.scene(servers, part, urls=[net.url], directory=directory, topology=topology) as made,
    ):
        yield made, net


@pytest.fixture(scope="module")
async def undisturbed(servers: Servers, part: Part, tmp_path_factory: pytest.TempPathFactory) -> tables.Dump:
    """What the tables say of the chain when nothing goes wrong."""
    async with deployment(servers, part, tmp_path_factory.mktemp("undisturbed"), ONE_PROCESS) as (made, net):
        await made.start()
        await scene.play([net], part.ledgers, seconds=1)
        await made.settled()
        await made.stop()
        assert Counter(map(len, (process.ends for process in made.processes.values()))) == {0: 1}
        return await tables.chain_values(made.url)


@seeds(usual=2)
async def test_whatever_dies_the_tables_are_those_of_an_undisturbed_run(
    servers: Servers, part: Part, undisturbed: tables.Dump, tmp_path: Path, seed: int
) -> None:
    chance = Random(seed)  # noqa: S311 - draws what goes wrong, guards nothing
    topology = chance.choice(TOPOLOGIES)
    plan = blows.draw(chance, names=[*topology, "kafka", "postgresql"], seconds=PLAY_SECONDS)
    print(f"seed {seed}: {', '.join(topology)}", *plan, sep="\n  ")  # noqa: T201 - shown where the test fails
    async with deployment(servers, part, tmp_path, topology) as (made, net):
        await made.start()
        playing = scene.play([net], part.ledgers, seconds=PLAY_SECONDS)
        await asyncio.gather(playing, blows.strike(plan, made.victims))
        await made.settled()
        await made.stop()
        assert made.failures() == []
        await made.check_against_the_log()
        found = await tables.chain_values(made.url)
        for table, rows in undisturbed.items():
            assert found[table] == rows, table
