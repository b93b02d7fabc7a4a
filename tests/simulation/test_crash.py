"""kill -9 of indexer, worker, Kafka and PostgreSQL, at any moment and in any order, several at once: nothing is lost or doubled.

At the end the tables say of the chain what those of an undisturbed run say, and every table, offsets included, is what a
fold of the same log into a fresh database gives. A frame may stand twice in the log (see `streams.leadership`), none is missing.
"""

import asyncio
from pathlib import Path
from random import Random

from tests.simulation import blows, scene, tables
from tests.simulation.scene import TOPOLOGIES, Part, Servers
from tests.simulation.seeds import seeds

PLAY_SECONDS = 12.0


@seeds(usual=2)
async def test_whatever_dies_the_tables_are_those_of_an_undisturbed_run(
    servers: Servers, part: Part, undisturbed: tables.Dump, tmp_path: Path, seed: int
) -> None:
    chance = Random(seed)  # noqa: S311 - draws what goes wrong, guards nothing
    topology = chance.choice(TOPOLOGIES)
    plan = blows.draw(chance, names=[*topology, "kafka", "postgresql"], seconds=PLAY_SECONDS)
    print(f"seed {seed}: {', '.join(topology)}", *plan, sep="\n  ")  # noqa: T201 - shown where the test fails
    async with scene.with_chain(servers, part, directory=tmp_path, topology=topology) as (made, net):
        await made.start()
        playing = scene.play([net], part.ledgers, seconds=PLAY_SECONDS)
        await asyncio.gather(playing, made.strike(plan))
        await made.settled()
        await made.stop()
        assert made.failures() == []
        await made.check_against_the_log()
        found = await tables.chain_values(made.url)
        for table, rows in undisturbed.items():
            assert found[table] == rows, table
