"""Which failure is asked again, where and when; and how much is asked."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.rpc import pacing, retry
from shared.rpc.faults import Fault
from shared.rpc.methods import Method
from shared.rpc.retry import Situation, Step

NOW = datetime(2026, 11, 23, 17, 0, 0, tzinfo=UTC)


def situation(**changes: Any) -> Situation:
    return Situation(**({"untried": False, "undecided": True, "shrinkable": False, "repeats": 0} | changes))


@pytest.mark.parametrize(
    ("fault", "given", "step"),
    [
        (Fault.REFUSED, {"untried": True}, Step.ELSEWHERE),
        (Fault.REFUSED, {"undecided": False}, Step.GIVE_UP),
        (Fault.PAGE_LIMIT, {}, Step.AGAIN),
        (Fault.BUDGET, {"untried": True}, Step.GIVE_UP),
        (Fault.UNREACHABLE, {}, Step.ELSEWHERE),
        (Fault.NODE_ERROR, {}, Step.ELSEWHERE),
        (Fault.BUSY, {}, Step.ELSEWHERE),
        (Fault.RATE_LIMITED, {}, Step.ELSEWHERE),
        (Fault.MALFORMED, {}, Step.ELSEWHERE),
        (Fault.STALE, {}, Step.ELSEWHERE),
        (Fault.TIME_LIMIT, {"shrinkable": True, "untried": True}, Step.SHRINK),
        (Fault.TIME_LIMIT, {"shrinkable": False}, Step.ELSEWHERE),
        (Fault.TOO_LARGE, {"shrinkable": True}, Step.SHRINK),
        (Fault.TIMEOUT, {"shrinkable": True, "untried": True}, Step.ELSEWHERE),
        (Fault.TIMEOUT, {"shrinkable": True}, Step.SHRINK),
        (Fault.DATABASE, {"shrinkable": True}, Step.SHRINK),
        (Fault.DATABASE, {}, Step.ELSEWHERE),
        (Fault.PANIC, {}, Step.AGAIN),
        (Fault.PANIC, {"repeats": 1, "shrinkable": True}, Step.SHRINK),
        (Fault.PANIC, {"repeats": 1, "untried": True}, Step.ELSEWHERE),
        (Fault.PANIC, {"repeats": 1}, Step.GIVE_UP),
        (Fault.OUT_OF_RANGE, {}, Step.ELSEWHERE),
        (Fault.OUT_OF_RANGE, {"undecided": False}, Step.GIVE_UP),
        (Fault.DENIED, {"undecided": False}, Step.GIVE_UP),
        (Fault.WRONG_NETWORK, {"undecided": False}, Step.GIVE_UP),
    ],
)
def test_decide(fault, given, step):
    assert retry.decide(fault, situation(**given)) is step


@given(st.sampled_from(Fault), st.booleans(), st.booleans(), st.booleans(), st.integers(0, 5))
def test_a_page_that_cannot_shrink_is_never_asked_to(fault, untried, undecided, shrinkable, repeats):
    step = retry.decide(fault, situation(untried=untried, undecided=undecided, shrinkable=shrinkable, repeats=repeats))
    assert shrinkable or step is not Step.SHRINK


@pytest.mark.parametrize(
    ("method", "code", "fault"),
    [
        (Method.GET_EVENTS, -32600, Fault.DATABASE),
        (Method.GET_HEALTH, -32600, Fault.REFUSED),
        (Method.GET_EVENTS, -32700, Fault.REFUSED),
        (Method.GET_EVENTS, -32601, Fault.REFUSED),
        (Method.GET_EVENTS, -32602, Fault.REFUSED),
        (Method.GET_EVENTS, -32603, Fault.NODE_ERROR),
        (Method.GET_EVENTS, -32001, Fault.TIME_LIMIT),
        (Method.GET_EVENTS, -32003, Fault.PANIC),
        (Method.GET_EVENTS, -32098, Fault.BUSY),
        (Method.GET_EVENTS, 12345, Fault.NODE_ERROR),
    ],
)
def test_codes(method, code, fault):
    assert retry.of_code(method, code) is fault


@pytest.mark.parametrize(
    ("status", "fault"),
    [
        (204, Fault.MALFORMED),
        *((status, Fault.DENIED) for status in (301, 302, 307, 400, 401, 402, 403, 404, 407, 410, 418, 451)),
        *((status, Fault.BUSY) for status in (408, 421, 425, 499)),
        (429, Fault.RATE_LIMITED),
        (500, Fault.SERVER_ERROR),
        (502, Fault.SERVER_ERROR),
        (503, Fault.BUSY),
        (504, Fault.SERVER_ERROR),
    ],
)
def test_statuses(status, fault):
    assert retry.of_status(status) is fault


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("7", 7.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        ("86400", 60.0),
        ("9" * 400, 60.0),
        ("-3", None),
        ("soon", None),
        ("٣", None),
        ("Mon, 23 Nov 2026 17:00:09 GMT", 9.0),
        ("Mon, 23 Nov 2026 17:00:09 -0000", 9.0),
        ("Mon, 23 Nov 2026 16:59:00 GMT", 0.0),
        ("Tue, 24 Nov 2026 17:00:00 GMT", 60.0),
    ],
)
def test_retry_after(header, seconds):
    assert retry.retry_after(header, now=NOW) == seconds


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_backoff_has_full_jitter_and_a_cap(visit, chance):
    assert 0 <= retry.backoff(visit, chance=chance) <= retry.BACKOFF_CAP_SECONDS
    assert retry.backoff(visit, chance=0.0) == 0
    assert retry.backoff(visit, chance=1.0) <= retry.backoff(visit + 1, chance=1.0)


@given(st.floats(0.1, 50), st.lists(st.floats(0, 3), min_size=30, max_size=60))
def test_the_budget_is_kept_in_every_window(rate, gaps):
    bucket = pacing.TokenBucket(rate)
    now, sent = 1000.0, []
    for gap in gaps:
        now += gap
        sent.append(now + bucket.take(now))
    burst = max(1.0, rate)
    for first in range(len(sent)):
        for last in range(first, len(sent)):
            assert last - first + 1 <= burst + rate * (sent[last] - sent[first]) + 1 + 1e-6


def test_a_full_budget_costs_no_time_and_an_empty_one_its_share():
    bucket = pacing.TokenBucket(2)
    assert [bucket.take(5.0) for _ in range(4)] == [0.0, 0.0, 0.5, 1.0]
    assert bucket.take(100.0) == 0.0


def test_a_page_halves_at_once_and_recovers_slowly():
    page = pacing.PageSize(1000)
    assert page.of(400) == 400
    page.shrink(page.of(400))
    assert page.of(400) == 200
    for _ in range(12):
        page.shrink(page.of(400))
    assert page.of(400) == 1
    page.shrink(200)
    for _ in range(pacing.RECOVER_AFTER - 1):
        page.went_well()
    assert page.of(400) == 1
    page.went_well()
    assert page.of(400) == 2
    for _ in range(pacing.RECOVER_AFTER * 40):
        page.went_well()
    assert page.of(400) == 400
