"""The way from what nodes told of one hash to an outcome, and its words."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from shared import rpc
from sweeper.model import Answer
from sweeper.stepfi import settlement, settlement_words
from sweeper.stepfi.settlement import Fate, Pending, Rule, StoredEvent, Told, Verdict
from tests.unit.sweeper.settlement_cases import (
    LATE,
    MAX_TIME,
    OTHER,
    OWN,
    REACH,
    fate_of,
    pending,
    told_by,
)


class TestFound:
    @pytest.mark.parametrize(("status", "verdict"), [("SUCCESS", Verdict.SUCCESS), ("FAILED", Verdict.FAILED)])
    def test_a_node_has_it(self, status: str, verdict: Verdict) -> None:
        fate = fate_of(pending(envelope_hash=None), told_by(status=status))
        assert (fate.verdict, fate.rule, fate.answer) == (verdict, Rule.FOUND, Answer.CONFIRMED)
        assert (fate.ledger, fate.closed_at) == (500, 5000)

    def test_what_a_second_node_has_outweighs_what_a_first_has_not(self) -> None:
        assert fate_of(pending(), told_by(), told_by("two", status="FAILED")).verdict is Verdict.FAILED

    def test_a_stored_event_is_a_success_even_if_no_node_answers_or_has_it(self) -> None:
        event = StoredEvent(400, 4000)
        for answers in ((), (told_by(), told_by())):
            fate = fate_of(pending(), *answers, event=event)
            assert (fate.verdict, fate.rule, fate.answer) == (Verdict.SUCCESS, Rule.EVENT, Answer.CONFIRMED)
            assert (fate.ledger, fate.closed_at) == (400, 4000)

    @pytest.mark.parametrize(
        ("answers", "event"),
        [
            ((told_by(status="FAILED"),), StoredEvent(500, 5000)),
            ((told_by(status="SUCCESS"),), StoredEvent(499, 4990)),
            ((told_by(status="SUCCESS"), told_by("two", status="FAILED")), None),
            ((told_by(status="SUCCESS"), told_by("two", status="SUCCESS", ledger=501)), None),
        ],
    )
    def test_contradictions_are_unknown(self, answers: Sequence[rpc.Transaction], event: StoredEvent | None) -> None:
        fate = fate_of(pending(), *answers, event=event)
        assert (fate.verdict, fate.rule, fate.answer) == (Verdict.UNKNOWN, Rule.CONTRADICTION, Answer.UNKNOWN)


class TestExpired:
    def test_one_node_told_twice(self) -> None:
        fate = fate_of(pending(), told_by(), told_by())
        assert (fate.verdict, fate.rule, fate.answer) == (Verdict.FAILED, Rule.EXPIRED, Answer.ABSENT)
        assert (fate.ledger, fate.closed_at) == (None, MAX_TIME)

    @pytest.mark.parametrize(
        ("answers", "rule"),
        [
            ((told_by(),), Rule.TOLD_ONCE),
            ((told_by("one"), told_by("two")), Rule.TOLD_ONCE),
            # Each node that reaches back has to say it twice: the history of one of them may have a hole.
            ((told_by("one"), told_by("one"), told_by("two")), Rule.TOLD_ONCE),
            ((told_by("one"), told_by("one"), told_by("two", latest=MAX_TIME)), Rule.BEHIND),
            # The first answer has to show the end of the time already, not only the second.
            ((told_by(latest=MAX_TIME), told_by()), Rule.TOLD_ONCE),
            ((told_by(latest=MAX_TIME), told_by(latest=MAX_TIME)), Rule.NOT_OVER_THERE),
            ((told_by(oldest=REACH + 1), told_by(oldest=REACH + 1)), Rule.OUT_OF_REACH),
            ((told_by(), told_by(oldest=REACH + 1)), Rule.TOLD_ONCE),
            ((), Rule.NO_ANSWER),
        ],
    )
    def test_less_is_no_proof(self, answers: Sequence[rpc.Transaction], rule: Rule) -> None:
        fate = fate_of(pending(), *answers)
        assert (fate.verdict, fate.rule) == (Verdict.UNKNOWN, rule)

    def test_every_node_that_reaches_back_has_to_say_it(self) -> None:
        both = (told_by("one"), told_by("one"), told_by("two"), told_by("two"))
        assert fate_of(pending(), *both).rule is Rule.EXPIRED
        short = told_by("two", oldest=REACH + 1)
        assert fate_of(pending(), told_by("one"), told_by("one"), short).rule is Rule.EXPIRED

    def test_a_node_that_did_not_answer_leaves_it_unknown(self) -> None:
        told = Told(tx_hash=OWN, answers=(told_by("one"), told_by("one"))).unanswered("two")
        fate = settlement.fate(pending(), told, chain_time=LATE)
        assert (fate.verdict, fate.rule, fate.answer) == (Verdict.UNKNOWN, Rule.SILENT, Answer.UNKNOWN)
        assert settlement_words.evidence(pending(), fate)["silent_nodes"] == ["two"]

    def test_a_node_that_has_it_outweighs_two_answers_of_another_and_a_silent_one(self) -> None:
        answers = (told_by("one"), told_by("one"), told_by("three", status="SUCCESS"))
        told = Told(tx_hash=OWN, answers=answers).unanswered("two")
        assert settlement.fate(pending(), told, chain_time=LATE).verdict is Verdict.SUCCESS

    def test_the_reach_counts_from_the_earlier_of_row_and_time_bound(self) -> None:
        late_row = pending(submitted_at=MAX_TIME + 10_000)
        edge = MAX_TIME - settlement.REACH_BACK_SECONDS
        assert fate_of(late_row, told_by(oldest=edge), told_by(oldest=edge)).verdict is Verdict.FAILED
        assert fate_of(late_row, told_by(oldest=edge + 1), told_by(oldest=edge + 1)).verdict is Verdict.UNKNOWN

    @pytest.mark.parametrize(
        ("row", "rule"),
        [
            (pending(OTHER), Rule.FOREIGN_ENVELOPE),
            (pending(envelope_hash=None), Rule.FOREIGN_ENVELOPE),
            (pending(max_time=0), Rule.NEVER_OVER),
            (pending(submitted_at=None), Rule.OUT_OF_REACH),
            (replace(pending(), is_stored=False), Rule.NOT_STORED),
        ],
    )
    def test_time_bounds_speak_for_their_own_hash_alone(self, row: Pending, rule: Rule) -> None:
        fate = fate_of(row, told_by(), told_by(), told_by())
        assert (fate.verdict, fate.rule) == (Verdict.UNKNOWN, rule)

    def test_it_may_still_come(self) -> None:
        for row in (pending(), replace(pending(), is_stored=False)):
            fate = fate_of(row, told_by(latest=MAX_TIME), chain_time=MAX_TIME)
            assert (fate.verdict, fate.rule) == (Verdict.OPEN, Rule.STILL_VALID)

    def test_what_was_found_by_an_envelope_s_own_hash_is_found(self) -> None:
        """That no node has it says nothing of a transaction whose hash was not stored; that one has it does."""
        fate = fate_of(replace(pending(), is_stored=False), told_by(status="SUCCESS"))
        assert (fate.verdict, fate.rule) == (Verdict.SUCCESS, Rule.FOUND)

    def test_without_an_answer_nothing_says_that_it_may(self) -> None:
        assert fate_of(pending(), chain_time=0).verdict is Verdict.UNKNOWN


class TestNextNode:
    def after(
        self,
        *answers: rpc.Transaction,
        row: Pending | None = None,
        unheard: frozenset[str] = frozenset(),
        chain_time: int = LATE,
    ) -> str | None:
        told = Told(tx_hash=OWN, answers=answers)
        row = row or pending()
        return settlement.next_node(row, told, chain_time=chain_time, nodes=["one", "two"], unheard=unheard)

    def test_the_same_node_completes_its_answer_and_every_other_is_asked(self) -> None:
        assert self.after(told_by("two")) == "two"
        assert self.after(told_by("two"), told_by("two")) == "one"
        assert self.after(told_by("two"), told_by("two"), told_by("one")) == "one"
        assert self.after(told_by("two"), told_by("two"), told_by("one"), told_by("one")) is None
        assert self.after(told_by("two"), told_by("two"), told_by("one", oldest=REACH + 1)) is None
        assert self.after(told_by("two"), told_by("two"), unheard=frozenset({"one"})) is None

    def test_another_node_may_reach_further_back(self) -> None:
        short = told_by("one", oldest=REACH + 1)
        assert self.after(short) == "two"
        assert self.after(short, told_by("two")) == "two"
        assert self.after(short, told_by("two", oldest=REACH + 1)) is None

    def test_another_node_may_have_what_no_absence_proves(self) -> None:
        row = pending(envelope_hash=None)
        assert self.after(told_by("one"), row=row) == "two"
        assert self.after(told_by("one"), told_by("two"), row=row) is None

    def test_who_did_not_answer_is_not_asked_again(self) -> None:
        assert self.after(told_by("one"), unheard=frozenset({"one"})) == "two"
        assert self.after(told_by("one"), unheard=frozenset({"one", "two"})) is None

    def test_nothing_more_is_asked_of_what_is_settled_open_or_unanswered(self) -> None:
        assert self.after(told_by(status="FAILED")) is None
        assert self.after(told_by(latest=MAX_TIME), chain_time=MAX_TIME) is None
        assert self.after() is None


class TestWords:
    def test_a_failure(self) -> None:
        fate = fate_of(pending(), told_by(status="FAILED"))
        assert settlement_words.sentence(fate) == (
            "the app says pending, the chain says failed: one has it in ledger 500, closed 1970-01-01 01:23:20 UTC"
        )
        assert settlement_words.error(fate, "txFAILED") == "failed on chain in ledger 500: txFAILED"
        assert settlement_words.error(fate, None) == "failed on chain in ledger 500"

    def test_an_expiry(self) -> None:
        fate = fate_of(pending(), told_by(), told_by())
        assert "its time ended 2026-09-21" in settlement_words.sentence(fate)
        assert settlement_words.error(fate, None) == "expired: not included by 2026-09-21 14:13:20 UTC"
        evidence = settlement_words.evidence(pending(), fate)
        assert evidence["max_time"] == datetime.fromtimestamp(MAX_TIME, UTC)
        assert (evidence["node"], evidence["latest_ledger"], evidence["oldest_ledger"]) == ("one", 1000, 1)

    def test_a_success_leaves_no_error(self) -> None:
        assert settlement_words.error(fate_of(pending(), told_by(status="SUCCESS")), None) is None

    @pytest.mark.parametrize("rule", [rule for rule in Rule if rule in settlement.NEEDED])
    def test_what_is_unknown_says_what_would_prove_it(self, rule: Rule) -> None:
        fate = Fate(verdict=Verdict.UNKNOWN, rule=rule, told=Told(tx_hash=OWN, troubles=("HTTP 503",)))
        words = settlement_words.sentence(fate)
        assert rule.value in words
        assert words.endswith(f"(HTTP 503); needed: {settlement.NEEDED[rule]}")
        assert settlement_words.evidence(pending(), fate)["needed"] == settlement.NEEDED[rule]

    def test_a_time_that_no_calendar_holds(self) -> None:
        row = pending(max_time=2**64 - 1)
        fate = fate_of(row, told_by())
        assert fate.verdict is Verdict.OPEN
        assert settlement_words.evidence(row, fate)["max_time"] == str(2**64 - 1)
