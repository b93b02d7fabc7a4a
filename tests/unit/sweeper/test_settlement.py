"""What an envelope says, and the way from what nodes told to an outcome."""

import base64
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest
from stellar_sdk import (
    Account,
    Asset,
    Keypair,
    LedgerBounds,
    Network,
    TransactionBuilder,
    TransactionEnvelope,
)

from shared import rpc
from sweeper.model import Answer
from sweeper.stepfi import envelopes, row_verdicts, settlement, settlement_words, transaction_rows
from sweeper.stepfi.envelopes import Envelope
from sweeper.stepfi.settlement import Fate, Pending, Rule, StoredEvent, Told, Verdict
from tests import recordings

PASSPHRASE = Network.TESTNET_NETWORK_PASSPHRASE
WALLET = Keypair.from_raw_ed25519_seed(bytes(31) + b"\x01").public_key
SPONSOR = Keypair.from_raw_ed25519_seed(bytes(31) + b"\x02")
MAX_TIME = 1_790_000_000


def built(*, max_time: int | None = MAX_TIME, v1: bool = True, ledger_bounds: bool = False) -> TransactionEnvelope:
    builder = TransactionBuilder(Account(WALLET, 7), PASSPHRASE, base_fee=100, v1=v1)
    builder.add_time_bounds(0, max_time or 0)
    if ledger_bounds:
        builder.set_ledger_bounds(1, 2)
    builder.append_payment_op(WALLET, Asset.native(), "1")
    envelope = builder.build()
    if max_time is None:
        envelope.transaction.preconditions = None
    return envelope


class TestEnvelope:
    @pytest.mark.parametrize("v1", [True, False], ids=["V1", "V0"])
    @pytest.mark.parametrize("max_time", [MAX_TIME, 0, None])
    def test_its_own_hash_and_the_end_of_its_time(self, v1: bool, max_time: int | None) -> None:
        envelope = built(max_time=max_time, v1=v1)
        read = envelopes.read(envelope.to_xdr(), passphrase=PASSPHRASE)
        assert read == Envelope(hash=envelope.hash_hex(), max_time=max_time or 0)

    def test_conditions_of_the_second_kind(self) -> None:
        envelope = built(ledger_bounds=True)
        conditions = envelope.transaction.preconditions
        assert conditions is not None
        assert conditions.ledger_bounds == LedgerBounds(1, 2)
        assert envelopes.read(envelope.to_xdr(), passphrase=PASSPHRASE) == Envelope(
            hash=envelope.hash_hex(), max_time=MAX_TIME
        )

    def test_a_fee_bump_has_its_own_hash_and_the_time_of_what_it_wraps(self) -> None:
        inner = built()
        outer = TransactionBuilder.build_fee_bump_transaction(SPONSOR.public_key, 1000, inner, PASSPHRASE)
        assert outer.hash_hex() != inner.hash_hex()
        assert envelopes.read(outer.to_xdr(), passphrase=PASSPHRASE) == Envelope(
            hash=outer.hash_hex(), inner_hash=inner.hash_hex(), max_time=MAX_TIME
        )

    def test_signatures_and_line_breaks_change_nothing_and_the_network_does(self) -> None:
        envelope = built()
        plain = envelopes.read(envelope.to_xdr(), passphrase=PASSPHRASE)
        envelope.sign(SPONSOR)
        text = envelope.to_xdr()
        assert envelopes.read(f" {text[:40]}\n{text[40:]}\n", passphrase=PASSPHRASE) == plain
        other = envelopes.read(text, passphrase=Network.PUBLIC_NETWORK_PASSPHRASE)
        assert plain is not None
        assert other is not None
        assert other.hash != plain.hash

    def test_recorded_envelopes_have_their_recorded_hashes(self) -> None:
        header, *lines = recordings.lines("story-real.jsonl.gz")
        told = {line["txHash"]: line["envelopeXdr"] for line in lines if "envelopeXdr" in line}
        assert len(told) > 100
        for tx_hash, xdr in told.items():
            read = envelopes.read(xdr, passphrase=header["networkPassphrase"])
            assert read is not None
            assert read.hash == tx_hash

    @pytest.mark.parametrize(
        "text",
        [
            None,
            "",
            " ",
            "AAAAAgAAAA-not-an-envelope",
            "é",
            "A",
            "AAAA",
            base64.b64encode(b"\x00\x00\x00\x02" + b"\xff" * 200).decode(),
            "A" * 300_000,
            built().to_xdr() + "AAAA",
        ],
    )
    def test_garbage_is_no_envelope(self, text: str | None) -> None:
        assert envelopes.read(text, passphrase=PASSPHRASE) is None

    def test_no_damage_raises(self) -> None:
        random = Random(7)  # noqa: S311 - damages bytes, guards nothing
        whole = base64.b64decode(built(ledger_bounds=True).to_xdr())
        refused = 0
        for _ in range(2000):
            damaged = bytearray(whole[: random.randrange(4, len(whole) + 1)])
            damaged[random.randrange(len(damaged))] = random.randrange(256)
            text = base64.b64encode(bytes(damaged)).decode()
            refused += envelopes.read(text, passphrase=PASSPHRASE) is None
            envelopes.failure(text)
        assert refused > 1000


