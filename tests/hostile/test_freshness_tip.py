"""Nodes that are dead, late, slow, of another network or silent about times: the tip is the newest that a checked node holds."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncEngine

import migrations
from deploy import localnet, stack, status
from deploy.localnet import faults
from shared import chain_tables, database, errors, position, rpc
from shared.coverage_store import Watermark
from shared.settings import Network, Rpc, Sweep
from shared.stepfi.settings import Settings, Stepfi
from streams.stepfi.application import StepfiStream
from sweeper import chain_tip, freshness
from sweeper.freshness import Tip
from tests.integration.stream_parts import database_settings

STREAM = StepfiStream(Stepfi())
CONTRACTS = ("CAKNWUFCM4ZB3W73TPZCYWBEJUCT4HLWLEGHYZFONSTXMGOMTWFNUZLG",)
BEHIND = 500
DEAD = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
async def nodes() -> AsyncIterator[list[localnet.Localnet]]:
    """Three nodes of one network: the last one has the newest ledgers."""
    async with AsyncExitStack() as opened:
        first = await opened.enter_async_context(localnet.serve())
        late = first.latest_ledger - BEHIND
        yield [
            await opened.enter_async_context(localnet.serve(tip=late)),
            await opened.enter_async_context(localnet.serve(tip=late + 1)),
            first,
        ]


@pytest.fixture(autouse=True)
def well(nodes: list[localnet.Localnet]) -> None:
    for node in nodes:
        node.fault = None


@pytest.fixture(scope="module")
async def engine(postgres: stack.Databases) -> AsyncIterator[AsyncEngine]:
    url = await postgres.create_database("hostile_tip")
    async with database.connect(database_settings(url), section="database") as engine:
        await migrations.upgrade(engine)
        yield engine


def settings_of(net: localnet.Localnet, *urls: str) -> Settings:
    asked = Rpc(urls=urls, requests_per_second=500, timeout_seconds=2, max_attempts=3)
    return Settings(network=Network(passphrase=net.history["networkPassphrase"]), rpc=asked)


async def tip_of(net: localnet.Localnet, *urls: str) -> Tip:
    settings = settings_of(net, *urls)
    async with rpc.client(settings) as client:
        return await chain_tip.read(settings, client, contracts=CONTRACTS, on_request=lambda *_: None)


def urls(nodes: list[localnet.Localnet]) -> tuple[str, ...]:
    return tuple(node.url for node in nodes)


async def test_the_first_nodes_lag(nodes: list[localnet.Localnet]) -> None:
    tip = await tip_of(nodes[2], *urls(nodes))
    assert (tip.ledger, tip.closed_at) == (nodes[2].latest_ledger, nodes[2].recording.closed_at(nodes[2].latest_ledger))
    assert tip.silent == ()


async def test_a_dead_node_is_named_and_the_others_count(nodes: list[localnet.Localnet]) -> None:
    tip = await tip_of(nodes[2], DEAD, *urls(nodes))
    assert tip.ledger == nodes[2].latest_ledger
    assert tip.silent == (DEAD,)


@pytest.mark.parametrize(
    "fault",
    [
        faults.unavailable(),
        faults.malformed(),
        faults.cut(),
        faults.slow(5),
        faults.lacking("latestLedger"),
        faults.rpc_error(-32603, "no"),
    ],
    ids=lambda fault: str(fault.status or fault.lacks or fault.delay or fault.keep or fault.error or "garbage"),
)
async def test_the_newest_node_fails(nodes: list[localnet.Localnet], fault: faults.Fault) -> None:
    """Then the newest of the others is the tip, and a run says that the chain may be further."""
    nodes[2].fault = lambda method: fault if method == "getHealth" else None
    tip = await tip_of(nodes[2], *urls(nodes))
    assert (tip.ledger, tip.silent) == (nodes[1].latest_ledger, (nodes[2].url,))
    watermark = Watermark(tip.ledger, tip.closed_at, tip.ledger)
    judged = freshness.judge(watermark, tip, now=float(tip.closed_at or 0), limits=Sweep())
    assert judged.reasons == ()
    (warning,) = judged.warnings
    assert nodes[2].url in warning


async def test_a_node_that_fails_once_is_not_passed_by(nodes: list[localnet.Localnet]) -> None:
    asked = 0

    def fault(method: str) -> faults.Fault | None:
        nonlocal asked
        asked += method == "getHealth"
        return faults.unavailable() if method == "getHealth" and asked == 1 else None

    nodes[2].fault = fault
    tip = await tip_of(nodes[2], *urls(nodes))
    assert (tip.ledger, tip.silent) == (nodes[2].latest_ledger, ())


async def test_a_node_of_another_network_tells_nothing(nodes: list[localnet.Localnet]) -> None:
    nodes[2].fault = lambda _: faults.another_network("Another network")
    tip = await tip_of(nodes[2], *urls(nodes))
    assert (tip.ledger, tip.silent) == (nodes[1].latest_ledger, (nodes[2].url,))
    nodes[0].fault = nodes[2].fault
    with pytest.raises(errors.WrongNetwork):
        await tip_of(nodes[2], nodes[0].url)


async def test_no_node_answers(nodes: list[localnet.Localnet]) -> None:
    with pytest.raises(errors.RpcError):
        await tip_of(nodes[2], DEAD)


@pytest.mark.parametrize("answers", [True, False])
async def test_the_newest_node_tells_no_close(
    nodes: list[localnet.Localnet], engine: AsyncEngine, answers: bool
) -> None:
    """A page of events tells it, to `status` as well; an older node's time is not taken for it."""
    lacking = faults.lacking("latestLedgerCloseTime")
    nodes[2].fault = lambda method: (
        lacking if method == "getHealth" else None if answers or method != "getEvents" else faults.unavailable()
    )
    closed_at = nodes[2].recording.closed_at(nodes[2].latest_ledger) if answers else None
    tip = await tip_of(nodes[2], *urls(nodes))
    assert (tip.ledger, tip.closed_at) == (nodes[2].latest_ledger, closed_at)
    judged = freshness.judge(Watermark(tip.ledger - 1, 5, tip.ledger - 1), tip, now=9e9, limits=Sweep())
    assert any("no node tells" in reason for reason in judged.reasons) is not answers

    await begun(engine, nodes[2])
    told = await status.read(settings_of(nodes[2], *urls(nodes)), engine, STREAM)
    assert told.body["latest_ledger"] == tip.ledger
    assert told.body["tip_closed_at"] == freshness.iso(closed_at)
    assert (told.body["lag_seconds"] is None) is not answers


