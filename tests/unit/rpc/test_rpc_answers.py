"""Answers that are not what they promise are refused, with the field that is wrong."""

import contextlib
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.rpc import answers, pages, wire
from shared.rpc.faults import Failed, Fault, LedgerRange, Malformed
from shared.rpc.methods import Method
from tests.unit.rpc.faulty import ABSENT, CONTRACT, KEY, OTHER_CONTRACT, OTHER_KEY, TX_HASH, at, end, event

RANGE = {
    "latestLedger": 200,
    "oldestLedger": 100,
    "latestLedgerCloseTime": "1784001000",
    "oldestLedgerCloseTime": 1784000500,
}


def changed(fields: dict[str, Any], **changes: object) -> dict[str, Any]:
    return {name: value for name, value in (fields | changes).items() if value is not ABSENT}


def page(*events: object, start: int | None = None, cursor: str | None = None) -> answers.EventPage:
    result = {"events": list(events), "cursor": end(200), **RANGE}
    start = 150 if cursor is None and start is None else start
    return pages.read(result, node="n", contracts={CONTRACT}, start_ledger=start, cursor=cursor)


def malformed(call: Callable[..., object], *args: object, **kwargs: object) -> str:
    with pytest.raises(Malformed) as caught:
        call(*args, **kwargs)
    return caught.value.field


def test_a_page():
    read = page(event(at(160)), event(at(160, 1, 5), topic=ABSENT, type="system"))
    assert [each.topics for each in read.events] == [("AAAADwAAAANmZWUA",), ()]
    assert (read.latest_close_time, read.oldest_close_time) == (1_784_001_000, 1_784_000_500)
    assert read.at_tip


def test_a_page_may_be_empty_and_may_stand_still_at_the_tip():
    assert page().events == ()
    assert page(cursor=end(200)).at_tip


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("events", None),
        ("events", {}),
        ("cursor", ABSENT),
        ("cursor", ""),
        ("cursor", 7),
        ("cursor", "0000000644245094400-00000"),
        ("cursor", at(160).replace("0", "٠")),
        ("cursor", f"{2**63:019d}-0000000000"),
        ("cursor", f"{150 << 32:019d}-{2**32:010d}"),
        ("cursor", end(149)),  # before what was asked for
        ("cursor", end(201)),  # behind the latest ledger
        ("latestLedger", "200"),
        ("latestLedger", True),
        ("latestLedger", 200.0),
        ("latestLedger", -1),
        ("latestLedger", 2**32),
        ("latestLedger", ABSENT),
        ("oldestLedger", 0),
        ("oldestLedger", 201),
        ("latestLedgerCloseTime", "soon"),
        ("latestLedgerCloseTime", "-1"),
        ("latestLedgerCloseTime", None),
        ("latestLedgerCloseTime", 1e9),
        ("oldestLedgerCloseTime", True),
    ],
)
def test_a_page_with_a_wrong_field(field, value):
    result = changed({"events": [], "cursor": end(200), **RANGE}, **{field: value})
    assert malformed(pages.read, result, node="n", contracts={CONTRACT}, start_ledger=150, cursor=None) == field


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", ABSENT),
        ("id", 5),
        ("id", "x"),
        ("id", at(149)),
        ("ledger", 161),
        ("ledger", "160"),
        ("ledger", ABSENT),
        ("type", ABSENT),
        ("contractId", ""),
        ("contractId", OTHER_CONTRACT),
        ("txHash", TX_HASH.upper()),
        ("txHash", TX_HASH[:-1]),
        ("ledgerClosedAt", "1784000000"),
        ("ledgerClosedAt", "2026-13-05T00:00:00Z"),
        ("ledgerClosedAt", "2026-07-05T00:00:00"),
        ("topic", "AAAA"),
        ("value", ABSENT),
        ("value", None),
    ],
)
def test_an_event_with_a_wrong_field(field, value):
    good = event(at(155))
    bad = changed(event(at(160)), **{field: value})
    assert malformed(page, good, bad) == f"events[1].{field}"


