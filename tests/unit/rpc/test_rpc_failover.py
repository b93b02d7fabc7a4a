"""The client over several nodes: whom it asks, whom it believes, and whom it leaves."""

import asyncio

import pytest
import structlog

from shared import errors
from tests.unit.rpc.asking import http, limits_sent, page
from tests.unit.rpc.faulty import TX_HASH, error


async def test_failover_and_back(start, connect):
    first, second = await start(), await start()
    client = await connect(first, second)
    assert (await page(client)).node == first.url
    first.always["getEvents"] = first.always["getNetwork"] = http(502)
    with structlog.testing.capture_logs() as lines:
        for _ in range(5):
            assert (await page(client)).node == second.url
        first.always.clear()

        async with asyncio.timeout(10):
            while True:
                answer = await page(client)
                if answer.node == first.url:
                    break
                await asyncio.sleep(0.02)
    warnings = [line["event"] for line in lines if line["log_level"] == "warning"]
    assert warnings == ["rpc node distrusted"]
    assert lines[-1]["event"] == "rpc node trusted again"
    assert all(state.trusted for state in client.nodes)


async def test_a_preferred_node_that_is_down_costs_no_call_its_time(start, connect):
    """The look at a node that may be back runs beside the calls."""
    first, second = await start(), await start()
    asked, gone = asyncio.Event(), asyncio.Event()

    async def hang(_asked):
        asked.set()
        await gone.wait()
        return error(-32603, "down")

    first.script["getNetwork"] = [http(502)]
    first.always["getNetwork"] = hang
    client = await connect(first, second)
    await page(client)
    await asyncio.sleep(0.06)  # the pause of the first node
    await page(client)
    await asyncio.wait_for(asked.wait(), 10)
    assert (await asyncio.wait_for(page(client), 5)).node == second.url
    gone.set()


async def test_the_second_node_is_checked_before_it_is_believed(start, connect):
    first, second = await start(), await start()
    second.passphrase = "Public Global Stellar Network ; September 2015"
    client = await connect(first, second, max_attempts=3)
    await page(client)
    first.always["getEvents"] = http(502)
    with pytest.raises(errors.RpcUnavailable, match="Public Global"):
        await page(client)
    assert second.asked["getEvents"] == 0
    state = client.nodes[1]
    assert (state.trusted, "Public Global" in state.reason) == (False, True)


@pytest.mark.parametrize("place", [0, 1])
async def test_another_network_is_named_at_the_start(start, connect, place):
    nodes = [await start(), await start()]
    nodes[place].passphrase = "Public Global Stellar Network ; September 2015"
    nodes[1 - place].always["getNetwork"] = http(502)
    client = await connect(*[f"{node.url}/v1/s3cr3t-key" for node in nodes])
    with pytest.raises(errors.WrongNetwork) as caught:
        await client.check()
    text = str(caught.value)
    assert "CHAINTRUE_NETWORK__PASSPHRASE" in text
    assert "CHAINTRUE_RPC__URLS" in text
    assert "'Public Global Stellar Network ; September 2015'" in text
    assert nodes[place].url in text
    assert "s3cr3t" not in text
    assert not caught.value.retryable


async def test_another_network_in_every_node_ends_a_call(start, connect):
    node = await start()
    node.passphrase = "Standalone"
    client = await connect(node)
    with pytest.raises(errors.WrongNetwork, match="Standalone"):
        await page(client)
    assert node.asked == {"getNetwork": 1}


@pytest.mark.parametrize("version", ["27.1.0", "v26.9.9-rc1", "9.9.9"])
async def test_an_old_version_is_refused(start, connect, version):
    node = await start()
    node.version = version
    client = await connect(node)
    with pytest.raises(errors.WrongNetwork, match=r"at least 27\.1\.1"):
        await client.check()
    lenient = await connect(node, minimum_version="9.0.0")
    assert (await lenient.check()).version == version


@pytest.mark.parametrize(
    ("version", "warned"), [("", 1), ("0.0.0", 1), ("nightly", 1), ("27.1.1", 0), ("v30.0.1-abc", 0)]
)
async def test_an_unstamped_version_is_accepted_and_logged(start, connect, version, warned):
    node = await start()
    node.version = version
    client = await connect(node)
    with structlog.testing.capture_logs() as lines:
        await client.check()
        await client.check()
    assert [line["event"] for line in lines] == ["rpc node tells no version"] * warned


async def test_an_unhealthy_node_is_passed_over(start, connect):
    first, second = await start(), await start()
    first.always["getHealth"] = error(
        -32603, "[-32603] latency (35s) since last known ledger closed is too high (>30s)"
    )
    client = await connect(first, second)
    assert (await client.check()).node == second.url
    assert (await client.health()).node == second.url


async def test_the_reach_is_that_of_all_nodes_and_names_those_that_are_silent(start, connect):
    late, whole, foreign, silent = (await start(oldest=150, latest=210), await start(), await start(), await start())
    foreign.passphrase, foreign.oldest = "Standalone", 1
    silent.always["getHealth"] = http(503)
    client = await connect(late, whole, foreign, silent)
    reach = await client.reach()
    assert (reach.oldest_ledger, reach.latest_ledger, reach.silent) == (100, 210, (silent.url,))
    silent.always.clear()
    assert (await client.reach()).silent == ()


async def test_a_reach_that_nobody_tells_is_an_error(start, connect):
    node = await start()
    node.always["getHealth"] = http(503)
    client = await connect(node)
    with pytest.raises(errors.RpcUnavailable, match="HTTP 503"):
        await client.reach()


async def test_checking_one_node_asks_no_other(start, connect):
    first, second = await start(), await start()
    client = await connect(first, second)
    assert (await client.check(node=second.url)).node == second.url
    assert not first.requests


async def test_a_pinned_call_asks_no_other_node(start, connect):
    first, second = await start(), await start()
    second.script["getTransaction"] = [http(502)]
    client = await connect(first, second)
    for _ in range(2):
        assert (await client.transaction(TX_HASH, node=second.url)).node == second.url
    assert not first.requests
    second.always["getTransaction"] = http(502)
    pinned = await connect(first, second, max_attempts=2)
    with pytest.raises(errors.RpcUnavailable, match="HTTP 502"):
        await pinned.transaction(TX_HASH, node=second.url)
    assert not first.requests


async def test_a_node_without_a_method_of_the_check_is_passed_over(start, connect):
    first, second = await start(), await start()
    first.always["getVersionInfo"] = error(-32601, "method not found")
    client = await connect(first, second)
    assert (await page(client)).node == second.url
    alone = await connect(first)
    with pytest.raises(errors.RpcRefused, match="getVersionInfo: error -32601: method not found"):
        await page(alone)


async def test_pages_that_fail_side_by_side_shrink_once(start, connect):
    node = await start()
    both = asyncio.Barrier(2)

    async def slow(_asked):
        await both.wait()
        return error(-32001, "too slow")

    node.script["getEvents"] = [slow, slow]
    client = await connect(node)
    await asyncio.gather(page(client, limit=100), page(client, limit=100))
    assert limits_sent(node) == [100, 100, 50, 50]