async def test_of_two_nodes_at_one_ledger_the_close_of_either_is_taken(
    nodes: list[localnet.Localnet], engine: AsyncEngine
) -> None:
    await begun(engine, nodes[2])
    async with localnet.serve() as twin:
        twin.fault = lambda method: faults.lacking("latestLedgerCloseTime") if method == "getHealth" else None
        for order in ((twin.url, nodes[2].url), (nodes[2].url, twin.url)):
            tip = await tip_of(twin, *order)
            assert (tip.node, tip.closed_at is None) == (nodes[2].url, False)
            told = await status.read(settings_of(twin, *order), engine, STREAM)
            assert told.body["tip_closed_at"] == freshness.iso(tip.closed_at)
        assert twin.requests["getEvents"] == 0


async def begun(engine: AsyncEngine, net: localnet.Localnet) -> None:
    """A scope that is a ledger behind the tip."""
    start, end = position.end_of(net.oldest_ledger), position.end_of(net.latest_ledger - 1)
    row = {
        "scope": STREAM.scope,
        "partition": 0,
        "network": "n",
        "contracts": list(CONTRACTS),
        "origin": start,
        "tip": end,
        "tip_closed_at": net.recording.closed_at(net.latest_ledger - 1),
    }
    async with engine.begin() as connection:
        for table in (chain_tables.coverage, chain_tables.scopes):
            await connection.execute(table.delete())
        await connection.execute(insert(chain_tables.scopes).values(row))
        held = {"scope": STREAM.scope, "contract": CONTRACTS[0], "after": start, "through": end}
        await connection.execute(insert(chain_tables.coverage).values(held))
