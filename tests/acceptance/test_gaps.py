"""Ledgers that were missed: filled where the node still holds them, superseded by the state of now where it does not."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from deploy import localnet, stack
from deploy.stack.ports import HOST, free_ports
from tests import services
from tests.acceptance.conftest import World, deployment

VECTORS = Path(__file__).parents[1] / "vectors"
NO_OPEN_GAP = "SELECT bool_and(state IN ('filled', 'superseded')) FROM chain.gaps"
EVENTS = "SELECT count(DISTINCT position) FROM chain.facts WHERE tx_hash IS NOT NULL"


async def reach(world: World, ledger: int) -> None:
    ended = await world.run("status", "--json", "--wait-ledger", str(ledger), "--timeout", "80")
    assert ended.code == 0, ended.stderr


async def status(world: World) -> Any:
    ended = await world.run("status", "--json")
    return ended.json


@pytest.fixture
async def story(kafka: services.RunningKafka, postgres: stack.Databases, warm: Sequence[str]) -> AsyncIterator[World]:
    async with deployment(kafka, postgres, localnet.STORY, command=warm) as world:
        assert (await world.run("migrate")).code == 0
        yield world


async def test_what_lies_before_the_start_is_filled_and_what_no_node_holds_is_superseded(story: World) -> None:
    oldest, middle = story.net.oldest_ledger, (story.net.oldest_ledger + story.truth.ledger) // 2
    async with story.streaming(CHAINTRUE_STREAM__START_LEDGER=str(middle)):
        await reach(story, story.truth.ledger)
        await story.until(NO_OPEN_GAP)
        told = await status(story)
        sweep = await story.run("sweep", "--json", "--strict")
    (gap,) = told["gaps"]
    assert (gap["from_ledger"], gap["to_ledger"], gap["state"]) == (1, middle - 1, "superseded")
    covered = await story.own("SELECT DISTINCT after, through FROM chain.coverage")
    assert len(covered) == 1
    assert int(covered[0][0][:19]) >> 32 == oldest - 1
    (superseded,) = await story.own("SELECT DISTINCT through, ledger >= 1 FROM chain.superseded")
    assert int(superseded[0][:19]) >> 32 == oldest - 1
    assert (sweep.code, sweep.json["findings"]) == (0, [])
    assert told["unknown"] == []  # every event was read


async def test_an_outage_longer_than_the_node_remembers_is_mended_from_entries(
    kafka: services.RunningKafka,
    postgres: stack.Databases,
    warm: Sequence[str],
) -> None:
    history = VECTORS / "random-1.jsonl.gz"
    async with deployment(kafka, postgres, history, retention=30_000, tip=3_600_000, command=warm) as world:
        assert (await world.run("migrate")).code == 0
        async with world.streaming():
            await reach(world, 3_600_000)
        await world.net.advance_to(world.truth.ledger)
        async with world.streaming():
            await reach(world, world.truth.ledger)
            await world.until(NO_OPEN_GAP)
            await world.until_observed()
            told = await status(world)
            sweep = await world.run("sweep", "--json", "--strict")
        lost = [gap for gap in told["gaps"] if gap["from_ledger"] == 3_600_001]
        assert [gap["state"] for gap in lost] == ["superseded"]
        assert {one["what"] for one in told["unknown"]} >= {"when loans were completed"}
        assert (sweep.code, sweep.json["findings"]) == (0, []), sweep.stdout
        assert sweep.json["compared"]["loans"]["expected_rows"] == world.truth.loan_counter


async def test_a_contract_that_is_added_is_read_from_the_beginning_and_one_that_goes_is_refused(story: World) -> None:
    vouching = story.truth.contracts["vouching"]
    theirs = f"SELECT count(*) > 0 FROM chain.facts WHERE body::text LIKE '%{vouching}%' AND tx_hash IS NOT NULL"
    async with story.streaming():
        await reach(story, story.truth.ledger)
        assert await story.own(theirs) == [(False,)]
    async with story.streaming(CHAINTRUE_STEPFI__VOUCHING=vouching):
        await story.until(f"SELECT count(*) = 1 FROM chain.gaps WHERE contracts = ARRAY['{vouching}']")
        await story.until(NO_OPEN_GAP)
        assert await story.own(theirs) == [(True,)]
        await reach(story, story.truth.ledger)
    refused = await story.run("stream")
    assert refused.code == 1
    assert vouching in refused.stderr
    assert "Cure:" in refused.stderr


async def test_a_range_is_read_anew_on_demand(story: World) -> None:
    first, last = story.net.oldest_ledger, story.truth.ledger
    early = await story.run("backfill", "--from", str(first), "--to", str(last))
    assert (early.code, "holds nothing of stepfi yet" in early.stderr) == (1, True), early.stderr
    async with story.streaming():
        await reach(story, last)
        before = await story.own(EVENTS)
        done = await story.run("backfill", "--from", str(first), "--to", str(last), "--json")
        assert (done.code, done.json["events"]) == (0, before[0][0]), done.stderr
        assert await story.own(EVENTS) == before
        outside = await story.run("backfill", "--from", "1", "--to", str(last))
    assert outside.code == 1
    assert f"RPC holds the ledgers {first} to" in outside.stderr
    assert "Cure:" in outside.stderr


async def test_a_chain_that_began_anew_is_refused(story: World) -> None:
    async with story.streaming():
        await reach(story, story.truth.ledger)
    async with localnet.serve(history=VECTORS / "random-1.jsonl.gz", retention=None) as other:
        ended = await asyncio.wait_for(story.run("stream", CHAINTRUE_RPC__URLS=other.url), 30)
    assert ended.code == 1
    assert "the network was reset" in ended.stderr
    assert "Cure:" in ended.stderr
    assert "Traceback" not in ended.stderr


async def test_a_reset_is_noticed_while_the_stream_runs(story: World) -> None:
    """The address stays, and another chain stands behind it: of the same name, with ledgers that began anew."""
    (port,) = free_ports(1)
    async with story.started("stream", CHAINTRUE_RPC__URLS=f"http://{HOST}:{port}") as process:
        async with localnet.serve(port=port, retention=None):
            await reach(story, story.truth.ledger)
        async with localnet.serve(history=VECTORS / "random-1.jsonl.gz", port=port, tip=3_500_000, retention=None):
            _, said = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 1
    assert "the network was reset" in said.decode()
    assert "Cure:" in said.decode()


async def test_a_topic_that_was_deleted_is_refused(story: World) -> None:
    async with story.streaming():
        await reach(story, story.truth.ledger)
    other = {"CHAINTRUE_KAFKA__TOPIC": f"{story.environment['CHAINTRUE_KAFKA__TOPIC']}-2"}
    assert (await story.run("migrate", **other)).code == 0
    ended = await story.run("stream", **other)
    assert ended.code == 1
    assert "Cure:" in ended.stderr
    log = await story.run("backfill", "--from", "1", "--to", "2", **other)
    assert log.code == 1


async def test_a_topic_that_is_made_anew_while_the_stream_runs_is_refused(story: World) -> None:
    async with story.started("stream") as process:
        await reach(story, story.truth.ledger)
        await story.until(NO_OPEN_GAP)
        admin = AIOKafkaAdminClient(bootstrap_servers=story.environment["CHAINTRUE_KAFKA__BOOTSTRAP_SERVERS"])
        await admin.start()
        await admin.delete_topics([story.environment["CHAINTRUE_KAFKA__TOPIC"]])
        await admin.close()
        assert (await story.run("migrate")).code == 0
        _, said = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 1
    assert "was made anew" in said.decode()
    assert "Cure:" in said.decode()
