"""One answer that is of another chain, or of nothing: it is asked for again, and leaves no trace."""

import asyncio
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from shared import errors, rpc
from shared.rpc import tip
from shared.rpc.tip import Close, Mark, Tip
from tests.unit.rpc.asking import page
from tests.unit.rpc.faulty import KEY, TX_HASH, FaultyNode, end, error

FAR = 58_000_000
NOW = 1_784_000_000


def foreign(node: FaultyNode, method: str) -> dict[str, Any]:
    """What a node of another network answers, which is far ahead in ledgers and closes them at the same times."""
    closes = {"latestLedgerCloseTime": str(NOW + 5 * node.latest), "oldestLedgerCloseTime": str(NOW - 600_000)}
    held = {"latestLedger": FAR, "oldestLedger": FAR - 120_960, **closes}
    return {
        "getNetwork": {"result": {"passphrase": "Another ; 2015", "protocolVersion": 28}},
        "getVersionInfo": {"result": {"version": "28.0.0", "protocolVersion": 28}},
        "getHealth": {"result": {"status": "healthy", **held}},
        "getEvents": {"result": {"events": [], "cursor": end(FAR), **held}},
        "getLedgerEntries": {"result": {"entries": [], "latestLedger": FAR}},
        "getTransaction": {"result": {"status": "NOT_FOUND", **held}},
    }[method]


def overlapping(node: FaultyNode, method: str) -> dict[str, Any]:
    """The same of a network that has our ledgers, too, and none of our contracts."""
    closes = {"latestLedgerCloseTime": str(NOW + 5 * node.latest), "oldestLedgerCloseTime": str(NOW - 600_000)}
    held = {"latestLedger": node.latest + 700, "oldestLedger": 50, **closes}
    answer = dict(foreign(node, method)["result"])
    changes = {name: value for name, value in held.items() if name in answer}
    return {"result": answer | changes | ({"cursor": end(node.latest + 700)} if "cursor" in answer else {})}


async def everything(client: rpc.Client, node: FaultyNode) -> None:
    """All methods, each answered as the node is."""
    assert (await client.health()).latest_ledger == node.latest
    told = await page(client)
    assert (told.latest_ledger, told.cursor) == (node.latest, end(node.latest))
    entries = await client.entries(keys=[KEY])
    assert (entries.latest_ledger, list(entries.entries)) == (node.latest, [KEY])
    assert (await client.transaction(TX_HASH)).latest_ledger == node.latest


@pytest.mark.parametrize("turn", range(6))
@pytest.mark.parametrize("kind", [foreign, overlapping])
@pytest.mark.parametrize(
    "method", ["getNetwork", "getVersionInfo", "getHealth", "getEvents", "getLedgerEntries", "getTransaction"]
)
async def test_one_answer_of_another_network_changes_nothing(start, connect, method, kind, turn, monkeypatch):
    node = await start()
    node.entries[KEY] = "AAAA"
    client = await connect(node)
    asked = 0

    def answer(request):
        nonlocal asked
        asked += 1
        return kind(node, method) if asked == turn + 1 else node.honest(request)

    node.always[method] = answer
    monkeypatch.setattr("shared.rpc.nodes.IDLE_SECONDS", -1)  # each call checks the node
    for _ in range(7):
        try:
            await everything(client, node)
        except errors.WrongNetwork:
            assert method == "getNetwork"  # alone, and named: the stream waits
        node.latest += 1
    assert asked > turn
    assert client.nodes[0].latest_ledger == node.latest - 1


@pytest.mark.parametrize("second", [False, True])
async def test_a_range_error_of_another_network_is_asked_again(start, connect, second):
    node, other = await start(), await start()
    node.script["getEvents"] = [error(-32600, f"startLedger must be within the ledger range: {FAR - 120_960} - {FAR}")]
    client = await connect(node, *([other] if second else []))
    with structlog.testing.capture_logs() as lines:
        assert (await page(client)).latest_ledger == 200
        assert (await client.health()).latest_ledger == 200
    assert [line["event"] for line in lines if line["log_level"] == "warning"] == ["rpc node distrusted"]


async def test_a_range_error_counts_by_what_a_check_tells(start, connect):
    node = await start(oldest=180)
    node.script["getEvents"] = [error(-32600, "startLedger must be within the ledger range: 190 - 195")]
    client = await connect(node)
    with pytest.raises(errors.LedgerOutOfRange) as caught:
        await page(client, cursor=end(160))
    assert (caught.value.oldest, caught.value.latest) == (180, 200)
    checks = node.asked["getNetwork"]
    for _ in range(3):  # what a check of the last minute told needs none
        with pytest.raises(errors.LedgerOutOfRange):
            await page(client, cursor=end(160))
    assert node.asked["getNetwork"] == checks


