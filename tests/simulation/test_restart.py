"""From a restart after kill -9 to the first frame that is applied again: under 15 seconds, whoever was killed.

Measured from the moment at which what was killed is started; of Kafka and PostgreSQL, from the moment at which they answer again.
The frame is one of a ledger that closed after the kill, so it went the whole way: RPC, log, tables.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from shared import position
from tests.simulation import blows, scene
from tests.simulation.scene import ONE_PROCESS, SPLIT, Part, Servers

PROMISED_SECONDS = 15.0
PLAY_SECONDS = 120.0


async def measured(
    servers: Servers, part: Part, directory: Path, *, topology: Mapping[str, tuple[str, ...]], victims: Sequence[str]
) -> dict[str, float]:
    """Seconds to the first frame after the restart of each of the victims, one after the other, while the chain goes on."""
    found: dict[str, float] = {}
    servers_by_name: dict[str, blows.Server] = {"kafka": servers.kafka, "postgresql": servers.postgres}
    async with scene.with_chain(servers, part, directory=directory, topology=topology) as (made, net):
        playing = asyncio.create_task(scene.play([net], part.ledgers, seconds=PLAY_SECONDS))
        await made.start()
        await made.until("SELECT count(*) > 0 FROM chain.coverage")
        for name in victims:
            victim = made.processes.get(name) or servers_by_name[name]
            await victim.kill()
            after = position.end_of(net.latest_ledger)
            await victim.start()
            began = time.monotonic()
            await made.until(f"SELECT max(through) > '{after}' FROM chain.coverage")
            found[name] = time.monotonic() - began
        playing.cancel()
        await made.stop()
        assert made.failures() == []
        await made.check_against_the_log()
    print(", ".join(f"{name}: {seconds:.1f} s" for name, seconds in found.items()))  # noqa: T201 - the figures are the point
    return found


async def test_the_parts_are_back_in_time(servers: Servers, part: Part, tmp_path: Path) -> None:
    found = await measured(
        servers, part, tmp_path, topology=SPLIT, victims=("worker", "indexer", "kafka", "postgresql")
    )
    assert max(found.values()) < PROMISED_SECONDS, found


async def test_a_whole_stream_is_back_in_time(servers: Servers, part: Part, tmp_path: Path) -> None:
    found = await measured(servers, part, tmp_path, topology=ONE_PROCESS, victims=("stream",))
    assert max(found.values()) < PROMISED_SECONDS, found
