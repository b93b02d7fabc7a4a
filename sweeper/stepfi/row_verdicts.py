"""What became of the transaction of a pending row, which may go by several hashes. Pure."""

from collections.abc import Sequence
from dataclasses import replace

from sweeper.stepfi import settlement
from sweeper.stepfi.settlement import Fate, Pending, Rule, Told, Verdict

_FIRST = (Verdict.SUCCESS, Verdict.OPEN, Verdict.UNKNOWN)
"""Each outweighs those behind it, and all of them that a transaction failed."""


def decide(pending: Pending, told: Sequence[Told], *, chain_time: int) -> Fate:
    """What became of the row's transaction, of all that is told of the hashes that were asked for.

    The row's own hashes come first. Where they prove no success, that of its envelope is enough: what it carries was done. No
    more is believed of the envelope: that no node has it says nothing, and that it failed leaves open what was submitted.
    """
    decided = _of_own(pending, [one for one in told if one.tx_hash in pending.hashes], chain_time=chain_time)
    if decided.verdict is Verdict.SUCCESS or decided.rule is Rule.CONTRADICTION:
        return decided
    carried = [
        settlement.fate(pending, one, chain_time=chain_time) for one in told if one.tx_hash not in pending.hashes
    ]
    if (doubted := next((one for one in carried if one.rule is Rule.CONTRADICTION), None)) is not None:
        return doubted
    done = next((one for one in carried if one.verdict is Verdict.SUCCESS), None)
    if done is not None and decided.rule is Rule.FOUND:  # the row's own was included too, and failed
        return replace(done, verdict=Verdict.UNKNOWN, rule=Rule.CONTRADICTION)
    if done is not None:
        return done
    return (_unheard(carried) or decided) if decided.rule is Rule.EXPIRED else decided


def _unheard(carried: Sequence[Fate]) -> Fate | None:
    """Return why it is not known that the envelope's transactions were never included; None where every node was heard."""
    for one in carried:
        if one.rule is Rule.NO_ANSWER:
            return one
        if one.told is not None and one.told.silent:
            return settlement.unknown(Rule.SILENT, one.told, one.shown)
    return None


def _of_own(pending: Pending, told: Sequence[Told], *, chain_time: int) -> Fate:
    """What became of it by the row's own hashes.

    Two hashes may stand for one transaction (a fee bump and what it wraps) or for two attempts. One that succeeded is enough,
    unless the other was included elsewhere; it failed only when neither can succeed any more.
    """
    fates = [settlement.fate(pending, one, chain_time=chain_time) for one in told]
    if not fates:
        return settlement.unknown(Rule.NO_HASH if pending.unreadable else Rule.NOTHING_TO_ASK, None)
    included = [one for one in fates if one.rule in (Rule.FOUND, Rule.EVENT)]
    if len({(one.verdict, one.ledger) for one in included}) > 1:
        return replace(included[0], verdict=Verdict.UNKNOWN, rule=Rule.CONTRADICTION)
    contradicted = [one for one in fates if one.rule is Rule.CONTRADICTION]
    ordered = [one for verdict in _FIRST for one in fates if one.verdict is verdict]
    decisive = next(iter((*contradicted, *ordered, *included)), fates[0])
    if pending.unreadable and decisive.verdict is Verdict.FAILED:
        return replace(decisive, verdict=Verdict.UNKNOWN, rule=Rule.NO_HASH)
    return decisive
