"""What `chaintrue status` tells, from a database and a chain: numbers, gaps, sweeps, and what is not well."""

import asyncio
import io
import json
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from rich.console import Console
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncEngine

import migrations
from deploy import localnet, status, terminal_status
from shared import chain_tables, position, recon_tables
from shared import database as connections
from shared.settings import Network, Rpc
from shared.stepfi.settings import Settings, Stepfi
from streams import fact_partitions
from streams.stepfi.application import StepfiStream
from tests.integration.stream_parts import database_settings

STREAM = StepfiStream(Stepfi())
SCOPE = STREAM.scope
CONTRACTS = ["CAKNWUFCM4ZB3W73TPZCYWBEJUCT4HLWLEGHYZFONSTXMGOMTWFNUZLG"]
KEYS = {
    "watermark_ledger",
    "latest_ledger",
    "lag_ledgers",
    "lag_seconds",
    "retention_margin_ledgers",
    "gaps",
    "unknown",
    "undecodable_events",
    "nodes",
    "last_sweeps",
}


@pytest.fixture(scope="module")
async def chain() -> AsyncIterator[localnet.Localnet]:
    async with localnet.serve() as net:
        yield net


@pytest.fixture
async def engine(database: str) -> AsyncIterator[AsyncEngine]:
    async with connections.connect(database_settings(database), section="database") as engine:
        await migrations.upgrade(engine)
        yield engine


def _settings(net: localnet.Localnet, **rpc: object) -> Settings:
    values = {"urls": (net.url,), "requests_per_second": 500, "timeout_seconds": 2, **rpc}
    return Settings(network=Network(passphrase=net.history["networkPassphrase"]), rpc=Rpc(**values))


async def _begun(engine: AsyncEngine, *, origin: int, through: int, tip_closed_at: int | None = None) -> None:
    """A scope that began behind ledger `origin` and has read up to `through`."""
    start, end = position.end_of(origin), position.end_of(through)
    async with engine.begin() as connection:
        await connection.execute(
            insert(chain_tables.scopes).values(
                scope=SCOPE,
                partition=0,
                network="n",
                contracts=CONTRACTS,
                origin=start,
                tip=end if tip_closed_at else None,
                tip_closed_at=tip_closed_at,
            )
        )
        held = [{"scope": SCOPE, "contract": one, "after": start, "through": end} for one in CONTRACTS]
        await connection.execute(insert(chain_tables.coverage), held)
        await _gap(connection, 0, origin, "before the start of the stream")


async def _gap(connection, after: int, through: int, reason: str) -> None:
    begin = position.end_of(after) if after else position.START
    await connection.execute(
        insert(chain_tables.gaps).values(
            scope=SCOPE,
            after=begin,
            through=position.end_of(through),
            contracts=CONTRACTS,
            reason=reason,
            state="open",
        )
    )


async def test_before_the_stream_began(engine: AsyncEngine, chain: localnet.Localnet) -> None:
    current = await status.read(_settings(chain), engine, STREAM)
    assert current.body.keys() == KEYS
    assert current.body["watermark_ledger"] is None
    assert current.body["latest_ledger"] == chain.latest_ledger
    assert (current.body["gaps"], current.body["last_sweeps"], current.body["undecodable_events"]) == ([], [], 0)
    assert len(current.degraded) == 1
    assert "chaintrue stream" in current.degraded[0]


async def test_at_the_tip_it_is_healthy_and_the_time_before_the_start_is_a_gap(
    engine: AsyncEngine, chain: localnet.Localnet
) -> None:
    origin = chain.oldest_ledger + 9
    await _begun(engine, origin=origin, through=chain.latest_ledger, tip_closed_at=1)
    current = await status.read(_settings(chain), engine, STREAM)
    assert current.degraded == ()
    assert current.body["watermark_ledger"] == chain.latest_ledger
    assert current.body["lag_seconds"] == 0
    assert current.body["retention_margin_ledgers"] == chain.latest_ledger + 1 - chain.oldest_ledger
    assert current.body["gaps"] == [
        {
            "from_ledger": 1,
            "to_ledger": origin,
            "contracts": CONTRACTS,
            "reason": "before the start of the stream",
            "state": "open",
            "age_seconds": None,
        }
    ]
    json.dumps(current.body)


@pytest.mark.parametrize(("behind", "degraded"), [(status.MAX_LAG_LEDGERS, False), (status.MAX_LAG_LEDGERS + 1, True)])
async def test_a_stream_that_is_far_behind_is_degraded(
    engine: AsyncEngine, chain: localnet.Localnet, behind: int, degraded: bool
) -> None:
    await _begun(engine, origin=chain.oldest_ledger, through=chain.latest_ledger - behind)
    current = await status.read(_settings(chain), engine, STREAM)
    assert bool(current.degraded) is degraded
    assert current.body["lag_seconds"] is None  # when the ledger of the watermark closed is not known


