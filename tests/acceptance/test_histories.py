"""Whole random histories: a mirror without findings, then every injection found, exactly, and repaired where policy allows."""

import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from deploy import stack
from deploy.demo.app import drift
from deploy.demo.app.scene import Expected
from tests import services
from tests.acceptance.conftest import World, deployment

VECTORS = Path(__file__).parents[1] / "vectors"
Key = tuple[str, str, str | None]


@pytest.mark.parametrize("name", ["random-1.jsonl.gz", "random-archive-6.jsonl.gz"])
async def test_every_injection_is_found_and_nothing_else(
    kafka: services.RunningKafka,
    postgres: stack.Databases,
    name: str,
    warm: Sequence[str],
) -> None:
    async with deployment(kafka, postgres, VECTORS / name, command=warm) as world:
        assert (await world.run("migrate")).code == 0
        stream = await world.start("stream")
        try:
            reached = await world.run("status", "--json", "--wait-ledger", str(world.truth.ledger), "--timeout", "80")
            assert reached.code == 0, reached.stderr
            await world.until_observed()
            mirror = await world.run("sweep", "--json", "--strict")
            assert (mirror.code, mirror.json["findings"]) == (0, [])
            await _drift_is_found_and_repaired(world)
        finally:
            stream.send_signal(signal.SIGTERM)
            await stream.communicate()
        assert stream.returncode == 0


async def _drift_is_found_and_repaired(world: World) -> None:
    names = drift.ALL - drift.plan(world.truth).unavailable.keys()
    wanted: dict[Key, Expected] = {
        (one.drift_class, one.table, one.row_id or one.entity): one for one in drift.plan(world.truth, names).findings
    }
    connection = await asyncpg.connect(world.app_url)
    await drift.inject(connection, world.truth, names)
    await connection.close()
    ended = await world.run("sweep", "--repair", "--json")
    found: Mapping[Key, Any] = {
        (one["class"], one["table"], one["row_id"] or one["entity"]): one for one in ended.json["findings"]
    }
    assert found.keys() == wanted.keys()
    for key, finding in found.items():
        assert finding["outcome"] == wanted[key].outcome, finding
        assert wanted[key].columns is None or wanted[key].columns <= finding["columns"].keys(), finding
    after = await world.dump()
    again = await world.run("sweep", "--repair", "--json")
    assert again.json["repaired"] == 0
    assert await world.dump() == after