class TestFailure:
    def test_the_codes_of_recorded_results(self) -> None:
        lines = [line for line in recordings.lines("story-real.jsonl.gz") if line["kind"] == "tx"]
        bumped = [line for line in lines if line["status"] == "FAILED" and line.get("feeBump")]
        plain = [line for line in lines if line["status"] == "FAILED" and not line.get("feeBump")]
        assert bumped
        for line in (bumped[0], plain[0]):
            assert envelopes.failure(line["resultXdr"]) == "txFAILED, INVOKE_HOST_FUNCTION_TRAPPED"
        good = next(line for line in lines if line["status"] == "SUCCESS" and not line.get("feeBump"))
        assert envelopes.failure(good["resultXdr"]) == "txSUCCESS"

    @pytest.mark.parametrize("text", [None, "", "no", "AAAA", "A" * 300_000])
    def test_what_cannot_be_read(self, text: str | None) -> None:
        assert envelopes.failure(text) is None


OWN, OTHER = "aa" * 32, "bb" * 32
SUBMITTED = MAX_TIME - 200
REACH = SUBMITTED - settlement.REACH_BACK_SECONDS
LATE = MAX_TIME + 1


def told_by(
    node: str = "one",
    *,
    status: str = "NOT_FOUND",
    ledger: int = 500,
    latest: int = LATE,
    oldest: int = REACH,
) -> rpc.Transaction:
    found = status != "NOT_FOUND"
    return rpc.Transaction(
        status=rpc.TransactionStatus(status),
        ledger=ledger if found else None,
        created_at=ledger * 10 if found else None,
        envelope_xdr="" if found else None,
        result_xdr="" if found else None,
        latest_ledger=1000,
        latest_close_time=latest,
        oldest_ledger=1,
        oldest_close_time=oldest,
        node=node,
    )


def pending(
    *hashes: str,
    unreadable: tuple[str, ...] = (),
    envelope_hash: str | None = OWN,
    max_time: int = MAX_TIME,
    submitted_at: int | None = SUBMITTED,
) -> Pending:
    envelope = None if envelope_hash is None else Envelope(hash=envelope_hash, max_time=max_time)
    return Pending(hashes=hashes or (OWN,), unreadable=unreadable, envelope=envelope, submitted_at=submitted_at)


def fate_of(row: Pending, *answers: rpc.Transaction, event: StoredEvent | None = None, chain_time: int = LATE) -> Fate:
    told = [Told(tx_hash=tx_hash, answers=answers, event=event) for tx_hash in row.hashes]
    return row_verdicts.decide(row, told, chain_time=chain_time)


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


class TestReading:
    INNER = built()
    OUTER = TransactionBuilder.build_fee_bump_transaction(SPONSOR.public_key, 1000, INNER, PASSPHRASE)

    @pytest.mark.parametrize(
        ("stored", "envelope", "hashes", "of_envelope"),
        [
            (["cd" * 32], INNER, ["cd" * 32], [INNER.hash_hex()]),
            ([OUTER.hash_hex()], INNER, [OUTER.hash_hex()], [INNER.hash_hex()]),
            ([OUTER.hash_hex()], OUTER, [OUTER.hash_hex()], [INNER.hash_hex()]),
            ([INNER.hash_hex().upper()], OUTER, [INNER.hash_hex()], [OUTER.hash_hex()]),
            ([INNER.hash_hex(), OUTER.hash_hex()], OUTER, [INNER.hash_hex(), OUTER.hash_hex()], []),
            ([INNER.hash_hex()], INNER, [INNER.hash_hex()], []),
            ([], INNER, [INNER.hash_hex()], []),
            ([], OUTER, [OUTER.hash_hex()], [INNER.hash_hex()]),
            (["soon"], INNER, [], [INNER.hash_hex()]),
            (["cd" * 32], None, ["cd" * 32], []),
        ],
    )
    def test_what_is_stored_comes_first_and_what_the_envelope_goes_by_beside_it(
        self, stored: list[str], envelope: Any, hashes: list[str], of_envelope: list[str]
    ) -> None:
        columns = dict(zip(transaction_rows.HASH_COLUMNS, stored, strict=False))
        row = {"xdr": None if envelope is None else envelope.to_xdr(), "submitted_at": None, **columns}
        read = transaction_rows.reading(row, passphrase=PASSPHRASE)
        assert (list(read.hashes), list(read.of_envelope)) == (hashes, of_envelope)
        assert read.is_stored is bool(stored)


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

    def test_the_same_node_completes_a_proof(self) -> None:
        assert self.after(told_by("two")) == "two"
        assert self.after(told_by("two"), told_by("two")) is None

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
