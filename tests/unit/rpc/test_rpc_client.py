"""What the client sends, and what it refuses to send."""

import asyncio

import pytest

from shared import rpc
from shared.rpc.nodes import IDLE_SECONDS
from tests.unit.rpc.asking import page
from tests.unit.rpc.faulty import KEY, TX_HASH, end


async def test_check_names_the_node_its_version_and_its_range(start, connect):
    node = await start()
    client = await connect(node)
    assert [state.trusted for state in client.nodes] == [None]
    checked = await client.check()
    assert (checked.node, checked.version, checked.protocol_version) == (node.url, "28.0.1-4c94485e", 28)
    assert (checked.health.oldest_ledger, checked.health.latest_ledger) == (100, 200)
    state = client.nodes[0]
    assert (state.url_shown, state.trusted, state.reason) == (node.url, True, None)
    assert (state.latest_ledger, state.oldest_ledger, state.version) == (200, 100, "28.0.1-4c94485e")


async def test_a_node_is_checked_once(start, connect):
    node = await start()
    client = await connect(node)
    await asyncio.gather(*(page(client) for _ in range(5)))
    assert node.asked == {"getNetwork": 1, "getVersionInfo": 1, "getHealth": 1, "getEvents": 5}
    assert len({request["id"] for request in node.requests}) == len(node.requests)


async def test_a_node_is_checked_again_after_idling(start, connect, monkeypatch):
    node = await start()
    client = await connect(node)
    await page(client)
    monkeypatch.setattr("shared.rpc.nodes.IDLE_SECONDS", -IDLE_SECONDS)
    await page(client)
    assert node.asked["getNetwork"] == 2


async def test_filters_hold_five_contracts_each_and_have_one_shape(start, connect):
    node = await start()
    client = await connect(node)
    contracts = [f"C{number}" for number in range(12)]
    await client.events(contracts=[*contracts, "C0"], start_ledger=150, limit=7)
    filters = [{"contractIds": contracts[:5]}, {"contractIds": contracts[5:10]}, {"contractIds": contracts[10:]}]
    assert node.requests[-1]["params"] == {"startLedger": 150, "filters": filters, "pagination": {"limit": 7}}
    await client.events(contracts=["C0"], cursor=end(160))
    pagination = {"limit": 1000, "cursor": end(160)}
    assert node.requests[-1]["params"] == {"filters": [{"contractIds": ["C0"]}], "pagination": pagination}


@pytest.mark.parametrize(
    "wrong",
    [
        {"contracts": []},
        {"contracts": [f"C{number}" for number in range(26)]},
        {"cursor": None},
        {"start_ledger": 5},
        {"cursor": None, "start_ledger": 0},
        {"cursor": None, "start_ledger": 2**32},
        {"limit": 0},
        {"limit": 10_001},
        {"node": "https://nobody.example"},
    ],
)
async def test_a_page_that_cannot_be_asked_for(start, connect, wrong):
    node = await start()
    client = await connect(node)
    with pytest.raises(ValueError, match=r"\w"):
        await page(client, **wrong)
    assert not node.requests


@pytest.mark.parametrize("key", ["", "x", "AAAA\n", "AAB=", "AA-_", "AAA"])
async def test_a_key_that_is_not_canonical_is_not_sent(start, connect, key):
    client = await connect(await start())
    with pytest.raises(ValueError, match="canonical"):
        await client.entries(keys=[KEY, key])


async def test_entries_of_no_key_and_of_too_many(start, connect):
    node = await start()
    client = await connect(node)
    assert (await client.entries(keys=[])).entries == {}
    with pytest.raises(ValueError, match="201"):
        await client.entries(keys=[f"AA{number:02x}" for number in range(0x100, 0x100 + 201)])


async def test_entries_are_asked_once_each_and_absent_ones_are_not_there(start, connect):
    node = await start()
    node.entries[KEY] = "AAAA"
    client = await connect(node)
    answer = await client.entries(keys=[KEY, "AAAA", KEY])
    assert node.requests[-2]["params"] == {"keys": [KEY, "AAAA"]}
    assert node.requests[-1]["params"] == {"keys": ["AAAA"]}  # an absence is believed once it was told twice
    assert {key: entry.xdr for key, entry in answer.entries.items()} == {KEY: "AAAA"}
    assert (answer.latest_ledger, answer.node) == (200, node.url)


async def test_a_hash_is_sent_in_lower_case(start, connect):
    node = await start()
    client = await connect(node)
    answer = await client.transaction(TX_HASH.upper())
    assert answer.status is rpc.TransactionStatus.NOT_FOUND
    assert node.requests[-1]["params"] == {"hash": TX_HASH}
    with pytest.raises(ValueError, match="64 hex digits"):
        await client.transaction("0x" + TX_HASH)


async def test_the_client_is_used_inside_its_block_only(start):
    node = await start()
    client = rpc.Client(urls=[node.url], passphrase=node.passphrase)
    with pytest.raises(RuntimeError, match="async with"):
        await client.health()
