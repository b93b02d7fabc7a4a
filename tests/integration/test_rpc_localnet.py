"""The RPC client against the localnet: a recorded history, with a node's real limits, windows and retention."""

import asyncio
from typing import Any

import pytest

from deploy import localnet
from shared import errors, position, rpc
from tests.recordings import VECTORS, lines

HISTORY = "story-real.jsonl.gz"
ABSENT_LOAN = (
    "AAAABgAAAAEU21CiZzId2/ub8ixYJE0FPh12WQx8ZK5sp3YZzJ2K2gAAABAAAAABAAAAAwAAAA8AAAAE"
    "TG9hbgAAAAMAAAAZAAAABQAAAAAAD0I/AAAAAQ=="
)


def client_of(*nets: localnet.Localnet, **settings: Any) -> rpc.Client:
    usual: dict[str, Any] = {"requests_per_second": 1000, "cooldown_seconds": 0.2}
    passphrase = nets[0].history["networkPassphrase"]
    return rpc.Client(urls=[net.url for net in nets], passphrase=passphrase, **(usual | settings))


async def read_all(client: rpc.Client, contracts: list[str], *, start: int, limit: int = 1000) -> list[rpc.EventPage]:
    """Every page from a ledger to the tip."""
    page = await client.events(contracts=contracts, start_ledger=start, limit=limit)
    pages = [page]
    while not page.at_tip:
        page = await client.events(contracts=contracts, cursor=page.cursor, limit=limit)
        pages.append(page)
    return pages


@pytest.fixture(scope="module")
def recorded():
    header, *rest = lines(HISTORY)
    events = [event for line in rest for event in line.get("events", ())]
    return header, rest, events


@pytest.fixture(scope="module")
async def net():
    async with localnet.serve(history=VECTORS / HISTORY, retention=None) as net:
        yield net


@pytest.mark.parametrize("limit", [3, 50, 1000])
async def test_every_event_arrives_once_and_in_order(net, recorded, limit):
    header, _, events = recorded
    contracts = list(header["contracts"].values())
    async with client_of(net) as client:
        checked = await client.check()
        pages = await read_all(client, contracts, start=net.oldest_ledger, limit=limit)
    assert checked.health.oldest_ledger == net.oldest_ledger
    told = [event for page in pages for event in page.events]
    wanted = [event for event in events if event["contractId"] in contracts]
    assert [(each.id, each.type, each.contract, each.tx_hash, list(each.topics), each.value) for each in told] == [
        (each["id"], each["type"], each["contractId"], each["txHash"], each.get("topic", []), each["value"])
        for each in wanted
    ]
    assert len(told) > 100
    assert any(not page.events for page in pages)  # windows without an event are pages too
    assert position.complete_ledger(pages[-1].cursor) == net.latest_ledger


async def test_entries_are_those_of_the_last_write(net, recorded):
    _, rest, _ = recorded
    last = {entry["key"]: entry for line in rest for entry in line.get("entries", ())}
    keys = [key for key in last if last[key].get("liveUntilLedgerSeq", 0) > net.latest_ledger][:150]
    async with client_of(net) as client:
        answer = await client.entries(keys=[*keys, ABSENT_LOAN], min_ledger=net.latest_ledger)
    assert keys
    assert {key: entry.xdr for key, entry in answer.entries.items()} == {key: last[key]["xdr"] for key in keys}
    assert {entry.last_modified for entry in answer.entries.values()} == {
        last[key]["lastModifiedLedgerSeq"] for key in keys
    }
    assert answer.latest_ledger == net.latest_ledger


async def test_the_outcome_of_transactions(net, recorded):
    _, rest, _ = recorded
    calls = [line for line in rest if line["kind"] == "tx"]
    good = next(line for line in calls if line["status"] == "SUCCESS")
    bad = next(line for line in calls if line["status"] == "FAILED")
    async with client_of(net) as client:
        for line in (good, bad):
            told = await client.transaction(line["txHash"])
            assert (told.status, told.ledger, told.created_at) == (line["status"], line["ledger"], line["closedAt"])
            assert (told.envelope_xdr, told.result_xdr) == (line["envelopeXdr"], line["resultXdr"])
        absent = await client.transaction("ab" * 32, node=told.node)
    assert (absent.status, absent.ledger, absent.node) == (rpc.TransactionStatus.NOT_FOUND, None, told.node)


