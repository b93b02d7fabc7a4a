"""The tip moves, retention follows, and what a node says is always of one moment."""

import asyncio
from typing import Any

import pytest

from deploy import localnet
from deploy.localnet import net as nets
from shared import errors
from tests.recordings import VECTORS, lines

STORY = VECTORS / "story-real.jsonl.gz"
FIRST = 3_400_000
NONCE = "AAAABgAAAAAAAAAAkPW6syHZP2kZZiMSOaP42RH9rpQ7Wy9lp4tMDpJhO5EAAAAVAAAAAAAAXu0AAAAA"
NONCE_LIVES_UNTIL = 3_417_279


async def test_a_node_begins_empty_and_takes_in_ledgers(client):
    async with localnet.serve(history=STORY, tip=0) as net:
        assert (net.latest_ledger, net.oldest_ledger) == (0, 0)
        assert "error" in await client.call(net, "getHealth")

        await net.advance_to(FIRST)

        assert (net.latest_ledger, net.oldest_ledger) == (FIRST, FIRST)
        assert (await client.result(net, "getHealth"))["latestLedger"] == FIRST


async def test_retention_moves_with_the_tip(client):
    async with localnet.serve(history=STORY, tip=FIRST + 9, retention=10) as net:
        assert net.oldest_ledger == FIRST
        assert len((await client.result(net, "getEvents", startLedger=FIRST))["events"]) > 0

        await net.advance_to(FIRST + 10)

        assert net.oldest_ledger == FIRST + 1
        refused = await client.call(net, "getEvents", startLedger=FIRST)
        assert refused["error"]["message"] == f"startLedger must be within the ledger range: {FIRST + 1} - {FIRST + 10}"


async def test_all_ledgers_are_kept_without_retention():
    async with localnet.serve(history=STORY, retention=None) as net:
        assert net.oldest_ledger == FIRST


async def test_the_tip_never_moves_back():
    async with localnet.serve(history=STORY, tip=FIRST + 5) as net:
        await net.advance_to(FIRST + 5)
        with pytest.raises(ValueError, match="does not move back"):
            await net.advance_to(FIRST + 4)
        assert net.latest_ledger == FIRST + 5


async def test_two_who_wait_to_move_the_tip_do_not_move_it_back():
    async with localnet.serve(history=STORY, tip=FIRST) as net:
        async with net._player._moved:
            waiting = [asyncio.create_task(net.advance_to(FIRST + ahead)) for ahead in (9, 5)]
            await asyncio.sleep(0)  # both looked at the tip, and found nothing wrong
        await asyncio.gather(*waiting)
        assert net.latest_ledger == FIRST + 9


async def test_events_and_transactions_appear_with_their_ledger(client):
    transaction = next(line for line in lines("story-real.jsonl.gz") if line.get("events") and line["ledger"] > FIRST)
    ledger = transaction["ledger"]
    async with localnet.serve(history=STORY, tip=ledger - 1) as net:
        page = await client.result(net, "getEvents", startLedger=FIRST, pagination={"limit": 10_000})
        assert all(event["ledger"] < ledger for event in page["events"])
        before = await client.result(net, "getTransaction", hash=transaction["txHash"])
        assert (before["status"], before["latestLedger"]) == ("NOT_FOUND", ledger - 1)

        await net.advance_to(ledger)

        following = await client.result(net, "getEvents", pagination={"cursor": page["cursor"], "limit": 10_000})
        ids = [event["id"] for event in following["events"]]
        assert set(ids) >= {event["id"] for event in transaction["events"]}
        assert not set(ids) & {event["id"] for event in page["events"]}
        after = await client.result(net, "getTransaction", hash=transaction["txHash"])
        assert (after["status"], after["ledger"]) == ("SUCCESS", ledger)


async def test_an_entry_is_as_of_the_tip(client):
    versions: dict[str, list[dict[str, Any]]] = {}
    for line in lines("story-real.jsonl.gz"):
        for entry in line.get("entries", ()):
            versions.setdefault(entry["key"], []).append(entry)
    key, written = next((key, found) for key, found in versions.items() if len({e["xdr"] for e in found}) > 3)
    by_ledger = {entry["lastModifiedLedgerSeq"]: entry["xdr"] for entry in written}
    async with localnet.serve(history=STORY, tip=min(by_ledger)) as net:
        for ledger, value in sorted(by_ledger.items()):
            await net.advance_to(ledger)
            answer = await client.result(net, "getLedgerEntries", keys=[key])
            assert answer["latestLedger"] == ledger
            assert [(entry["xdr"], entry["lastModifiedLedgerSeq"]) for entry in answer["entries"]] == [(value, ledger)]


