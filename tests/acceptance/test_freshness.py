"""Tables that are behind the chain never make a clean run, and nothing is written by them."""

import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from deploy import localnet, stack
from deploy.demo.app import chain_truth, rows
from deploy.localnet.faults import Fault
from tests import services
from tests.acceptance.conftest import Ended, World, deployment

ENOUGH = {"CHAINTRUE_SWEEP__MAX_LAG_LEDGERS": "1000000", "CHAINTRUE_SWEEP__MAX_LAG_SECONDS": "10000000"}


@pytest.fixture(scope="module")
async def stale(kafka: services.RunningKafka, postgres: stack.Databases, warm: Sequence[str]) -> AsyncIterator[World]:
    """The stream ended at 60 % of the history, the application mirrors that ledger, and the chain went on."""
    whole = chain_truth.truth_at(localnet.STORY)
    async with localnet.serve(history=localnet.STORY) as net:
        first = net.history["startLedger"]
    middle = first + (whole.ledger - first) * 6 // 10
    async with deployment(kafka, postgres, localnet.STORY, command=warm, tip=middle) as world:
        then = chain_truth.truth_at(localnet.STORY, ledger=middle)
        connection = await asyncpg.connect(world.app_url)
        await connection.execute(
            "TRUNCATE loans, liquidity_positions, transactions, reputation_cache, reputation_history, vendors, users CASCADE"
        )
        await rows.insert(connection, rows.build(then))
        await connection.execute("DELETE FROM transactions WHERE status = 'pending'")
        await connection.close()
        assert (await world.run("migrate")).code == 0
        async with world.streaming():
            reached = await world.run("status", "--wait-ledger", str(middle), "--timeout", "80")
            assert reached.code == 0, reached.stderr
        await world.net.advance_to(whole.ledger)
        yield world


def incomplete(ended: Ended, *, named: str) -> dict[str, Any]:
    assert ended.code == 3, ended.stdout + ended.stderr
    report: dict[str, Any] = ended.json
    assert report["status"] == "incomplete"
    assert any(named in reason for reason in report["reasons"]), report["reasons"]
    return report


async def test_a_sweep_over_stale_tables_is_incomplete(stale: World) -> None:
    before = await stale.dump()
    for arguments in ((), ("--strict",), ("--repair",), ("--changed",), ("--table", "loans")):
        report = incomplete(await stale.run("sweep", "--json", *arguments), named="MAX_LAG_LEDGERS")
        assert report["freshness"]["tip_ledger"] == stale.net.latest_ledger
        assert report["freshness"]["lag_ledgers"] == stale.net.latest_ledger - report["watermark_ledger"]
        assert report["freshness"]["lag_seconds"] > 300
    assert await stale.dump() == before
    assert await stale.own(
        "SELECT count(*) FROM recon.runs WHERE CAST(mark AS text) <> 'null' OR status = 'complete'"
    ) == [(0,)]


async def test_it_is_not_called_clean_in_words_either(stale: World) -> None:
    ended = await stale.run("sweep")
    assert ended.code == 3
    assert "agrees with the chain" not in ended.stdout
    assert "chaintrue stream" in ended.stdout


async def test_spot_checks_that_moved_on_are_a_reason(stale: World) -> None:
    report = incomplete(await stale.run("sweep", "--json"), named="ledger entr")
    assert report["spot_checks"]["unknown"] > 0


async def test_seconds_count_as_well(stale: World) -> None:
    incomplete(
        await stale.run("sweep", "--json", **ENOUGH | {"CHAINTRUE_SWEEP__MAX_LAG_SECONDS": "300"}),
        named="MAX_LAG_SECONDS",
    )


async def test_limits_that_allow_it_let_the_run_count(stale: World) -> None:
    ended = await stale.run("sweep", "--json", **ENOUGH)
    assert ended.code in (0, 2), ended.stdout
    assert ended.json["status"] == "complete"
    assert ended.json["freshness"]["watermark_closed_ledger"] == ended.json["watermark_ledger"]
    said = await stale.run("report", ended.json["run_id"])
    assert f"ledger {ended.json['watermark_ledger']}, closed 20" in said.stdout


