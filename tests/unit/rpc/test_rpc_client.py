"""The client against nodes that fail in every way: what it asks again, whom it believes, and what it says in the end."""

import asyncio
import gzip
import time
from collections.abc import Callable
from typing import Any

import pytest
import structlog
from aiohttp import web

from shared import errors, rpc
from shared.rpc.nodes import IDLE_SECONDS
from tests.unit.rpc.faulty import CONTRACT, KEY, OTHER_CONTRACT, TX_HASH, FaultyNode, at, end, error, event


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        await asyncio.sleep(0.01)


async def page(client: rpc.Client, **changes: Any) -> rpc.EventPage:
    return await client.events(**({"contracts": [CONTRACT], "cursor": end(150)} | changes))


def limits_sent(node: FaultyNode) -> list[int]:
    return [asked["params"]["pagination"]["limit"] for asked in node.requests if asked["method"] == "getEvents"]


def http(status: int, text: str = "", **headers: str) -> Callable[[object], web.Response]:
    return lambda _asked: web.Response(status=status, text=text, headers=headers)


# --- what is sent


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
    assert node.requests[-1]["params"] == {"keys": [KEY, "AAAA"]}
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


# --- failures of one node


@pytest.mark.parametrize(
    "failure",
    [
        http(500, "[-32700] invalid request value"),
        http(502, "<html>Bad Gateway</html>"),
        http(503),
        http(504),
        http(204),
        http(200, "<html>who are you</html>"),
        b"",
        b'{"jsonrpc":"2.0","id":0,"result":{}}',
        error(-32603, "could not query captive core"),
        error(-32098, "rpc queue for getEvents surpassed queue limit of 1000 requests"),
        error(-32003, "panic"),
        error(-32600, "disk I/O error\ndb read failed for requested parameter"),
        error(-32005, "a provider's own code"),
        {"error": "odd"},
        {"result": {"events": []}},
    ],
)
async def test_a_passing_failure_is_asked_again(start, connect, failure):
    node = await start()
    node.script["getEvents"] = [failure]
    counted = []
    client = await connect(node, on_request=lambda method, outcome: counted.append((method, outcome)))
    assert (await page(client)).at_tip
    assert node.asked["getEvents"] == 2
    outcomes = [outcome for method, outcome in counted if method is rpc.Method.GET_EVENTS]
    assert outcomes[0] != "ok"
    assert outcomes[1:] == ["ok"]


@pytest.mark.parametrize(
    ("failure", "kind", "words"),
    [
        (error(-32603, "DB is empty"), errors.RpcUnavailable, "error -32603: DB is empty"),
        (http(503), errors.RpcUnavailable, "HTTP 503"),
        (http(200, "<html>who are you</html>"), errors.RpcMalformed, "body: is not JSON: '<html>who are you</html>'"),
        ({"result": {}}, errors.RpcMalformed, "result.oldestLedger: expected a whole number, found null or nothing"),
    ],
)
async def test_a_lasting_failure_ends_after_all_attempts(start, connect, failure, kind, words):
    node = await start()
    node.always["getEvents"] = failure
    client = await connect(node, max_attempts=3)
    with pytest.raises(kind) as caught:
        await page(client)
    assert node.asked["getEvents"] == 3
    assert caught.value.retryable
    assert f"{node.url}: getEvents: {words}" in str(caught.value)


async def test_the_field_of_a_malformed_event_is_named(start, connect):
    node = await start()
    odd = [event(at(160)), event(at(161), contractId=OTHER_CONTRACT)]
    node.always["getEvents"] = {"result": {"events": odd, "cursor": end(200), **node.range()}}
    client = await connect(node, max_attempts=2)
    with pytest.raises(
        errors.RpcMalformed, match=r"getEvents: result\.events\[1\]\.contractId: 'CAVH\w+' was not asked for"
    ):
        await page(client)


async def test_a_refused_request_is_not_asked_again(start, connect):
    first, second = await start(), await start()
    first.always["getEvents"] = error(-32602, "invalid parameters")
    client = await connect(first, second)
    with pytest.raises(errors.RpcRefused, match="invalid parameters") as caught:
        await page(client)
    assert not caught.value.retryable
    assert (first.asked["getEvents"], second.asked["getEvents"]) == (1, 0)


async def test_a_wrong_path_or_key_is_a_setting(start, connect):
    node = await start()
    node.always["getNetwork"] = http(403, "unknown key")
    client = await connect(node)
    with pytest.raises(errors.RpcRefused, match="HTTP 403 unknown key") as caught:
        await page(client)
    assert "CHAINTRUE_RPC__URLS" in str(caught.value)
    assert node.asked == {"getNetwork": 1}


async def test_a_redirect_is_not_followed(start, connect):
    node, other = await start(), await start()
    node.always["getNetwork"] = http(307, Location=other.url)
    client = await connect(node)
    with pytest.raises(errors.RpcRefused, match="HTTP 307"):
        await page(client)
    assert not other.requests


async def test_no_secret_is_shown_whatever_a_node_says(start, connect):
    key = "s3cr3t-key-0123456789"
    node = await start()
    for failure in (http(403, f"no such key {key}"), error(-32603, f"/v1/{key} failed"), f"<{key}>".encode()):
        node.always["getNetwork"] = failure
        client = await connect(f"{node.url}/v1/{key}?key={key}", max_attempts=1)
        with structlog.testing.capture_logs() as lines, pytest.raises(errors.RpcError) as caught:
            await client.check()
        assert key not in str(caught.value)
        assert key not in repr(lines)
        assert key not in repr(client.nodes)
        assert "***" in str(caught.value)


async def test_a_connection_that_is_refused_shows_no_path(connect, closed_port):
    client = await connect(f"http://127.0.0.1:{closed_port}/v1/s3cr3t-key", max_attempts=2)
    with pytest.raises(errors.RpcUnavailable, match="no answer: ") as caught:
        await client.check()
    assert f"http://127.0.0.1:{closed_port}: " in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


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
    gone = asyncio.Event()

    async def hang(_asked):
        await gone.wait()
        return {"result": {}}

    node.always["getEvents"] = hang
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


# --- several nodes


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


# --- ranges and staleness


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
    gone = asyncio.Event()

    async def hang(_asked):
        await gone.wait()
        return {"result": {}}

    node.always["getEvents"] = hang
    counted = []
    client = await connect(node, on_request=lambda _method, outcome: counted.append(outcome))
    call = asyncio.create_task(page(client))
    await until(lambda: node.asked["getEvents"] == 1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    gone.set()
    assert counted == ["ok", "ok", "ok", "cancelled"]