def test_a_topic_that_is_no_string_is_named():
    assert malformed(page, event(at(160), topic=["AAAA", 5])) == "events[0].topic[1]"


def test_an_event_that_is_no_object_is_named():
    assert malformed(page, event(at(155)), "event") == "events[1]"


@pytest.mark.parametrize("second", [at(160), at(159, 9, 9), at(160, 0, 0)])
def test_events_ascend(second):
    assert malformed(page, event(at(160)), event(second)) == "events[1].id"


def test_an_event_at_the_cursor_is_not_behind_it():
    assert malformed(page, event(at(160)), cursor=at(160)) == "events[0].id"


def test_the_cursor_does_not_lie_before_the_last_event():
    result = {"events": [event(at(160))], "cursor": at(159), **RANGE}
    assert malformed(pages.read, result, node="n", contracts={CONTRACT}, start_ledger=150, cursor=None) == "cursor"


def test_a_cursor_that_does_not_move_while_there_are_ledgers_to_scan():
    result = {"events": [], "cursor": end(150), **RANGE}
    assert malformed(pages.read, result, node="n", contracts={CONTRACT}, start_ledger=None, cursor=end(150)) == "cursor"


@pytest.mark.parametrize("first", [99, 201])
def test_an_answer_for_a_ledger_that_the_node_does_not_hold(first):
    with pytest.raises(Failed) as caught:
        page(start=first)
    assert caught.value.fault is Fault.OUT_OF_RANGE
    assert caught.value.held == LedgerRange(oldest=100, latest=200)


def entry(**changes: object) -> dict[str, Any]:
    return changed({"key": KEY, "xdr": "AAAA", "lastModifiedLedgerSeq": 150, "liveUntilLedgerSeq": 0}, **changes)


def test_entries():
    read = answers.entries(
        {"latestLedger": 200, "entries": [entry(), entry(key=OTHER_KEY, liveUntilLedgerSeq=ABSENT)]},
        node="n",
        keys={KEY, OTHER_KEY},
    )
    assert read.entries[KEY].live_until == 0
    assert read.entries[OTHER_KEY].live_until is None


@pytest.mark.parametrize(
    ("entries", "field"),
    [
        (None, "entries"),
        ([None], "entries[0]"),
        ([entry(), entry()], "entries[1].key"),
        ([entry(key=OTHER_KEY)], "entries[0].key"),
        ([entry(key=ABSENT)], "entries[0].key"),
        ([entry(xdr=ABSENT)], "entries[0].xdr"),
        ([entry(lastModifiedLedgerSeq=201)], "entries[0].lastModifiedLedgerSeq"),
        ([entry(lastModifiedLedgerSeq="150")], "entries[0].lastModifiedLedgerSeq"),
        ([entry(liveUntilLedgerSeq=-1)], "entries[0].liveUntilLedgerSeq"),
    ],
)
def test_entries_with_a_wrong_field(entries, field):
    result = {"latestLedger": 200, "entries": entries}
    assert malformed(answers.entries, result, node="n", keys={KEY}) == field


def told(**changes: object) -> dict[str, Any]:
    found = {
        "status": "SUCCESS",
        "txHash": TX_HASH,
        "ledger": 150,
        "createdAt": "1784000750",
        "envelopeXdr": "AAAA",
        "resultXdr": "AAAA",
        **RANGE,
    }
    return changed(found, **changes)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("status", "PENDING"),
        ("status", ABSENT),
        ("status", ["SUCCESS"]),
        ("txHash", "0" * 64),
        ("ledger", 0),
        ("createdAt", ABSENT),
        ("envelopeXdr", ABSENT),
        ("resultXdr", None),
        ("latestLedgerCloseTime", ABSENT),
    ],
)
def test_a_transaction_with_a_wrong_field(field, value):
    assert malformed(answers.transaction, told(**{field: value}), node="n", tx_hash=TX_HASH) == field


