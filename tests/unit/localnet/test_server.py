"""What is asked is counted; what a test orders to go wrong goes wrong, and nothing else."""

import asyncio

import aiohttp
import pytest

from deploy import localnet
from deploy.localnet import faults, methods
from tests.recordings import VECTORS

STORY = VECTORS / "story-real.jsonl.gz"


@pytest.fixture
async def net():
    async with localnet.serve(history=STORY) as running:
        yield running


async def test_requests_are_counted_by_method(net, client):
    await client.call(net, "getHealth")
    await client.call(net, "getHealth")
    await client.call(net, "sendTransaction", transaction="AAAA")
    batch = [{"jsonrpc": "2.0", "id": 1, "method": "getNetwork"}, {"jsonrpc": "2.0", "method": "getHealth"}]
    await client.session.post(net.url, json=batch)
    await client.session.post(net.url, data=b"not JSON", headers={"Content-Type": "application/json"})

    counted = {"getHealth": 3, "sendTransaction": 1, "getNetwork": 1}
    assert net.requests == counted
    async with client.session.get(f"{net.url}/_localnet/requests") as response:
        assert await response.json() == counted


@pytest.mark.parametrize("method", methods.NOT_SERVED)
async def test_what_is_not_served_is_unknown(net, client, method):
    assert (await client.call(net, method))["error"] == {"code": -32601, "message": "method not found", "data": method}
    assert net.requests[method] == 1


async def test_a_status_comes_without_a_body(net, client):
    net.fault = {"getHealth": faults.too_many_requests(7), "getNetwork": faults.unavailable()}.get
    body = {"jsonrpc": "2.0", "id": 1}
    async with client.session.post(net.url, json={**body, "method": "getHealth"}) as response:
        assert (response.status, response.headers["Retry-After"], await response.read()) == (429, "7", b"")
    async with client.session.post(net.url, json={**body, "method": "getNetwork"}) as response:
        assert (response.status, await response.read()) == (503, b"")
    assert "result" in await client.call(net, "getVersionInfo")


async def test_a_body_can_be_cut(net, client):
    net.fault = lambda _method: faults.cut(30)
    with pytest.raises(aiohttp.ClientPayloadError):
        await client.call(net, "getHealth")


async def test_a_body_can_be_no_json(net, client):
    net.fault = lambda _method: faults.malformed()
    with pytest.raises(ValueError, match="Expecting value"):
        await client.call(net, "getHealth")


async def test_an_error_can_stand_in_for_the_result(net, client):
    net.fault = lambda _method: faults.rpc_error(-32001, "request exceeded processing limit threshold")
    answer = await client.call(net, "getEvents", startLedger=3_400_000)
    assert answer["error"] == {"code": -32001, "message": "request exceeded processing limit threshold"}


async def test_a_backend_can_lag(net, client):
    tip = net.latest_ledger
    lagging = iter([faults.lagging(12), None])
    net.fault = lambda _method: next(lagging)
    assert (await client.result(net, "getHealth"))["latestLedger"] == tip - 12
    assert (await client.result(net, "getHealth"))["latestLedger"] == tip


async def test_an_answer_can_be_slow(net, client):
    net.fault = lambda _method: faults.slow(60)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await client.call(net, "getHealth")
    net.fault = None
    assert "result" in await client.call(net, "getHealth")


async def test_a_member_of_the_result_can_be_missing(net, client):
    net.fault = lambda _method: faults.lacking("latestLedger")
    assert "latestLedger" not in await client.result(net, "getHealth")


async def test_a_node_can_be_of_another_network(net, client):
    net.fault = lambda _method: faults.another_network("Elsewhere")
    assert (await client.result(net, "getNetwork"))["passphrase"] == "Elsewhere"
    assert (await client.result(net, "getHealth"))["latestLedger"] == net.latest_ledger


async def test_a_range_that_is_not_held_can_be_answered_with_nothing(net, client):
    net.fault = lambda _method: faults.lenient()
    before = await client.result(net, "getEvents", startLedger=net.oldest_ledger - 5_000)
    assert (before["events"], before["oldestLedger"]) == ([], net.oldest_ledger)
    behind = await client.result(net, "getEvents", startLedger=net.latest_ledger + 5)
    assert (behind["events"], behind["latestLedger"]) == ([], net.latest_ledger)
    held = await client.result(net, "getEvents", startLedger=net.latest_ledger - 100)
    net.fault = None
    assert held == await client.result(net, "getEvents", startLedger=net.latest_ledger - 100)


async def test_the_oldest_ledgers_can_go_while_a_page_is_read(client):
    async with localnet.serve(history=STORY, retention=None) as net:
        oldest = net.oldest_ledger
        whole = await client.result(net, "getEvents", startLedger=oldest)
        edge = whole["events"][0]["ledger"]
        net.fault = lambda _method: faults.trimming(edge + 1 - oldest)
        page = await client.result(net, "getEvents", startLedger=oldest)
        assert page["oldestLedger"] == oldest
        assert page["events"] == [event for event in whole["events"] if event["ledger"] > edge]
        assert page["events"] != whole["events"]
        assert net.oldest_ledger == edge + 1
