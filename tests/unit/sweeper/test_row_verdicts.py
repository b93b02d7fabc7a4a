"""What became of a row that goes by several hashes."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from shared import rpc
from sweeper.stepfi import row_verdicts, settlement
from sweeper.stepfi.settlement import Fate, Pending, Rule, StoredEvent, Told, Verdict
from tests.unit.sweeper.settlement_cases import (
    LATE,
    OTHER,
    OWN,
    SUBMITTED,
    fate_of,
    pending,
    told_by,
)


class TestTwoHashes:
    def decided(self, own: Sequence[rpc.Transaction], other: Sequence[rpc.Transaction]) -> Fate:
        told = [Told(tx_hash=OWN, answers=tuple(own)), Told(tx_hash=OTHER, answers=tuple(other))]
        return row_verdicts.decide(pending(OWN, OTHER), told, chain_time=LATE)

    def test_one_transaction_under_both(self) -> None:
        good = [told_by(status="SUCCESS")]
        assert self.decided(good, good).verdict is Verdict.SUCCESS

    def test_a_success_is_enough_beside_one_that_never_came(self) -> None:
        assert self.decided([told_by(), told_by()], [told_by(status="SUCCESS")]).verdict is Verdict.SUCCESS

    def test_a_failure_is_not_enough_while_the_other_is_open_to_doubt(self) -> None:
        fate = self.decided([told_by(status="FAILED")], [told_by(), told_by()])
        assert (fate.verdict, fate.rule) == (Verdict.UNKNOWN, Rule.FOREIGN_ENVELOPE)

    def test_a_failure_beside_a_proven_absence(self) -> None:
        fate = self.decided([told_by(), told_by()], [told_by(status="FAILED")])
        assert (fate.verdict, fate.rule) == (Verdict.FAILED, Rule.FOUND)

    @pytest.mark.parametrize("other", [told_by(status="FAILED"), told_by(status="SUCCESS", ledger=501)])
    def test_two_that_were_included_contradict_each_other(self, other: rpc.Transaction) -> None:
        fate = self.decided([told_by(status="SUCCESS")], [other])
        assert (fate.verdict, fate.rule) == (Verdict.UNKNOWN, Rule.CONTRADICTION)

    def test_what_is_no_hash_leaves_doubt_about_a_failure_and_none_about_a_success(self) -> None:
        row = pending(OWN, unreadable=("0xgone",))
        fate = fate_of(row, told_by(), told_by())
        assert (fate.verdict, fate.rule) == (Verdict.UNKNOWN, Rule.NO_HASH)
        assert fate_of(row, told_by(status="SUCCESS")).verdict is Verdict.SUCCESS

    @pytest.mark.parametrize(("unreadable", "rule"), [((), Rule.NOTHING_TO_ASK), (("0x",), Rule.NO_HASH)])
    def test_nothing_to_ask(self, unreadable: tuple[str, ...], rule: Rule) -> None:
        row = Pending(hashes=(), unreadable=unreadable, envelope=None, submitted_at=SUBMITTED)
        assert row_verdicts.decide(row, [], chain_time=LATE).rule is rule


class TestWhatTheEnvelopeGoesBy:
    """The row stores one hash, and its envelope goes by another: a retry by fee bump stores the outer one."""

    def decided(
        self,
        own: Sequence[rpc.Transaction],
        envelope: Sequence[rpc.Transaction],
        *,
        row: Pending | None = None,
        event: StoredEvent | None = None,
    ) -> Fate:
        row = replace(row or pending(OWN, envelope_hash=OTHER), of_envelope=(OTHER,))
        told = [Told(tx_hash=one, answers=tuple(own)) for one in row.hashes]
        beside = Told(tx_hash=OTHER, answers=tuple(envelope), event=event)
        return row_verdicts.decide(row, [*told, beside], chain_time=LATE)

    def test_a_success_of_it_is_the_row_s(self) -> None:
        for answers, event, rule in (
            ([told_by(status="SUCCESS")], None, Rule.FOUND),
            ([told_by()], StoredEvent(500, 5000), Rule.EVENT),
        ):
            fate = self.decided([told_by(), told_by()], answers, event=event)
            assert (fate.verdict, fate.rule, fate.ledger) == (Verdict.SUCCESS, rule, 500)
            assert fate.told is not None
            assert fate.told.tx_hash == OTHER

    def test_that_it_failed_leaves_open_what_was_submitted(self) -> None:
        fate = self.decided([told_by(), told_by()], [told_by(status="FAILED")])
        assert (fate.verdict, fate.rule) == (Verdict.UNKNOWN, Rule.FOREIGN_ENVELOPE)

    def test_that_it_expired_says_nothing(self) -> None:
        fate = self.decided([told_by(), told_by()], [told_by(), told_by()])
        assert (fate.verdict, fate.rule) == (Verdict.UNKNOWN, Rule.FOREIGN_ENVELOPE)

    @pytest.mark.parametrize("other", [told_by(status="FAILED"), told_by(status="SUCCESS", ledger=501)])
    def test_where_the_row_s_own_succeeded_nothing_else_is_of_account(self, other: rpc.Transaction) -> None:
        fate = self.decided([told_by(status="SUCCESS")], [other])
        assert (fate.verdict, fate.rule, fate.ledger) == (Verdict.SUCCESS, Rule.FOUND, 500)

    def test_where_the_row_s_own_failed_a_success_contradicts_it_and_a_failure_does_not(self) -> None:
        fate = self.decided([told_by(status="FAILED")], [told_by(status="SUCCESS", ledger=501)])
        assert (fate.verdict, fate.rule) == (Verdict.UNKNOWN, Rule.CONTRADICTION)
        fate = self.decided([told_by(status="FAILED")], [told_by(status="FAILED", ledger=501)])
        assert (fate.verdict, fate.ledger) == (Verdict.FAILED, 500)

    def test_what_contradicts_itself_is_for_people(self) -> None:
        fate = self.decided([told_by()], [told_by(status="FAILED"), told_by("two", status="SUCCESS")])
        assert (fate.verdict, fate.rule) == (Verdict.UNKNOWN, Rule.CONTRADICTION)

    @pytest.mark.parametrize(
        ("envelope", "verdict", "rule"),
        [
            ([told_by(status="SUCCESS")], Verdict.SUCCESS, Rule.FOUND),
            ([told_by(status="FAILED")], Verdict.FAILED, Rule.EXPIRED),
            ([told_by()], Verdict.FAILED, Rule.EXPIRED),
            ([], Verdict.UNKNOWN, Rule.NO_ANSWER),
        ],
    )
    def test_beside_a_row_s_own_that_expired(
        self, envelope: Sequence[rpc.Transaction], verdict: Verdict, rule: Rule
    ) -> None:
        fate = self.decided([told_by(), told_by()], envelope, row=pending(OWN))
        assert (fate.verdict, fate.rule) == (verdict, rule)

    def test_a_node_that_did_not_answer_for_what_the_envelope_goes_by_leaves_it_unknown(self) -> None:
        row = replace(pending(OWN), of_envelope=(OTHER,))
        own = Told(tx_hash=OWN, answers=(told_by(), told_by()))
        beside = Told(tx_hash=OTHER, answers=(told_by(),))
        assert row_verdicts.decide(row, [own, beside], chain_time=LATE).rule is Rule.EXPIRED
        fate = row_verdicts.decide(row, [own, beside.unanswered("two")], chain_time=LATE)
        assert (fate.verdict, fate.rule) == (Verdict.UNKNOWN, Rule.SILENT)

    def test_beside_what_is_no_hash(self) -> None:
        row = replace(pending(unreadable=("0x",), envelope_hash=OTHER), hashes=())
        assert self.decided([], [told_by(status="SUCCESS")], row=row).verdict is Verdict.SUCCESS
        for envelope in ([told_by(), told_by()], [told_by(status="FAILED")], []):
            fate = self.decided([], envelope, row=row)
            assert (fate.verdict, fate.rule) == (Verdict.UNKNOWN, Rule.NO_HASH)

    def test_a_transaction_that_another_row_stands_for_is_not_this_one_s(self) -> None:
        row = replace(pending(OWN, envelope_hash=OTHER), of_envelope=(OTHER,))
        assert row.without({OTHER: 1}).asked == (OWN,)
        assert row.without({OWN: 1}).asked == (OWN, OTHER)

    def test_no_node_is_asked_twice_for_it(self) -> None:
        row = replace(pending(OWN, envelope_hash=OTHER), of_envelope=(OTHER,))
        told, options = Told(tx_hash=OTHER, answers=(told_by("one"),)), {"nodes": ["one", "two"], "unheard": ()}
        assert settlement.next_node(row, told, chain_time=LATE, **options) == "two"
        assert settlement.next_node(row, told.answered(told_by("two")), chain_time=LATE, **options) is None