async def test_the_lag_is_between_two_ledgers_of_the_chain(engine: AsyncEngine, chain: localnet.Localnet) -> None:
    latest = chain.recording.closed_at(chain.latest_ledger)
    await _begun(engine, origin=chain.oldest_ledger, through=chain.latest_ledger - 1, tip_closed_at=latest - 121)
    current = await status.read(_settings(chain), engine, STREAM)
    assert current.body["lag_seconds"] == 121
    assert current.degraded == ("the tables are behind the chain by 1 ledger",)


async def test_an_open_gap_and_undecodable_events_are_degraded(engine: AsyncEngine, chain: localnet.Localnet) -> None:
    await _begun(engine, origin=chain.oldest_ledger, through=chain.latest_ledger)
    async with engine.begin() as connection:
        await _gap(connection, chain.oldest_ledger + 5, chain.oldest_ledger + 8, "lost")
        fact = {"key": "undecodable:C", "position": position.end_of(7), "kind": "X", "body": {}, "problem": "?"}
        await fact_partitions.make(connection, 0)
        await connection.execute(insert(chain_tables.facts).values(fact))
    current = await status.read(_settings(chain), engine, STREAM)
    assert current.body["gaps"][1]["from_ledger"] == chain.oldest_ledger + 6
    assert current.body["gaps"][1]["to_ledger"] == chain.oldest_ledger + 8
    assert current.body["undecodable_events"] == 1
    assert [trouble.partition(":")[0] for trouble in current.degraded] == [
        f"ledgers {chain.oldest_ledger + 6} to {chain.oldest_ledger + 8} are missing (open)",
        "1 event could not be decoded",
    ]


async def test_ledgers_that_rpc_has_dropped_are_told(engine: AsyncEngine, chain: localnet.Localnet) -> None:
    await _begun(engine, origin=5, through=chain.oldest_ledger - 4)
    current = await status.read(_settings(chain), engine, STREAM)
    assert current.body["retention_margin_ledgers"] == -3
    assert "RPC no longer holds what comes next, 3 ledgers" in current.degraded


@pytest.mark.parametrize(
    ("urls", "words"), [((), "CHAINTRUE_RPC__URLS is not set"), (("http://127.0.0.1:1",), "127.0.0.1:1")]
)
async def test_without_an_answer_of_rpc_the_rest_is_told(
    engine: AsyncEngine, chain: localnet.Localnet, urls: tuple[str, ...], words: str
) -> None:
    await _begun(engine, origin=5, through=100)
    current = await status.read(_settings(chain, urls=urls), engine, STREAM)
    assert current.body["watermark_ledger"] == 100
    for name in ("latest_ledger", "lag_seconds", "retention_margin_ledgers"):
        assert current.body[name] is None
    assert words in current.degraded[0]


async def test_the_newest_sweeps_come_first(engine: AsyncEngine, chain: localnet.Localnet) -> None:
    async with engine.begin() as connection:
        for hour in range(7):
            values = {
                "run_id": uuid.uuid4(),
                "mode": "dry",
                "status": "complete" if hour else "running",
                "started_at": datetime(2026, 1, 1, hour, tzinfo=UTC),
                "report": {"drift": {"stale_status": hour}} if hour else None,
            }
            await connection.execute(insert(recon_tables.runs).values(values))
    sweeps = (await status.read(_settings(chain), engine, STREAM)).body["last_sweeps"]
    assert [one["started_at"] for one in sweeps] == [f"2026-01-01T0{hour}:00:00Z" for hour in (6, 5, 4, 3, 2)]
    assert sweeps[0]["drift"] == {"stale_status": 6}
    assert sweeps[0].keys() == {"run_id", "mode", "status", "started_at", "finished_at", "drift"}


async def test_waiting_returns_as_soon_as_the_ledger_is_reached(engine: AsyncEngine) -> None:
    waiting = asyncio.create_task(status.wait(engine, scope=SCOPE, ledger=100, timeout=30))
    await _begun(engine, origin=5, through=100)
    assert await asyncio.wait_for(waiting, 10) is True
    assert await status.wait(engine, scope=SCOPE, ledger=101, timeout=0) is False


async def test_people_see_the_same_at_any_width(engine: AsyncEngine, chain: localnet.Localnet) -> None:
    await _begun(engine, origin=chain.oldest_ledger, through=chain.latest_ledger - 100)
    current = await status.read(_settings(chain), engine, STREAM)
    for width in (60, 80, 120):
        shown = io.StringIO()
        terminal_status.show(current, console=Console(width=width, file=shown))
        assert str(chain.latest_ledger - 100) in shown.getvalue()
        assert "Degraded: The tables are behind the chain by 100 ledgers." in " ".join(shown.getvalue().split())
