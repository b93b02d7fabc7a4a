"""What became of a transaction: from what the nodes told of one hash to an outcome, or to why there is none.

Pure. A transaction that a node has is settled. One that no node has is failed only where a proof excludes that it was, or still
will be, included; a hash alone never proves that, its envelope's time bounds do, and only for the envelope's own hash.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from shared import rpc
from sweeper.model import Answer
from sweeper.stepfi.envelopes import Envelope

REACH_BACK_SECONDS = 3600
"""How long before its row (or the end of its time) a transaction might have been included: the application writes some rows
after it submitted, and by its own clock."""

NOT_FOUND = rpc.TransactionStatus.NOT_FOUND


class Verdict(StrEnum):
    SUCCESS = "success"
    FAILED = "failed"
    OPEN = "open"  # it may still be included: pending is the truth
    UNKNOWN = "unknown"


class Rule(StrEnum):
    """How the outcome is known, or why it is not. The texts are part of the evidence."""

    FOUND = "a node has the transaction"
    EVENT = "an event of the transaction is stored"
    EXPIRED = (
        "its time is over, and every node that reaches back before it was submitted told twice that it is not there"
    )
    STILL_VALID = "its time is not over"
    CONTRADICTION = "what is told of it contradicts itself"
    NOTHING_TO_ASK = "neither a hash nor an envelope is stored"
    NO_HASH = "what is stored as its hash is none"
    NO_ANSWER = "no node answered"
    FOREIGN_ENVELOPE = "no node has it, and no envelope is stored whose own hash this is"
    NEVER_OVER = "no node has it, and its envelope has no end of time"
    NOT_STORED = "no node has it, and that its envelope is what was submitted is not said: no hash is stored"
    NOT_OVER_THERE = "its time is over, but not yet at any node that was asked"
    OUT_OF_REACH = "no node has it, and none that was asked reaches back before it was submitted"
    TOLD_ONCE = "a node told once that it is not there, and not a second time"
    BEHIND = "its time is over, but a node that may hold it is behind and cannot know yet"
    SILENT = "no node that answered has it, and a node that may hold it did not answer"


NEEDED = {
    Rule.CONTRADICTION: "a look at both by a person",
    Rule.NOTHING_TO_ASK: "the transaction's hash",
    Rule.NO_HASH: "the transaction's hash, 64 hex digits",
    Rule.NO_ANSWER: "a node of CHAINTRUE_RPC__URLS that answers",
    Rule.FOREIGN_ENVELOPE: "a node that has it, or the envelope that was submitted",
    Rule.NOT_STORED: "the hash that was submitted",
    Rule.NEVER_OVER: "a node that has it; no absence is for ever",
    Rule.NOT_OVER_THERE: "a node that is up to date",
    Rule.OUT_OF_REACH: "a node of CHAINTRUE_RPC__URLS with a longer history",
    Rule.TOLD_ONCE: "the same node's answer to a second question",
    Rule.BEHIND: "an answer of every node of CHAINTRUE_RPC__URLS that is up to date",
    Rule.SILENT: "an answer of every node of CHAINTRUE_RPC__URLS; remove a node that is gone for good from the setting",
}
"""What would make an outcome provable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """What a pending row says. `hashes`: its own, in lower case; `unreadable`: texts stored in place of a hash.

    is_stored    whether the hashes are stored, and not the envelope's for lack of any
    of_envelope  what else its envelope goes by: of a fee bump and what it wraps one may be stored, and the other one included
    """

    hashes: tuple[str, ...]
    of_envelope: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()
    envelope: Envelope | None
    submitted_at: int | None
    is_stored: bool = True

    @property
    def asked(self) -> tuple[str, ...]:
        """All hashes to ask for."""
        return (*self.hashes, *self.of_envelope)

    def without(self, held: Collection[str]) -> "Pending":
        """Where other rows hold a hash that only its envelope goes by, that transaction is theirs."""
        return replace(self, of_envelope=tuple(one for one in self.of_envelope if one not in held))

    def max_time(self, tx_hash: str) -> int | None:
        """The end of the time of the transaction with this hash; None where the envelope is not its own, or it not the row's."""
        own = self.envelope is not None and self.envelope.hash == tx_hash and tx_hash in self.hashes
        return self.envelope.max_time if self.envelope is not None and own else None

    def reach(self, max_time: int) -> int | None:
        """A history that begins at or before this close time cannot have lost it."""
        return None if self.submitted_at is None else min(self.submitted_at, max_time) - REACH_BACK_SECONDS

    def is_beyond(self, oldest_close_time: int) -> bool:
        """Return whether a history that begins there is known to be too short to prove that the transaction is absent."""
        reach = None if self.envelope is None else self.reach(self.envelope.max_time)
        return reach is not None and oldest_close_time > reach


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event of the transaction, from the log; its ledger's close in unix seconds, None if that cannot be read."""

    ledger: int
    closed_at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """All that is told of one hash; `answers` in the order in which they came, `troubles` of the questions without one.

    silent   the nodes that may hold the transaction and gave no answer at all
    """

    tx_hash: str
    answers: tuple[rpc.Transaction, ...] = ()
    troubles: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    event: StoredEvent | None = None

    def answered(self, answer: rpc.Transaction) -> "Told":
        return replace(self, answers=(*self.answers, answer))

    def troubled(self, words: str) -> "Told":
        return replace(self, troubles=(*self.troubles, words))

    def unanswered(self, node: str) -> "Told":
        """Return the same with one more node that did not answer."""
        return self if node in self.asked else replace(self, silent=(*self.silent, node))

    @property
    def asked(self) -> list[str]:
        """The nodes that answered, as often as they did."""
        return [answer.node for answer in self.answers]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What became of one transaction. `shown` is the answer that says so, or the one that came nearest to it.

    ledger, closed_at (unix seconds): where it was included; of one that expired, `closed_at` is the end of its time.
    """

    verdict: Verdict
    rule: Rule
    told: Told | None
    shown: rpc.Transaction | None = None
    ledger: int | None = None
    closed_at: int | None = None

    @property
    def answer(self) -> Answer:
        if self.verdict in (Verdict.SUCCESS, Verdict.FAILED):
            return Answer.ABSENT if self.rule is Rule.EXPIRED else Answer.CONFIRMED
        return Answer.UNKNOWN


def next_node(
    pending: Pending, told: Told, *, chain_time: int, nodes: Sequence[str], unheard: Collection[str]
) -> str | None:
    """Return the node to ask next, after a first answer of any node; None when no answer could say more.

    The same node again, where that completes its answer; else one that was not asked yet: it may hold more, and until every
    node was asked nothing proves that the transaction is absent. `unheard` are those that did not answer. No node is asked
    more than twice.
    """
    now = fate(pending, told, chain_time=chain_time)
    is_absent = now.verdict is Verdict.FAILED and now.rule is Rule.EXPIRED
    if not told.answers or now.rule is Rule.CONTRADICTION or not (is_absent or now.verdict is Verdict.UNKNOWN):
        return None
    asked = told.asked
    again = [answer.node for answer in _proving(pending, told) if asked.count(answer.node) == 1]
    fresh = [node for node in nodes if node not in asked]
    return next((node for node in (*again, *fresh) if node not in unheard), None)


def fate(pending: Pending, told: Told, *, chain_time: int) -> Fate:
    """What became of one hash. `chain_time` is the newest close time (unix seconds) known of the chain, from anywhere."""
    found = [answer for answer in told.answers if answer.status is not NOT_FOUND]
    if found:
        return _found(told, found)
    if told.event is not None:
        where = told.event
        return Fate(verdict=Verdict.SUCCESS, rule=Rule.EVENT, told=told, ledger=where.ledger, closed_at=where.closed_at)
    if not told.answers:
        return unknown(Rule.NO_ANSWER, told)
    return _absent(pending, told, chain_time)


def _found(told: Told, found: Sequence[rpc.Transaction]) -> Fate:
    first = found[0]
    places = {(one.status, one.ledger) for one in found}
    if told.event is not None:  # only a transaction that succeeded has events
        places.add((rpc.TransactionStatus.SUCCESS, told.event.ledger))
    if len(places) > 1:
        return unknown(Rule.CONTRADICTION, told, first)
    verdict = Verdict.SUCCESS if first.status is rpc.TransactionStatus.SUCCESS else Verdict.FAILED
    return Fate(
        verdict=verdict, rule=Rule.FOUND, told=told, shown=first, ledger=first.ledger, closed_at=first.created_at
    )


def _absent(pending: Pending, told: Told, chain_time: int) -> Fate:
    """No node that answered has it: gone, still to come, or unknown."""
    last = told.answers[-1]
    max_time = pending.max_time(told.tx_hash)
    if max_time is None:
        return unknown(Rule.FOREIGN_ENVELOPE, told, last)
    if max_time == 0:
        return unknown(Rule.NEVER_OVER, told, last)
    if chain_time <= max_time:
        return Fate(verdict=Verdict.OPEN, rule=Rule.STILL_VALID, told=told, shown=last)
    proving = list(_proving(pending, told))
    twice = {answer.node: answer for number, answer in enumerate(proving) if answer.node in _nodes(proving[:number])}
    if twice:
        shown = next(iter(twice.values()))
        expired = Fate(verdict=Verdict.FAILED, rule=Rule.EXPIRED, told=told, shown=shown, closed_at=max_time)
        return _doubted(pending, told, proven=twice, max_time=max_time) or expired
    if proving:
        return unknown(Rule.TOLD_ONCE, told, proving[0])
    late = [answer for answer in told.answers if answer.latest_close_time > max_time]
    over = Rule.OUT_OF_REACH if pending.is_stored else Rule.NOT_STORED
    return unknown(over, told, late[-1]) if late else unknown(Rule.NOT_OVER_THERE, told, last)


def _doubted(pending: Pending, told: Told, *, proven: Mapping[str, rpc.Transaction], max_time: int) -> Fate | None:
    """Return why the absence is not known, though the nodes `proven` say it; None where every other node is too short to know.

    One node's history may have a hole, so each node that reaches back has to say the same.
    """
    if told.silent:
        return unknown(Rule.SILENT, told, told.answers[-1])
    last = {answer.node: answer for answer in told.answers}
    for node, answer in last.items():
        if node in proven or pending.is_beyond(answer.oldest_close_time):
            continue
        return unknown(Rule.TOLD_ONCE if answer.latest_close_time > max_time else Rule.BEHIND, told, answer)
    return None


def _nodes(answers: Sequence[rpc.Transaction]) -> set[str]:
    return {answer.node for answer in answers}


def _proving(pending: Pending, told: Told) -> Iterator[rpc.Transaction]:
    """The answers of which two of one node prove that this node does not have it.

    The look-up may be older than the range that the answer tells, so it is the second answer that was certainly looked up after
    the end of the transaction's time.
    """
    max_time = pending.max_time(told.tx_hash)
    reach = pending.reach(max_time) if max_time else None
    if max_time is None or reach is None or not pending.is_stored:
        return
    for answer in told.answers:
        over = answer.latest_close_time > max_time
        if answer.status is NOT_FOUND and over and answer.oldest_close_time <= reach:
            yield answer


def unknown(rule: Rule, told: Told | None, shown: rpc.Transaction | None = None) -> Fate:
    """That it is not known, and why."""
    return Fate(verdict=Verdict.UNKNOWN, rule=rule, told=told, shown=shown)