def test_a_transaction_may_be_echoed_as_it_was_written():
    assert answers.transaction(told(txHash=TX_HASH.upper()), node="n", tx_hash=TX_HASH).ledger == 150


def test_health_without_close_times():
    health = {"status": "healthy", "latestLedger": 200, "oldestLedger": 100}
    read = answers.health(health, node="n")
    assert (read.latest_close_time, read.oldest_close_time) == (None, None)
    assert malformed(answers.health, health | {"status": "unhealthy"}, node="n") == "status"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"<html><body>502 Bad Gateway</body></html>", "body"),
        (b'{"jsonrpc":"2.0","id":7,"result":{}', "body"),
        (b"\xff\xfe", "body"),
        (b"[" * 100_000, "body"),
        (b'[{"jsonrpc":"2.0","id":7,"result":{}}]', "body"),
        (b"null", "body"),
        (b'{"id":7,"result":{}}', "jsonrpc"),
        (b'{"jsonrpc":"2.0","result":{}}', "id"),
        (b'{"jsonrpc":"2.0","id":8,"result":{}}', "id"),
        (b'{"jsonrpc":"2.0","id":"7","result":{}}', "id"),
        (b'{"jsonrpc":"2.0","id":7.0,"result":{}}', "id"),
        (b'{"jsonrpc":"2.0","id":8,"error":{"code":-32603,"message":"x"}}', "id"),
        (b'{"jsonrpc":"2.0","id":7}', "result"),
        (b'{"jsonrpc":"2.0","id":7,"result":null}', "result"),
        (b'{"jsonrpc":"2.0","id":7,"result":[]}', "result"),
        (b'{"jsonrpc":"2.0","id":7,"error":7}', "error"),
        (b'{"jsonrpc":"2.0","id":7,"error":{"code":-32603}}', "error.message"),
        (b'{"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":{"text":"x"}}}', "error.message"),
    ],
)
def test_a_body_that_is_no_answer(body, field):
    assert malformed(wire.result, body, request_id=7, method=Method.GET_EVENTS) == field


@pytest.mark.parametrize("data", [None, "why", ["why"], {"why": 1}])
def test_an_error_with_whatever_data(data):
    answer = {"jsonrpc": "2.0", "id": None, "error": {"code": -32603, "message": "a\nb", "data": data}}
    with pytest.raises(Failed, match=r"^error -32603: a b$"):
        wire.result(orjson.dumps(answer), request_id=7, method=Method.GET_EVENTS)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
PLACES = ["events", "cursor", "latestLedger", "oldestLedger", "entries", "status", "ledger", "passphrase", "version"]


@given(st.sampled_from(PLACES), JSON, st.sampled_from(sorted(event(at(160)))), JSON)
def test_no_other_exception_gets_out(place, value, event_field, event_value):
    result = told() | {
        "events": [event(at(160)) | {event_field: event_value}],
        "cursor": end(200),
        "entries": [entry()],
    }
    result[place] = value
    reads: list[Callable[[], object]] = [
        lambda: pages.read(result, node="n", contracts={CONTRACT}, start_ledger=150, cursor=None),
        lambda: answers.entries(result, node="n", keys={KEY}),
        lambda: answers.transaction(result, node="n", tx_hash=TX_HASH),
        lambda: answers.health(result, node="n"),
        lambda: answers.network(result),
        lambda: answers.version(result),
    ]
    for read in reads:
        with contextlib.suppress(Malformed, Failed):
            read()


@given(st.binary(max_size=60) | JSON.map(orjson.dumps))
def test_no_body_gets_another_exception_out(body):
    with pytest.raises((Malformed, Failed)):
        wire.result(body, request_id=7, method=Method.GET_EVENTS)


def test_brief_is_one_short_printable_line():
    assert wire.brief("a\n\x1b[31mb\u202ec") == "a [31mb c"
    assert len(wire.brief("x" * 5000)) == 200
    assert wire.brief(b"\xff" * 5000).startswith("�")
