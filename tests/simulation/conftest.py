"""A Kafka and a PostgreSQL that the simulations may kill, and the history that they play."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy import stack
from tests.simulation import scene, tables
from tests.simulation.scene import Part, Servers, part_of


@pytest.fixture(scope="package")
async def servers() -> AsyncIterator[Servers]:
    """Of the simulations alone: the servers of the other tests are not to be killed, and may be containers."""
    async with stack.kafka() as kafka, stack.postgres(fsync=False) as postgres:
        yield Servers(kafka, postgres)


@pytest.fixture(scope="package")
def part() -> Part:
    """The first ledgers of seeded traffic: half a history, some 1,500 events of every contract."""
    return part_of(Path(__file__).parents[1] / "vectors" / "random-1.jsonl.gz", ledgers=400)


@pytest.fixture(scope="package")
async def undisturbed(servers: Servers, part: Part, tmp_path_factory: pytest.TempPathFactory) -> tables.Dump:
    """What the tables say of the chain when nothing goes wrong."""
    directory = tmp_path_factory.mktemp("undisturbed")
    async with scene.with_chain(servers, part, directory=directory, topology=scene.ONE_PROCESS) as (made, net):
        await made.start()
        await scene.play([net], part.ledgers, seconds=1)
        await made.settled()
        await made.stop()
        assert [process.ends for process in made.processes.values()] == [[]]
        return await tables.chain_values(made.url)