async def test_an_old_tip_is_incomplete(stale: World) -> None:
    report = incomplete(
        await stale.run("sweep", "--json", **ENOUGH | {"CHAINTRUE_SWEEP__MAX_TIP_AGE_SECONDS": "900"}),
        named="MAX_TIP_AGE_SECONDS",
    )
    assert report["freshness"]["tip_age_seconds"] > 900


async def test_a_node_that_tells_no_close_is_asked_for_a_page(stale: World) -> None:
    """Older nodes give no close time in their health."""
    stale.net.fault = lambda method: Fault(lacks="latestLedgerCloseTime") if method == "getHealth" else None
    asked = stale.net.requests["getEvents"]
    try:
        report = (await stale.run("sweep", "--json", **ENOUGH)).json
    finally:
        stale.net.fault = None
    assert stale.net.requests["getEvents"] == asked + 1
    assert report["freshness"]["tip_closed_at"] is not None
    assert report["freshness"]["lag_seconds"] > 300


async def test_apply_writes_nothing_over_stale_tables(stale: World, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    connection = await asyncpg.connect(stale.app_url)
    row = await connection.fetchrow("SELECT id, status, completed_at FROM loans WHERE status = 'completed' LIMIT 1")
    await connection.execute("UPDATE loans SET status = 'active', completed_at = NULL WHERE id = $1", row["id"])
    try:
        made = await stale.run("sweep", "--json", "--plan", str(plan), **ENOUGH)
        assert made.code == 2, made.stdout
        assert len(json.loads(plan.read_text())["changes"]) >= 1
        before = await stale.dump()
        incomplete(await stale.run("apply", str(plan), "--json"), named="MAX_LAG_LEDGERS")
        assert await stale.dump() == before
    finally:
        await connection.execute("UPDATE loans SET status = $2, completed_at = $3 WHERE id = $1", *row.values())
        await connection.close()


async def test_status_shows_the_same_figures(stale: World) -> None:
    status = (await stale.run("status", "--json")).json
    report = (await stale.run("sweep", "--json")).json["freshness"]
    for name in ("lag_ledgers", "lag_seconds", "tip_closed_at", "watermark_closed_at", "watermark_closed_ledger"):
        assert status[name] == report[name], name
    assert status["latest_ledger"] == report["tip_ledger"]
    assert status["tip_age_seconds"] == pytest.approx(report["tip_age_seconds"], abs=60)


async def test_metrics_tell_the_lag(stale: World, tmp_path: Path) -> None:
    target = tmp_path / "chaintrue.prom"
    await stale.run("sweep", CHAINTRUE_METRICS__TEXTFILE=str(target))
    lines = dict(line.rsplit(" ", 1) for line in target.read_text().splitlines() if not line.startswith("#"))
    assert float(lines["chaintrue_sweep_lag_ledgers"]) > 60
    assert float(lines["chaintrue_sweep_lag_seconds"]) > 300
    assert float(lines["chaintrue_sweep_tip_age_seconds"]) > 0


async def test_the_newest_of_all_nodes_is_the_tip(stale: World) -> None:
    """The first node stands where the tables stand; the second one knows better."""
    (reached,) = (await stale.own("SELECT max(ledger) FROM chain.closes"))[0]
    async with localnet.serve(history=localnet.STORY, retention=None, tip=reached) as behind:
        report = incomplete(
            await stale.run("sweep", "--json", CHAINTRUE_RPC__URLS=f"{behind.url},{stale.net.url}"),
            named="MAX_LAG_LEDGERS",
        )
        assert report["freshness"]["tip_node"] != behind.url
        alone = await stale.run("sweep", "--json", CHAINTRUE_RPC__URLS=behind.url)
    assert alone.json["status"] == "complete"
    assert alone.json["freshness"]["lag_ledgers"] == 0
