"""What one node refuses is that node's alone, in whatever words, codes and statuses it is told."""

import orjson
import pytest

from shared import errors, rpc
from tests.unit.rpc.asking import http, limits_sent, page
from tests.unit.rpc.faulty import KEY, TX_HASH, error

STATUSES = (301, 302, 307, 400, 401, 402, 403, 404, 405, 407, 408, 410, 413, 421, 425, 451, 499)
CODES = (-32700, -32600, -32601, -32602, -32603, -32005, 429)


async def entries(client: rpc.Client):
    return await client.entries(keys=[KEY])


async def transaction(client: rpc.Client):
    return await client.transaction(TX_HASH)


METHODS = [("getEvents", page), ("getLedgerEntries", entries), ("getTransaction", transaction)]


def body(answer: object) -> bytes:
    return orjson.dumps(answer)


@pytest.mark.parametrize(("method", "ask"), METHODS)
@pytest.mark.parametrize(
    "refusal",
    [
        *(http(status, "no") for status in STATUSES),
        *(error(code, "method not found") for code in CODES),
        error(-32600, "daily request count exceeded, request rate limited"),
        body({"message": "API rate limit exceeded"}),
        body({"jsonrpc": "2.0", "id": None, "error": "Too many requests"}),
        body({"error": {"message": "no such key", "status": "UNAUTHENTICATED"}}),
        b"Too many requests",
    ],
)
async def test_another_node_is_used(start, connect, method, ask, refusal):
    first, second = await start(), await start()
    first.always[method] = refusal
    client = await connect(first, second)
    assert (await ask(client)).node == second.url
    assert (await ask(client)).node == second.url


@pytest.mark.parametrize("refusal", [error(code, "no") for code in (-32700, -32601, -32602)] + [http(403, "no")])
async def test_where_all_refuse_each_is_asked_once_and_the_call_ends(start, connect, refusal):
    first, second = await start(), await start()
    first.always["getEvents"] = second.always["getEvents"] = refusal
    with pytest.raises(errors.RpcRefused) as caught:
        await page(await connect(first, second))
    assert (first.asked["getEvents"], second.asked["getEvents"]) == (1, 1)
    assert not caught.value.retryable
    assert "CHAINTRUE_RPC__URLS" in str(caught.value)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (-32602, "limit must not exceed 100"),
        (-32600, "limit must not exceed 100"),
        (-32602, "pagination limit cannot be greater than 100"),
        (-32602, "the maximum page size is limited: limit (max 100)"),
    ],
)
async def test_a_node_with_smaller_pages_is_asked_for_these(start, connect, code, words):
    small, large = await start(), await start()

    def limited(asked):
        return error(code, words) if asked["params"]["pagination"]["limit"] > 100 else small.honest(asked)

    small.always["getEvents"] = limited
    client = await connect(small, large)
    for _ in range(3):
        assert (await page(client)).node == small.url
    assert limits_sent(small) == [1000, 100, 100, 100]
    assert client.nodes[0].trusted
    assert (await page(client, node=large.url)).node == large.url
    assert limits_sent(large) == [1000]


async def test_a_limit_that_was_kept_to_is_a_refusal(start, connect):
    node = await start()
    node.always["getEvents"] = error(-32602, "limit must not exceed 10000")
    with pytest.raises(errors.RpcRefused, match="limit must not exceed 10000") as caught:
        await page(await connect(node))
    assert "CHAINTRUE_RPC__PAGE_LIMIT" in str(caught.value)
    assert node.asked["getEvents"] == 1


@pytest.mark.parametrize(
    ("answer", "words", "outcome"),
    [
        (body({"message": "API rate limit exceeded"}), "API rate limit exceeded", "rate_limited"),
        (body({"error": "Too many requests"}), "Too many requests", "rate_limited"),
        (body({"jsonrpc": "2.0", "id": 1, "error": "Too many requests"}), "Too many requests", "rate_limited"),
        (body({"status": 429, "title": "slow down"}), "slow down", "rate_limited"),
        (body({"error": {"code": "429", "message": "slow down"}}), "slow down", "rate_limited"),
        (body({"message": "upstream is being replaced"}), "upstream is being replaced", "node_error"),
        (body({"jsonrpc": "2.0", "error": {"code": "X1", "message": "odd"}}), "odd", "node_error"),
        (error(-32603, "monthly capacity limit exceeded"), "monthly capacity limit exceeded", "rate_limited"),
        (http(403, "quota exhausted"), "HTTP 403 quota exhausted", "rate_limited"),
        (b"Rate limit reached", "is not JSON: 'Rate limit reached'", "rate_limited"),
        (b"who are you", "is not JSON: 'who are you'", "malformed"),
    ],
)
async def test_the_words_of_the_node_are_shown(start, connect, answer, words, outcome):
    node = await start()
    node.always["getEvents"] = answer
    counted = []
    client = await connect(node, max_attempts=2, on_request=lambda _method, told: counted.append(told))
    with pytest.raises(errors.RpcError) as caught:
        await page(client)
    assert words in str(caught.value)
    assert counted[3:4] == [outcome]
    assert node.asked["getNetwork"] == (2 if outcome == "malformed" else 1)


async def test_a_quota_has_a_hint_of_its_own(start, connect):
    node = await start()
    node.always["getEvents"] = http(429, "slow down")
    with pytest.raises(errors.RpcUnavailable, match="CHAINTRUE_RPC__POLL_SECONDS"):
        await page(await connect(node, max_attempts=2))


async def test_a_byte_order_mark_is_skipped(start, connect):
    node = await start()

    def marked(asked):
        return b"\xef\xbb\xbf" + body({"jsonrpc": "2.0", "id": asked["id"], **node.honest(asked)})

    node.always = dict.fromkeys(("getNetwork", "getVersionInfo", "getHealth", "getEvents"), marked)
    assert (await page(await connect(node))).at_tip


async def test_a_redirect_names_where_it_leads_by_its_host_alone(start, connect):
    node = await start()
    node.always["getEvents"] = http(301, Location="https://other.example:8443/v2/s3cr3t-key?k=s3cr3t")
    with pytest.raises(errors.RpcRefused, match=r"HTTP 301, which leads to https://other\.example:8443") as caught:
        await page(await connect(node))
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("status", [408, 421, 425, 499, 503])
async def test_a_status_that_passes_is_asked_again(start, connect, status):
    node = await start()
    node.script["getEvents"] = [http(status)]
    assert (await page(await connect(node))).at_tip
