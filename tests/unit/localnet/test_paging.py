"""Following cursors delivers every event once, in order, whatever the page size and the history."""

import itertools
from typing import Any

import pytest
from stellar_sdk import xdr

from deploy import localnet
from tests.recordings import HISTORIES, VECTORS, lines
from tests.unit.localnet.conftest import Client

PAGES_AT_MOST = 2_000


async def followed(
    client: Client, net: localnet.Localnet, *, limit: int, filters: list[dict[str, Any]], start: int
) -> list[dict[str, Any]]:
    """All events behind a start ledger, by following cursors until one stands at the tip."""
    events: list[dict[str, Any]] = []
    params: dict[str, Any] = {"startLedger": start}
    for _ in range(PAGES_AT_MOST):
        pagination = {"limit": limit, **params.pop("pagination", {})}
        page = await client.result(net, "getEvents", filters=filters, pagination=pagination, **params)
        events += page["events"]
        if len(page["events"]) < limit and int(page["cursor"].partition("-")[0]) >> 32 == page["latestLedger"]:
            return events
        params = {"pagination": {"cursor": page["cursor"]}}
    pytest.fail("the cursor does not arrive")


@pytest.mark.parametrize("name", HISTORIES)
@pytest.mark.parametrize("limit", [97, 10_000])
async def test_every_event_is_delivered_once_and_in_order(name, limit, client):
    header, *transactions = lines(name)
    recorded = sorted((event for line in transactions for event in line.get("events", ())), key=lambda e: e["id"])
    async with localnet.serve(history=VECTORS / name, retention=None) as net:
        assert await followed(client, net, limit=limit, filters=[], start=header["startLedger"]) == recorded


async def test_a_filter_hides_what_it_does_not_name(client):
    header, *transactions = lines("random-1.jsonl.gz")
    contracts = [header["contracts"]["creditline"], header["contracts"]["reputation"]]
    recorded = [event["id"] for line in transactions for event in line["events"] if event["contractId"] in contracts]
    async with localnet.serve(history=VECTORS / "random-1.jsonl.gz", retention=None) as net:
        found = await followed(
            client, net, limit=500, filters=[{"contractIds": contracts}], start=header["startLedger"]
        )
        assert [event["id"] for event in found] == recorded


@pytest.mark.parametrize("name", HISTORIES)
async def test_every_transaction_is_found_and_listed(name, client):
    _header, *transactions = lines(name)
    # Of a long history the last ones: envelopes that are built take their time.
    start = transactions[-min(400, len(transactions))]["ledger"]
    transactions = [line for line in transactions if line["ledger"] >= start]
    recorded = [(line["ledger"], line["txOrder"], line["txHash"], line["status"]) for line in transactions]
    async with localnet.serve(history=VECTORS / name, retention=None) as net:
        listed, params = [], {"startLedger": start, "pagination": {"limit": 150}}
        for _ in range(PAGES_AT_MOST):
            page = await client.result(net, "getTransactions", **params)
            listed += page["transactions"]
            if len(page["transactions"]) < 150:
                break
            params = {"pagination": {"limit": 150, "cursor": page["cursor"]}}
        assert [(t["ledger"], t["applicationOrder"], t["txHash"], t["status"]) for t in listed] == recorded
        for line in transactions[:: len(transactions) // 50]:
            found = await client.result(net, "getTransaction", hash=line["txHash"])
            assert (found["status"], found["ledger"], found["createdAt"], found["applicationOrder"]) == (
                line["status"],
                line["ledger"],
                str(line["closedAt"]),
                line["txOrder"],
            )


@pytest.mark.parametrize("name", ["story-real.jsonl.gz", "random-1.jsonl.gz"])
async def test_ledgers_are_a_chain(name, client):
    async with localnet.serve(history=VECTORS / name) as net:
        start = net.latest_ledger - 99
        page = await client.result(net, "getLedgers", startLedger=start, pagination={"limit": 200})
        newest = await client.result(net, "getLatestLedger")
    headers = [xdr.LedgerHeaderHistoryEntry.from_xdr(ledger["headerXdr"]) for ledger in page["ledgers"]]
    assert [ledger["sequence"] for ledger in page["ledgers"]] == list(range(start, start + 100))
    assert newest["id"] == page["ledgers"][-1]["hash"]
    for before, after in itertools.pairwise(headers):
        assert after.header.previous_ledger_hash == before.hash
