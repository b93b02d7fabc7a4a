"""Positions: their form, and where ledgers end in the cursors of a real server."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import errors, position
from tests import recordings

ledgers = st.integers(0, (1 << 31) - 1)


def golden_cursors():
    for line in recordings.lines("rpc-golden.jsonl.gz"):
        result = line["answer"].get("result") if isinstance(line["answer"], dict) else None
        if isinstance(result, dict) and "cursor" in result and "events" in result:
            yield result["cursor"], result


def test_the_cursor_of_a_scanned_window_is_the_end_of_its_ledger():
    """A real server closes a page that reached its tip with the end of that ledger."""
    closing = [(cursor, result) for cursor, result in golden_cursors() if cursor.endswith(f"-{0xFFFFFFFF}")]
    assert len(closing) > 100
    for cursor, result in closing:
        ledger = position.ledger_of(cursor)
        assert cursor == position.end_of(ledger)
        assert position.complete_ledger(cursor) == ledger <= result["latestLedger"]


def test_the_cursor_of_a_full_page_is_its_last_event_and_completes_no_ledger():
    full = [(cursor, result) for cursor, result in golden_cursors() if not cursor.endswith(f"-{0xFFFFFFFF}")]
    assert len(full) > 100
    for cursor, result in full:
        assert cursor == position.check(result["events"][-1]["id"])
        ledger = result["events"][-1]["ledger"]
        assert position.ledger_of(cursor) == ledger
        assert position.complete_ledger(cursor) == ledger - 1
        assert not position.ends_ledger(cursor)
        assert position.end_of(ledger - 1) < cursor < position.end_of(ledger)


@given(ledgers, ledgers)
def test_the_order_of_texts_is_the_order_of_ledgers(one, other):
    assert (position.end_of(one) < position.end_of(other)) == (one < other)


@given(ledgers)
def test_an_end_is_a_position_of_its_ledger(ledger):
    end = position.end_of(ledger)
    assert position.check(end) == end
    assert position.ledger_of(end) == position.complete_ledger(end) == ledger
    assert position.ends_ledger(end)


def test_start_is_before_everything():
    assert position.check(position.START) == position.START < position.end_of(0)
    assert position.ledger_of(position.START) == 0


@pytest.mark.parametrize(
    "text",
    [
        "",
        None,
        12,
        b"0014602888806416384-0000000000",
        "0014602888806416384",
        "14602888806416384-0",
        "0014602888806416384-00000000000",
        "0014602888806416384-0000000000\n",
        " 0014602888806416384-0000000000",
        "9999999999999999999-0000000000",
        "9223372036854775808-0000000000",
        "0014602888806416384-4294967296",
        "001460288880641638٤-0000000000",
        "-014602888806416384-0000000000",
    ],
)
def test_what_is_no_position_is_refused(text):
    with pytest.raises(errors.FrameInvalid, match="is no position"):
        position.check(text)