@pytest.mark.parametrize("method", ["getHealth", "getEvents", "getTransaction", "getLedgerEntries"])
async def test_a_latest_ledger_that_alone_is_wrong_is_refused_and_forgotten(start, connect, method):
    node = await start()
    node.entries[KEY] = "AAAA"
    client = await connect(node)
    await everything(client, node)

    def raised(request):
        answer = node.honest(request)
        return {"result": answer["result"] | {"latestLedger": FAR}} if wrong else answer

    wrong = True
    node.always = dict.fromkeys(("getHealth", "getEvents", "getTransaction", "getLedgerEntries"), raised)
    ask = {
        "getHealth": client.health(),
        "getEvents": page(client),
        "getTransaction": client.transaction(TX_HASH),
        "getLedgerEntries": client.entries(keys=[KEY]),
    }
    for name, call in ask.items():
        if name != method:
            call.close()
    with pytest.raises(errors.RpcContradiction, match=str(FAR)):
        await ask[method]
    wrong = False
    await everything(client, node)


async def test_an_answer_that_contradicts_itself_is_no_sign_of_a_chain_that_began_anew(start, connect):
    node = await start()
    client = await connect(node, max_attempts=2)
    await everything_but_entries(client, node)
    node.always["getHealth"] = {"result": {"status": "healthy", **node.range(), "latestLedger": FAR}}
    with pytest.raises(errors.RpcContradiction, match=str(FAR)):
        await client.health(fenced=False)
    node.oldest, node.latest = 1, 50  # of another chain of the same name, whose ledgers closed later
    closes = {"latestLedgerCloseTime": str(NOW + 99_999), "oldestLedgerCloseTime": str(NOW + 90_000)}
    node.always["getHealth"] = {"result": {"status": "healthy", **node.range(), **closes}}
    assert (await client.health(fenced=False)).latest_ledger == 50
    with pytest.raises(errors.RpcContradiction):
        await client.health()


async def everything_but_entries(client: rpc.Client, node: FaultyNode) -> None:
    assert (await client.health()).latest_ledger == node.latest
    assert (await page(client)).latest_ledger == node.latest


async def test_what_was_wrong_from_the_first_answer_on_is_forgotten(start, connect, monkeypatch):
    """Two answers agree on another chain, before any of ours: a minute later ours counts."""
    node = await start()
    node.script["getHealth"] = [foreign(node, "getHealth")] * 3
    client = await connect(node)
    await client.check()
    await client.health()
    with pytest.raises(errors.RpcContradiction):
        await page(client)
    monkeypatch.setattr("shared.rpc.tip.FORGET_SECONDS", 0.0)
    with structlog.testing.capture_logs() as lines:
        for _ in range(2):
            try:
                await page(client)
            except errors.RpcContradiction:
                await asyncio.sleep(0.01)
    assert (await page(client)).latest_ledger == 200
    assert "no rpc node has reached the newest ledger that was told before; it no longer counts" in {
        line["event"] for line in lines
    }


def test_a_mark_that_nobody_reaches_for_a_minute_is_dropped():
    mark = Mark()
    assert not mark.told(1000, 0.0)
    assert not mark.told(500, 1.0)
    assert not mark.told(999, 50.0)  # so much is jitter
    assert not mark.told(500, 60.0)
    assert not mark.told(500, 60.0 + tip.FORGET_SECONDS - 1)
    assert mark.ledger == 1000
    assert mark.told(500, 60.0 + tip.FORGET_SECONDS)
    assert mark.ledger == 500


def test_two_answers_that_disagree_do_not_count_and_the_third_decides():
    subject = Tip()
    ours, next_of_ours, theirs = (
        (Close(100, 500), Close(200, 1000)),
        (Close(101, 505), Close(201, 1005)),
        (Close(5000, 1), Close(9000, 5000)),
    )
    assert subject.take(*theirs) is None
    assert "no chain has both" in str(subject.take(*ours))
    assert subject.take(*next_of_ours) is None
    assert subject.confirmed
    assert "no chain has both" in str(subject.take(*theirs))
    assert subject.take(*next_of_ours) is None


def test_an_answer_may_contradict_itself():
    assert "no chain has both" in str(Tip().take(Close(100, 500), Close(FAR, 1000)))


@given(st.lists(st.tuples(st.integers(1, 20_000), st.integers(1, 60)), min_size=2, max_size=30), st.randoms())
def test_answers_of_one_chain_never_contradict(steps, chance):
    """However many ledgers lie between them, each closing a second or more after the one before it, in any order."""
    closes, ledger, closed = [], 1, 1000
    for ledgers, seconds in steps:
        ledger, closed = ledger + ledgers, closed + ledgers * seconds
        closes.append(Close(ledger, closed))
    subject = Tip()
    for _ in range(len(closes)):
        oldest, latest = sorted(chance.sample(closes, 2))
        assert subject.take(oldest, latest) is None
