"""How long the client waits for a node, how much it asks at once, and how often."""

import asyncio
import gzip
import time

import pytest
from aiohttp import web

from shared import errors
from tests.unit.rpc.asking import http, hung, limits_sent, page
from tests.unit.rpc.faulty import KEY, error


async def test_a_slow_node_is_left_at_the_deadline_of_a_request(start, connect):
    slow, quick = await start(), await start()
    gone = asyncio.Event()

    async def wait(_asked):
        await gone.wait()
        return {"result": {}}

    slow.always["getEvents"] = wait
    client = await connect(slow, quick, timeout_seconds=0.1)
    answer = await page(client)
    gone.set()
    assert answer.node == quick.url
    assert "within 0.1 s" in client.nodes[0].reason


async def test_a_call_ends_with_its_own_deadline(start, connect, monkeypatch):
    monkeypatch.setattr("shared.rpc.retry.BACKOFF_BASE_SECONDS", 0.2)
    node = await start()
    node.always["getEvents"] = error(-32603, "down")
    client = await connect(node, max_attempts=1000, call_seconds=0.3)
    began = time.monotonic()
    with pytest.raises(errors.RpcUnavailable, match="down"):
        await page(client)
    assert time.monotonic() - began < 3


async def test_a_request_does_not_outlast_its_call(start, connect):
    node = await start()
    gone = hung(node)
    client = await connect(node, timeout_seconds=30, call_seconds=0.3)
    async with asyncio.timeout(10):
        with pytest.raises(errors.RpcUnavailable, match="no whole answer within"):
            await page(client)
    gone.set()


async def test_an_answer_that_is_too_large_makes_the_page_smaller(start, connect):
    node = await start()

    def compressed(_asked):
        body = gzip.compress(b"x" * 1_000_000)
        assert len(body) < 2000
        return web.Response(body=body, headers={"Content-Encoding": "gzip"})

    def in_chunks(_asked):
        response = web.Response(body=b"x" * 5000)
        response.enable_chunked_encoding()
        return response

    node.script["getEvents"] = [{"result": {"filler": "x" * 5000}}, compressed, in_chunks]
    client = await connect(node, max_body_bytes=2000)
    await page(client, limit=100)
    assert limits_sent(node) == [100, 50, 25, 12]


async def test_an_entry_that_is_too_large_is_an_error(start, connect):
    node = await start()
    node.entries[KEY] = "A" * 5000
    client = await connect(node, max_body_bytes=2000, max_attempts=2)
    with pytest.raises(errors.RpcUnavailable, match="more than 2000 bytes"):
        await client.entries(keys=[KEY])


async def test_a_page_over_the_time_limit_halves_and_recovers(start, connect):
    node = await start()
    limit_hit = error(-32001, "[-32001] request exceeded processing limit threshold")
    node.script["getEvents"] = [limit_hit, limit_hit]
    client = await connect(node)
    await page(client, limit=1000)
    for _ in range(33):
        await page(client, limit=1000)
    limits = limits_sent(node)
    assert limits[:4] == [1000, 500, 250, 250]
    assert limits == [1000, 500, *sorted(limits[2:])]
    assert 250 < limits[-1] < 1000
    assert client.nodes[0].trusted


async def test_a_page_of_one_is_not_made_smaller(start, connect):
    node = await start()
    node.always["getEvents"] = error(-32001, "too slow")
    client = await connect(node, max_attempts=4)
    with pytest.raises(errors.RpcUnavailable, match="4 attempts"):
        await page(client, limit=2)
    limits = limits_sent(node)
    assert limits == [2, 1, 1, 1]


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_honoured(start, connect, status):
    node = await start()
    node.script["getEvents"] = [http(status, **{"Retry-After": "1"})]
    client = await connect(node)
    await page(client)
    assert node.times[-1] - node.times[-2] >= 1.0


async def test_retry_after_sends_the_call_to_another_node_at_once(start, connect):
    first, second = await start(), await start()
    first.script["getEvents"] = [http(429, **{"Retry-After": "3600"})]
    client = await connect(first, second)
    assert (await page(client)).node == second.url
    assert (await page(client)).node == second.url
    assert first.asked["getEvents"] == 1


async def test_more_patience_than_a_call_has_is_not_spent(start, connect):
    node = await start()
    node.script["getEvents"] = [http(429, "slow down", **{"Retry-After": "30"})]
    client = await connect(node, call_seconds=5)
    began = time.monotonic()
    for words in ("in 1 attempt: ", "in 0 attempts: .* is on hold: "):
        with pytest.raises(errors.RpcUnavailable, match=f"{words}.*HTTP 429 slow down"):
            await page(client)
    assert time.monotonic() - began < 3
    assert node.asked["getEvents"] == 1


async def test_the_request_budget_is_kept_and_named(start, connect):
    node = await start()
    client = await connect(node, requests_per_second=20)
    await client.check()
    began = time.monotonic()
    await asyncio.gather(*(page(client) for _ in range(27)))
    assert time.monotonic() - began >= (27 + 3 - 20 - 2) / 20
    starved = await connect(node, requests_per_second=1, call_seconds=0.3)
    with pytest.raises(errors.RpcUnavailable, match="CHAINTRUE_RPC__REQUESTS_PER_SECOND"):
        await starved.check()
    assert starved.nodes[0].reason == "not asked yet"
