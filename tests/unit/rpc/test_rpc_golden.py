"""Every recorded answer of the real server is read, and means what it says."""

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from shared.rpc import answers, pages, retry, wire
from shared.rpc.faults import Failed, Fault, LedgerRange, Malformed
from shared.rpc.methods import Method

GOLDEN = Path(__file__).parents[2] / "vectors" / "rpc-golden.jsonl.gz"


def recorded(method: str) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """(name, params, answer) of each recorded exchange that our client could have had: base64 XDR, a JSON-RPC answer."""
    with gzip.open(GOLDEN) as lines:
        for line in lines:
            pair = orjson.loads(line)
            request, answer = pair["request"], pair["answer"]
            if isinstance(request, dict) and request.get("method") == method and isinstance(answer, dict):
                params = request.get("params") or {}
                if isinstance(params, dict) and params.get("xdrFormat") != "json":
                    yield pair["name"], params, answer


def result_of(answer: dict[str, Any], method: Method) -> dict[str, Any]:
    return wire.result(orjson.dumps(answer), request_id=answer["id"], method=method)


def test_every_page_of_events_is_read():
    read = found = 0
    refused = set()
    for name, params, answer in recorded("getEvents"):
        if "result" not in answer:
            continue
        cursor, start = (params.get("pagination") or {}).get("cursor"), params.get("startLedger")
        if (cursor is None) == (start is None) or (cursor and len(cursor) != 30) or "endLedger" in params:
            continue  # not as we would write it
        result = result_of(answer, Method.GET_EVENTS)
        told = {event["contractId"] for event in result["events"]}
        try:
            page = pages.read(result, node="n", contracts=told, start_ledger=start, cursor=cursor)
        except Malformed:
            refused.add(name)
            continue
        assert [event.id for event in page.events] == [event["id"] for event in result["events"]]
        assert [event.topics for event in page.events] == [tuple(event.get("topic", ())) for event in result["events"]]
        assert page.cursor == result["cursor"]
        assert page.latest_close_time == int(result["latestLedgerCloseTime"])
        read += 1
        found += len(page.events)
    assert read > 500
    assert found > 1000
    # A cursor made by hand, at whose index the server begins the operation again: a page that goes back is refused.
    assert refused == {"whole/getEvents/cursor/event-index-max-inside-ledger"}


@pytest.mark.parametrize(
    ("method", "codes"),
    [
        ("getEvents", {-32600: Fault.OUT_OF_RANGE, -32602: Fault.REFUSED}),
        ("getLedgerEntries", {-32602: Fault.REFUSED, -32603: Fault.NODE_ERROR}),
        ("getTransaction", {-32602: Fault.REFUSED, -32603: Fault.NODE_ERROR}),
        ("getHealth", {-32602: Fault.REFUSED, -32603: Fault.NODE_ERROR}),
        ("getNetwork", {-32602: Fault.REFUSED, -32603: Fault.NODE_ERROR}),
    ],
)
def test_every_error_is_classified(method, codes):
    seen = set()
    for name, _, answer in recorded(method):
        if "error" not in answer or answer["error"]["message"] == "parameters must be array or object":
            continue
        code = answer["error"]["code"]
        if code not in codes:
            continue
        with pytest.raises(Failed) as caught:
            result_of(answer, Method(method))
        assert caught.value.fault is codes[code], name
        assert str(code) in caught.value.words
        assert (caught.value.held is not None) == (caught.value.fault is Fault.OUT_OF_RANGE), name
        seen.add(code)
    assert seen == set(codes)


def test_the_range_of_the_range_error_is_read():
    held = retry.range_in("startLedger must be within the ledger range: 3503941 - 3624900")
    assert held == LedgerRange(oldest=3_503_941, latest=3_624_900)
    assert retry.range_in("disk I/O error\ndb read failed for requested parameter") is None


def test_every_answer_about_entries_is_read():
    read = 0
    for _, params, answer in recorded("getLedgerEntries"):
        if "result" not in answer:
            continue
        result = result_of(answer, Method.GET_LEDGER_ENTRIES)
        found = answers.entries(result, node="n", keys=set(params.get("keys") or ()))
        assert list(found.entries) == [entry["key"] for entry in result["entries"]]
        for entry in result["entries"]:
            assert found.entries[entry["key"]].xdr == entry["xdr"]
            assert found.entries[entry["key"]].live_until == entry.get("liveUntilLedgerSeq")
            assert found.entries[entry["key"]].last_modified == entry["lastModifiedLedgerSeq"]
        read += len(found.entries)
    assert read > 200


def test_every_answer_about_a_transaction_is_read():
    statuses = set()
    for _, params, answer in recorded("getTransaction"):
        if "result" not in answer:
            continue
        result = result_of(answer, Method.GET_TRANSACTION)
        told = answers.transaction(result, node="n", tx_hash=params["hash"].lower())
        statuses.add(told.status)
        if told.status is answers.TransactionStatus.NOT_FOUND:
            assert (told.ledger, told.created_at, told.envelope_xdr, told.result_xdr) == (None, None, None, None)
        else:
            assert told.ledger == result["ledger"]
            assert told.created_at == int(result["createdAt"])
            assert told.envelope_xdr == result["envelopeXdr"]
            assert told.result_xdr == result["resultXdr"]
    assert statuses == set(answers.TransactionStatus)


def test_what_a_node_says_of_itself_is_read():
    networks, versions = Method.GET_NETWORK, Method.GET_VERSION_INFO
    told = [answers.network(result_of(answer, networks)) for _, _, answer in recorded(networks) if "result" in answer]
    assert {(each.passphrase, each.protocol_version) for each in told} == {("Test SDF Network ; September 2015", 28)}
    said = [answers.version(result_of(answer, versions)) for _, _, answer in recorded(versions) if "result" in answer]
    assert {(each.version, each.protocol_version) for each in said} == {("0.0.0", 28), ("0.0.0", 0)}
    healths = [
        answers.health(result_of(answer, Method.GET_HEALTH), node="n")
        for _, _, answer in recorded("getHealth")
        if "result" in answer
    ]
    assert {health.oldest_ledger for health in healths} == {3_400_000, 3_503_941, 3_400_061, 5_473_590}
    assert all((health.oldest_close_time or 0) < (health.latest_close_time or 0) for health in healths)