async def test_a_temporary_entry_ends_after_its_last_live_ledger(client):
    async with localnet.serve(history=STORY, tip=NONCE_LIVES_UNTIL) as net:
        (entry,) = (await client.result(net, "getLedgerEntries", keys=[NONCE]))["entries"]
        assert entry["liveUntilLedgerSeq"] == NONCE_LIVES_UNTIL

        await net.advance_to(NONCE_LIVES_UNTIL + 1)

        assert (await client.result(net, "getLedgerEntries", keys=[NONCE]))["entries"] == []


async def test_a_persistent_entry_is_archived_after_its_last_live_ledger_and_restored(client):
    _header, *transactions = lines("random-archive-6.jsonl.gz")
    restored, transaction = next(
        (entry, line) for line in transactions for entry in line["entries"] if entry["change"] == "restored"
    )
    key, ledger = restored["key"], transaction["ledger"]
    async with localnet.serve(history=VECTORS / "random-archive-6.jsonl.gz", tip=ledger - 1) as net:
        (before,) = (await client.result(net, "getLedgerEntries", keys=[key]))["entries"]
        assert before["liveUntilLedgerSeq"] == 0

        await net.advance_to(ledger)

        (after,) = (await client.result(net, "getLedgerEntries", keys=[key]))["entries"]
        assert after["liveUntilLedgerSeq"] == restored["liveUntilLedgerSeq"] > ledger


async def test_played_at_a_pace_the_tip_reaches_the_end_and_stays(client):
    async with localnet.serve(history=STORY, pace=1e9) as net:
        async with asyncio.timeout(10):
            await net.wait_for(3_624_900)
        assert (await client.result(net, "getHealth"))["latestLedger"] == 3_624_900


async def test_a_pace_is_ledgers_a_second():
    async with localnet.serve(history=STORY, tip=FIRST, pace=200.0) as net:
        clock = asyncio.get_running_loop().time
        began = clock()
        async with asyncio.timeout(10):
            await net.wait_for(FIRST + 60)
        took = clock() - began
        # 0.3 s, less what passed before we looked; how much later it may be depends on the machine.
        assert took > 0.2


async def test_empty_ledgers_may_be_skipped():
    busy = sorted({line["ledger"] for line in lines("story-real.jsonl.gz") if "ledger" in line})
    gap = next(index for index, ledger in enumerate(busy[1:], start=1) if ledger - busy[index - 1] > 10_000)
    async with localnet.serve(history=STORY, tip=busy[gap - 1], pace=20.0, skip_empty=True) as net:
        async with asyncio.timeout(10):
            await net.wait_for(busy[gap])
        assert net.latest_ledger in busy


async def test_a_clock_makes_a_node_unhealthy(client):
    now = 1_783_209_652.0
    async with localnet.serve(history=STORY, tip=FIRST + 10, clock=lambda: now) as net:
        assert (await client.result(net, "getHealth"))["status"] == "healthy"
        now += 30
        assert (await client.result(net, "getHealth"))["status"] == "healthy"
        now += 3665
        error = (await client.call(net, "getHealth"))["error"]
        assert error == {
            "code": -32603,
            "message": "[-32603] latency (1h1m35s) since last known ledger closed is too high (>30s)",
        }


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"tip": 5}, "the history begins at ledger 3400000"),
        ({"retention": 0}, "cannot keep 0 ledgers"),
        ({"pace": -1.0}, "cannot be played"),
        ({"history": VECTORS / "missing.jsonl"}, "cannot be read"),
        ({"history": VECTORS / "README.md"}, "is not a recorded history"),
    ],
)
async def test_what_cannot_be_served_is_refused(wrong, told):
    with pytest.raises(errors.SettingError, match=told):
        async with localnet.serve(**{"history": STORY, **wrong}):
            pytest.fail("it was served")


async def test_a_port_in_use_is_told():
    async with localnet.serve(history=STORY) as net:
        port = int(net.url.rpartition(":")[2])
        with pytest.raises(errors.SettingError, match="cannot be bound"):
            async with localnet.serve(history=STORY, port=port):
                pytest.fail("two servers on one port")


def test_the_demo_has_its_history():
    assert nets.STORY.read_bytes() == STORY.read_bytes()