async def test_the_edges_of_what_is_held(recorded):
    header, _, _ = recorded
    contracts = [header["contracts"]["creditline"]]
    async with (
        localnet.serve(history=VECTORS / HISTORY, tip=3_410_000, retention=1000) as net,
        client_of(net) as client,
    ):
        oldest, latest = net.oldest_ledger, net.latest_ledger
        for start in (oldest - 1, latest + 1):
            with pytest.raises(errors.LedgerOutOfRange) as caught:
                await client.events(contracts=contracts, start_ledger=start)
            assert (caught.value.oldest, caught.value.latest) == (oldest, latest)
        with pytest.raises(errors.LedgerOutOfRange):
            await client.events(contracts=contracts, cursor=position.end_of(oldest - 1))
        page = await client.events(contracts=contracts, start_ledger=latest)
        again = await client.events(contracts=contracts, cursor=page.cursor)
        assert (again.cursor, again.events, again.at_tip) == (page.cursor, (), True)
        await net.advance_to(latest + 1)
        assert (
            position.complete_ledger((await client.events(contracts=contracts, cursor=page.cursor)).cursor)
            == latest + 1
        )


async def test_a_bad_day_changes_nothing_that_is_read(recorded, monkeypatch):
    """Every third request fails in one of many ways; the events are the same."""
    monkeypatch.setattr("shared.rpc.retry.BACKOFF_BASE_SECONDS", 0.01)
    header, _, events = recorded
    contracts = [header["contracts"]["creditline"]]
    bad = [
        localnet.Fault(status=503),
        localnet.Fault(status=502),
        localnet.Fault(garbage=True),
        localnet.Fault(keep=30),
        localnet.Fault(error=(-32603, "could not query captive core")),
        localnet.Fault(error=(-32001, "[-32001] request exceeded processing limit threshold")),
        localnet.Fault(status=429, retry_after=0),
        localnet.Fault(lag=5),
    ]
    count = 0

    def fault(_method: str) -> localnet.Fault | None:
        nonlocal count
        count += 1
        return bad[count // 3 % len(bad)] if count % 3 == 0 else None

    outcomes = set()
    async with (
        localnet.serve(history=VECTORS / HISTORY, retention=None, fault=fault) as net,
        client_of(net, on_request=lambda _method, outcome: outcomes.add(outcome), max_attempts=20) as client,
    ):
        pages = await read_all(client, contracts, start=net.oldest_ledger, limit=8)
    told = [event.id for page in pages for event in page.events]
    assert told == [event["id"] for event in events if event["contractId"] in contracts]
    assert outcomes >= {
        "ok",
        "busy",
        "server_error",
        "malformed",
        "unreachable",
        "node_error",
        "time_limit",
        "rate_limited",
    }


async def test_failover_to_a_second_node_and_back_while_the_chain_goes_on(recorded):
    header, _, _ = recorded
    contracts = [header["contracts"]["creditline"]]
    serve: dict[str, Any] = {"history": VECTORS / HISTORY, "tip": 3_410_000, "retention": None}
    async with (
        localnet.serve(**serve) as first,
        localnet.serve(**serve) as second,
        client_of(first, second) as client,
    ):
        page = await client.events(contracts=contracts, start_ledger=3_409_000)
        assert page.node == first.url
        first.fault = lambda _method: localnet.Fault(status=503)
        await second.advance_to(3_410_010)
        page = await client.events(contracts=contracts, cursor=page.cursor)
        assert (page.node, page.latest_ledger) == (second.url, 3_410_010)
        first.fault = None  # it is back, and ten ledgers behind
        for _ in range(5):
            page = await client.events(contracts=contracts, cursor=page.cursor)
            assert page.node == second.url
            await asyncio.sleep(0.1)
        await first.advance_to(3_410_010)
        async with asyncio.timeout(20):
            while page.node != first.url:
                page = await client.events(contracts=contracts, cursor=page.cursor)
                await asyncio.sleep(0.05)
        assert all(state.trusted for state in client.nodes)
