"""The client against one node that fails: what it asks again, and what it says in the end."""

import pytest
import structlog

from shared import errors, rpc
from tests.unit.rpc.asking import http, page
from tests.unit.rpc.faulty import OTHER_CONTRACT, at, end, error, event


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
