"""When a difference counts: the same in two looks, the settle time apart, and not ahead of the watermark."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import position
from sweeper import settling
from sweeper.model import Both, Finding
from sweeper.settling import Noted, Sighting

NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)


def finding(number: int = 1, **changed: Any) -> Finding:
    values: dict[str, Any] = {
        "drift_class": "stale_status",
        "table": "loans",
        "row_id": str(number),
        "entity": f"loan:{number}",
        "words": "",
        "columns": {"status": Both("active", "completed")},
        "evidence": {"known_at": position.end_of(100)},
    }
    return Finding(**values | changed)


def noted(findings: Iterable[Finding], *, at: datetime = NOW, since: timedelta = timedelta()) -> Noted:
    return Noted(
        at=at,
        sightings={
            one.identity: Sighting(first_seen=at - since, same_since=at - since, signature=settling.signature(one))
            for one in findings
        },
    )


class TestSignature:
    def test_evidence_and_words_make_no_other_difference(self) -> None:
        other = finding(words="other", evidence={"known_at": position.end_of(7), "more": 1}, update={"status": "x"})
        assert settling.signature(finding()) == settling.signature(other)

    @pytest.mark.parametrize(
        "changed",
        [
            {"drift_class": "app_ahead_of_chain"},
            {"columns": {}},
            {"columns": {"status": Both("pending", "completed")}},
            {"columns": {"status": Both("active", "defaulted")}},
            {"columns": {"state": Both("active", "completed")}},
            {"columns": {"status": Both("completed", "active")}},
            {"columns": {"status": Both("active", "completed"), "loan_id": Both("1", "2")}},
            {"rests_on": {"hashes": "aa"}},
            {"rests_on": {"hashes": None}},
        ],
    )
    def test_class_columns_either_side_and_what_it_rests_on_do(self, changed: dict[str, Any]) -> None:
        assert settling.signature(finding()) != settling.signature(finding(**changed))

    def test_values_of_two_types_are_two_though_they_read_alike(self) -> None:
        values = [None, "None", 1, "1", True, Decimal(1), NOW, NOW.isoformat().replace("+00:00", "Z")]
        assert len({settling.signature(finding(columns={"a": Both(value, 0)})) for value in values}) == len(values)

    @given(st.decimals(allow_nan=False, allow_infinity=False, places=7, min_value=-(10**12), max_value=10**12))
    def test_an_amount_is_the_same_with_more_zeros(self, amount: Decimal) -> None:
        more = amount.quantize(Decimal("1e-9"))
        one, two = (finding(columns={"amount": Both(value, Decimal(0))}) for value in (amount, more))
        assert settling.signature(one) == settling.signature(two)

    def test_amounts_of_any_size_are_told_apart_to_the_last_digit(self) -> None:
        whole = 10**38
        one, two = (finding(columns={"amount": Both(Decimal(value), 0)}) for value in (whole, whole + 1))
        assert settling.signature(one) != settling.signature(two)
        hundred, ten = (finding(columns={"amount": Both(Decimal(value), 0)}) for value in (100, 10))
        assert settling.signature(hundred) != settling.signature(ten)

    def test_zero_is_zero(self) -> None:
        told = {settling.signature(finding(columns={"a": Both(Decimal(zero), 0)})) for zero in ("0", "-0.0", "0.000")}
        assert len(told) == 1

    def test_the_order_of_the_columns_is_of_no_account(self) -> None:
        columns = {"a": Both(1, 2), "b": Both(3, 4)}
        backwards = dict(reversed(columns.items()))
        assert settling.signature(finding(columns=columns)) == settling.signature(finding(columns=backwards))


class TestRemaining:
    def test_nothing_waits_for_nothing(self) -> None:
        assert settling.remaining(noted([]), settle_seconds=120) == 0

    def test_what_earlier_runs_saw_long_ago_needs_no_waiting(self) -> None:
        assert settling.remaining(noted([finding()], since=timedelta(seconds=120)), settle_seconds=120) == 0

    def test_the_youngest_difference_says_how_long(self) -> None:
        old, young = noted([finding(1)], since=timedelta(hours=1)), noted([finding(2)], since=timedelta(seconds=50))
        both = Noted(at=NOW, sightings={**old.sightings, **young.sightings})
        assert settling.remaining(both, settle_seconds=120) == 70

    @given(st.floats(-1e6, 1e6), st.floats(0, 1e6))
    def test_never_longer_than_the_settle_time_whatever_the_clock_does(self, since: float, settle: float) -> None:
        left = settling.remaining(noted([finding()], since=timedelta(seconds=since)), settle_seconds=settle)
        assert 0 <= left <= settle


class TestSettled:
    def test_the_same_twice_counts_and_carries_its_age(self) -> None:
        first, second = noted([finding()]), noted([finding()], since=timedelta(days=2))
        one = settling.settled(first, second, [finding()], ahead=set())
        assert (one.in_motion, one.ahead, one.notes) == (0, 0, [])
        assert [found.evidence["first_seen"] for found in one.findings] == [NOW - timedelta(days=2)]

    def test_what_differs_otherwise_by_now_is_in_motion(self) -> None:
        moved = finding(columns={"status": Both("pending", "completed")})
        one = settling.settled(noted([finding()]), noted([moved]), [moved], ahead=set())
        assert (list(one.findings), one.in_motion) == ([], 1)
        assert one.notes == ["1 row changed between the two looks: in motion, so not counted by this run"]

    def test_what_was_not_seen_before_is_in_motion(self) -> None:
        one = settling.settled(noted([]), noted([finding()]), [finding()], ahead=set())
        assert (list(one.findings), one.in_motion) == ([], 1)

    def test_what_rests_on_facts_beyond_the_watermark_waits_for_it(self) -> None:
        for ahead, count in (({finding().identity}, 0), (set(), 1)):
            one = settling.settled(noted([finding()]), noted([finding()]), [finding()], ahead=ahead)
            assert (len(one.findings), one.ahead) == (count, 1 - count)

    @given(st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), max_size=20))
    def test_every_finding_counts_or_is_counted_as_why_not(self, cases: list[tuple[bool, bool, bool]]) -> None:
        first, again, beyond = [], [], set()
        for number, (was_there, same, ahead) in enumerate(cases):
            again.append(finding(number))
            if ahead:
                beyond.add(again[-1].identity)
            if was_there:
                first.append(again[-1] if same else finding(number, drift_class="stale_value"))
        one = settling.settled(noted(first), noted(again), again, ahead=beyond)
        assert len(one.findings) == sum(case == (True, True, False) for case in cases)
        assert len(one.findings) + one.in_motion + one.ahead == len(again)
