"""Nodes that hold other ranges, or are late: which answers count."""

import asyncio

import pytest

from shared import errors
from tests.unit.rpc.asking import http, hung, page, until
from tests.unit.rpc.faulty import KEY, TX_HASH, end, error


async def test_a_ledger_that_is_gone_is_asked_of_the_other_nodes(start, connect):
    short, long = await start(oldest=180), await start(oldest=50)
    client = await connect(short, long)
    assert (await page(client, cursor=end(60))).node == long.url
    assert (await page(client, cursor=end(60))).node == long.url
    assert short.asked["getEvents"] == 1  # it is known to hold it no more
    assert all(state.trusted for state in client.nodes)
    with pytest.raises(errors.LedgerOutOfRange) as caught:
        await page(client, cursor=None, start_ledger=40)
    assert (caught.value.oldest, caught.value.latest) == (50, 200)


async def test_a_node_that_is_down_may_hold_what_others_have_lost(start, connect):
    short, long = await start(oldest=180), await start(oldest=50)
    long.script["getNetwork"] = [http(502), http(502)]
    client = await connect(short, long)
    assert (await page(client, cursor=end(60))).node == long.url
    long.always["getEvents"] = http(502)
    with pytest.raises(errors.LedgerOutOfRange) as caught:
        await page(client, cursor=end(60))
    assert caught.value.oldest == 180


async def test_an_empty_page_for_a_range_that_is_gone(start, connect):
    node = await start()
    node.always["getEvents"] = {"result": {"events": [], "cursor": "", **node.range()}}
    client = await connect(node)
    for first in (99, 201):
        with pytest.raises(errors.LedgerOutOfRange) as caught:
            await page(client, cursor=None, start_ledger=first)
        assert (caught.value.oldest, caught.value.latest) == (100, 200)


async def test_the_end_of_the_ledger_before_the_oldest_is_outside(start, connect):
    client = await connect(await start())
    with pytest.raises(errors.LedgerOutOfRange):
        await page(client, cursor=end(99))
    assert (await page(client, cursor=None, start_ledger=100)).oldest_ledger == 100


async def test_a_range_error_that_denies_itself_is_trouble_of_the_node(start, connect):
    node = await start()
    node.script["getEvents"] = [error(-32600, "startLedger must be within the ledger range: 100 - 200")]
    client = await connect(node)
    assert (await page(client)).at_tip
    assert node.asked["getEvents"] == 2


async def test_a_node_that_is_behind_the_cursor_is_left(start, connect):
    late, good = await start(latest=140), await start()
    client = await connect(late, good)
    assert (await page(client, cursor=end(160))).node == good.url
    assert not client.nodes[0].trusted
    assert "140" in client.nodes[0].reason
    alone = await connect(late)
    with pytest.raises(errors.LedgerOutOfRange) as caught:
        await page(alone, cursor=end(160))
    assert caught.value.latest == 140


async def test_a_start_in_the_future_is_not_held_against_a_node(start, connect):
    client = await connect(await start())
    with pytest.raises(errors.LedgerOutOfRange):
        await page(client, cursor=None, start_ledger=5000)
    assert client.nodes[0].trusted


async def test_a_stale_answer_about_entries_is_discarded(start, connect):
    """A balancer with a late backend behind one address."""
    node = await start(latest=210)
    client = await connect(node)
    await client.health()
    node.script["getLedgerEntries"] = [{"result": {"entries": [], "latestLedger": 209}}]
    node.entries[KEY] = "AAAA"
    answer = await client.entries(keys=[KEY])
    assert (answer.latest_ledger, list(answer.entries)) == (210, [KEY])
    assert not client.nodes[0].trusted
    assert "209" in client.nodes[0].reason


async def test_the_health_of_a_late_backend_is_asked_again(start, connect):
    node = await start(latest=210)
    client = await connect(node)
    await client.check()
    late = {"status": "healthy", **node.range()}
    node.script["getHealth"] = [{"result": late | {"latestLedger": 207}}, {"result": late | {"latestLedger": 208}}]
    assert (await client.health()).latest_ledger == 208  # so much is jitter
    assert not client.nodes[0].trusted


async def test_a_stale_answer_about_a_transaction_is_asked_elsewhere(start, connect):
    first, second = await start(), await start(latest=220)
    client = await connect(first, second)
    answer = await client.transaction(TX_HASH, min_ledger=215)
    assert (answer.node, answer.latest_ledger) == (second.url, 220)
    assert not client.nodes[0].trusted
    with pytest.raises(errors.RpcUnavailable, match="200"):
        await client.transaction(TX_HASH, min_ledger=215, node=first.url)


async def test_a_pinned_node_is_measured_by_itself(start, connect):
    first, second = await start(latest=300), await start(latest=250)
    client = await connect(first, second)
    await client.health()
    assert (await client.transaction(TX_HASH, node=second.url)).latest_ledger == 250
    second.latest = 240
    with pytest.raises(errors.RpcUnavailable, match="its latest ledger is 240"):
        await client.transaction(TX_HASH, node=second.url)


async def test_answers_that_overtake_each_other_are_not_stale(start, connect):
    node = await start(latest=200)
    client = await connect(node)
    await client.check()
    overtaken = asyncio.Event()

    async def late(_asked):
        await overtaken.wait()
        return {"result": {"entries": [], "latestLedger": 200}}

    node.script["getLedgerEntries"] = [late]
    first = asyncio.create_task(client.entries(keys=[KEY]))
    await until(lambda: node.asked["getLedgerEntries"] == 1)
    node.latest = 201
    assert (await client.entries(keys=[KEY])).latest_ledger == 201
    overtaken.set()
    assert (await first).latest_ledger == 200
    assert client.nodes[0].trusted


async def test_a_page_of_a_late_node_is_good_but_the_node_is_left(start, connect):
    late, good = await start(latest=200), await start(latest=250)
    client = await connect(late, good, stall_seconds=0.05)
    assert (await page(client)).node == late.url
    await asyncio.sleep(0.06)  # it stands still
    await page(client)
    await until(lambda: client.nodes[1].latest_ledger == 250)
    answer = await page(client)
    assert (answer.node, answer.latest_ledger) == (late.url, 200)
    assert (await page(client)).node == good.url
    assert not client.nodes[0].trusted


async def test_all_nodes_stand_still_together(start, connect):
    first, second = await start(), await start()
    client = await connect(first, second, stall_seconds=0.05)
    for _ in range(4):
        assert (await page(client)).node == first.url
        await asyncio.sleep(0.06)
    await until(lambda: client.nodes[1].trusted)
    assert client.nodes[0].trusted


async def test_a_call_that_is_cancelled_counts_as_such(start, connect):
    node = await start()
    gone = hung(node)
    counted = []
    client = await connect(node, on_request=lambda _method, outcome: counted.append(outcome))
    call = asyncio.create_task(page(client))
    await until(lambda: node.asked["getEvents"] == 1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    gone.set()
    assert counted == ["ok", "ok", "ok", "cancelled"]
