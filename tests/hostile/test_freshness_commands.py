"""Through the command: runs over stale tables earn nothing, and what they could not see is seen once the tables are new."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from deploy import localnet, stack
from deploy.demo.app import chain_truth, rows
from tests import services
from tests.acceptance.conftest import World, deployment

DEAD = "http://127.0.0.1:9"
SUCCESS = ("chaintrue_sweep_last_success_timestamp_seconds", "chaintrue_sweep_last_full_success_timestamp_seconds")


@pytest.fixture(scope="module")
async def half(
    kafka: services.RunningKafka, postgres: stack.Databases, warm: Sequence[str]
) -> AsyncIterator[tuple[World, int]]:
    """The tables and the application stand where the chain stands, half way; and the last ledger to come."""
    whole = chain_truth.truth_at(localnet.STORY)
    async with localnet.serve(history=localnet.STORY) as net:
        first = net.history["startLedger"]
    middle = first + (whole.ledger - first) // 2
    async with deployment(kafka, postgres, localnet.STORY, command=warm, tip=middle) as world:
        connection = await asyncpg.connect(world.app_url)
        await connection.execute(
            "TRUNCATE loans, liquidity_positions, transactions, reputation_cache, reputation_history, vendors, users CASCADE"
        )
        await rows.insert(connection, rows.build(chain_truth.truth_at(localnet.STORY, ledger=middle)))
        await connection.execute("DELETE FROM transactions WHERE status = 'pending'")
        await connection.close()
        assert (await world.run("migrate")).code == 0
        await streamed(world, middle)
        yield world, whole.ledger


async def streamed(world: World, ledger: int) -> None:
    async with world.streaming():
        reached = await world.run("status", "--wait-ledger", str(ledger), "--timeout", "60")
        assert reached.code == 0, reached.stderr
        await world.until(
            "SELECT count(*) > 0 AND bool_and(observed_at IS NOT NULL AND asked_at IS NULL) FROM chain.loans",
            seconds=30,
        )


async def swept(world: World, target: Path, *arguments: str, code: int, **changes: str) -> tuple[Any, dict[str, float]]:
    """The report of a sweep, and what its metrics tell."""
    ended = await world.run("sweep", "--json", *arguments, CHAINTRUE_METRICS__TEXTFILE=str(target), **changes)
    assert ended.code == code, ended.stdout + ended.stderr
    return ended.json, metrics_of(target)


def metrics_of(target: Path) -> dict[str, float]:
    lines = [line.rsplit(" ", 1) for line in target.read_text().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in lines}


async def test_a_stale_run_leaves_no_mark_no_success_and_no_write(half: tuple[World, int], tmp_path: Path) -> None:
    world, last = half
    metrics = tmp_path / "chaintrue.prom"

    # With a dead node before it the good one counts, and a wrong row is repaired.
    connection = await asyncpg.connect(world.app_url)
    wrong = await connection.fetchval(
        "UPDATE reputation_cache SET score = CASE WHEN score > 50 THEN score - 1 ELSE score + 1 END"
        " WHERE id = (SELECT id FROM reputation_cache ORDER BY id LIMIT 1) RETURNING id"
    )
    await connection.close()
    nodes = f"{DEAD},{world.net.url}"
    repaired, _ = await swept(world, metrics, "--repair", code=0, CHAINTRUE_RPC__URLS=nodes)
    assert [(one["row_id"], one["outcome"]) for one in repaired["findings"]] == [(str(wrong), "repaired")]
    assert any(DEAD in note for note in repaired["notes"])
    clean, told = await swept(world, metrics, code=0)
    assert (clean["status"], clean["findings"]) == ("complete", [])
    begun = {name: told[name] for name in SUCCESS}
    assert all(begun.values())

    # The chain goes on without the stream: no run counts, whatever it looks at, and none begins a later one.
    await world.net.advance_to(last)
    before = await world.dump()
    for arguments in (("--changed", "--repair"), ("--strict",)):
        report, told = await swept(world, metrics, *arguments, code=3)
        assert report["repaired"] == 0
        assert {name: told[name] for name in SUCCESS} == begun
    assert await world.dump() == before
    marks = await world.own(
        "SELECT count(*) FILTER (WHERE jsonb_typeof(mark) = 'object' AND status <> 'complete'),"
        " count(*) FILTER (WHERE jsonb_typeof(mark) = 'object') FROM recon.runs"
    )
    assert marks == [(0, 2)]
    status = (await world.run("status", "--json")).json
    assert [one["status"] for one in status["last_sweeps"][:2]] == ["incomplete"] * 2

    # Once the stream is back a sweep of what changed sees all that the stale ones did not.
    await streamed(world, last)
    changed, _ = await swept(world, metrics, "--changed", code=2)
    assert (changed["status"], changed["extent"]) == ("complete", "changed")
    full, _ = await swept(world, metrics, code=2)
    seen = {(one["table"], one["entity"], one["class"]) for one in full["findings"]}
    assert seen
    assert {(one["table"], one["entity"], one["class"]) for one in changed["findings"]} == seen
