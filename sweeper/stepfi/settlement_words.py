"""How an outcome is told: one sentence for a person, and the evidence for whoever wants to check it. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sweeper.stepfi.settlement import NEEDED, Fate, Pending, Rule, Verdict

_LAST_SECOND = 253_402_300_799  # 9999-12-31 23:59:59 UTC; what comes behind is no date for anybody


def instant(seconds: int | None) -> datetime | None:
    """Unix seconds as a time in UTC; None for what no calendar holds."""
    return None if seconds is None or not 0 <= seconds <= _LAST_SECOND else datetime.fromtimestamp(seconds, UTC)


def sentence(fate: Fate, *, said: str | None = "pending") -> str:
    """What the app says, what the chain says, and how that is known."""
    app = f"the app says {_quoted(said)}"
    match fate.rule:
        case Rule.FOUND if fate.verdict is not Verdict.UNKNOWN:
            return (
                f"{app}, the chain says {fate.verdict}: {_node(fate)} has it"
                f" in ledger {fate.ledger}, closed {_time(fate.closed_at)}"
            )
        case Rule.EVENT if fate.verdict is Verdict.SUCCESS:
            return (
                f"{app}, the chain says success: an event of it in ledger {fate.ledger},"
                f" closed {_time(fate.closed_at)}, is stored, and only transactions that succeed have events"
            )
        case Rule.EXPIRED if fate.shown is not None:
            shown = fate.shown
            return (
                f"{app}, and the chain can never include it: its time ended {_time(fate.closed_at)}, and"
                f" {shown.node}, which has every ledger closed since {_time(shown.oldest_close_time)}, told twice that it is"
                f" not there, the second time at ledger {shown.latest_ledger}, closed {_time(shown.latest_close_time)}"
                f"{_others(fate)}"
            )
        case Rule.STILL_VALID:
            return f"{app}, and the chain may still include it"
    trouble = f" ({fate.told.troubles[-1]})" if fate.told is not None and fate.told.troubles else ""
    return f"{app}, the outcome is not proven: {fate.rule}{trouble}; needed: {NEEDED.get(fate.rule, 'a proof')}"


def _quoted(said: str | None) -> str:
    if said == "pending":
        return said
    word = "nothing" if said is None else repr(said[:60])
    return f"{word} (and knows pending, success and failed)"


def error(fate: Fate, failure: str | None) -> str | None:
    """The text for the app's column `error`; None for a success."""
    if fate.verdict is Verdict.SUCCESS:
        return None
    if fate.rule is Rule.EXPIRED:
        return f"expired: not included by {_time(fate.closed_at)}"
    return f"failed on chain in ledger {fate.ledger}" + (f": {failure}" if failure else "")


def evidence(pending: Pending, fate: Fate) -> dict[str, Any]:
    """What the outcome rests on; only what is known of it."""
    told, shown = fate.told, fate.shown
    parts: Mapping[str, Any] = {
        "rule": fate.rule.value,
        "hash": told.tx_hash if told else None,
        "hashes": list(pending.asked) if len(pending.asked) > 1 else None,
        "unreadable_hashes": [text[:100] for text in pending.unreadable],
        "envelope_hash": pending.envelope.hash if pending.envelope else None,
        "max_time": _shown_max_time(pending),
        "submitted_at": instant(pending.submitted_at),
        "ledger": fate.ledger,
        "created_at": instant(fate.closed_at) if fate.ledger is not None else None,
        "node": shown.node if shown else None,
        "latest_ledger": shown.latest_ledger if shown else None,
        "latest_ledger_closed_at": instant(shown.latest_close_time) if shown else None,
        "oldest_ledger": shown.oldest_ledger if shown else None,
        "oldest_ledger_closed_at": instant(shown.oldest_close_time) if shown else None,
        "answers": len(told.answers) if told else None,
        "nodes": sorted(set(told.asked)) if told and len(set(told.asked)) > 1 else None,
        "silent_nodes": list(told.silent) if told else None,
        "troubles": list(dict.fromkeys(told.troubles)) if told else None,
        "needed": NEEDED.get(fate.rule) if fate.verdict is Verdict.UNKNOWN else None,
    }
    return {name: value for name, value in parts.items() if value not in (None, [])}


def _shown_max_time(pending: Pending) -> datetime | str | None:
    if pending.envelope is None:
        return None
    return instant(pending.envelope.max_time) or str(pending.envelope.max_time) if pending.envelope.max_time else "none"


def _others(fate: Fate) -> str:
    """What the other nodes say to an absence."""
    others = len(set(fate.told.asked)) - 1 if fate.told is not None else 0
    if not others:
        return ""
    return (
        "; the other node does not have it either"
        if others == 1
        else f"; nor does any of the other {others} nodes have it"
    )


def _node(fate: Fate) -> str:
    return fate.shown.node if fate.shown is not None else "a node"


def _time(seconds: int | None) -> str:
    moment = instant(seconds)
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC" if moment is not None else "at a time that is not known"
