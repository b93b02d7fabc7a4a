"""How a report speaks to people, on a terminal as on a page: values, sentences, outcomes, and how we know. Plain text, pure."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from shared.settings import Policy
from sweeper.model import Outcome

_ADDRESS = re.compile(r"\b[GC][A-Z2-7]{55}\b")
_HASH = re.compile(r"\b[0-9a-f]{64}\b")

_INVISIBLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]")

_DONE = {
    Outcome.REPAIRED: "repaired",
    Outcome.PROPOSED: "not written: for people to approve",
    Outcome.REPORTED: "not written: for people to decide",
    Outcome.UNKNOWN: "not written: the chain proves nothing",
    Outcome.SKIPPED_CHANGED: "not written: the row changed meanwhile",
    Outcome.FAILED: "could not be written",
}
_UNDONE = {
    Outcome.REPAIRED: "put back",
    Outcome.REPORTED: "left as it is",
    Outcome.SKIPPED_CHANGED: "left as it is: the row changed since",
    Outcome.UNKNOWN: "not known",
}
"""Of an undo, where the words differ."""

IN_PART = "repaired in part"
_TOLD = {
    Outcome.REPAIRED: "repaired",
    Outcome.PROPOSED: "to be approved",
    Outcome.REPORTED: "left to people",
    Outcome.UNKNOWN: "not proven",
    Outcome.SKIPPED_CHANGED: "changed meanwhile",
    Outcome.FAILED: "failed",
}


def shares(outcomes: Mapping[str, int], *, in_part: int = 0) -> str:
    """How many came to what, in words; `in_part` of the repaired ones are so in part."""
    counts = [(outcomes.get(one, 0), words) for one, words in _TOLD.items()]
    counts[0:1] = [(counts[0][0] - in_part, counts[0][1]), (in_part, IN_PART)]
    return listed([f"{number:,} {words}" for number, words in counts if number])


def done(
    outcome: str, action: str, *, undoing: bool = False, left: Sequence[str] = (), is_complete: bool = True
) -> str:
    """What was done about a finding, and why not more; `left` are the columns that a repair did not write."""
    if left:
        return f"{IN_PART}: {listed(list(left))} {'stays as it is' if len(left) == 1 else 'stay as they are'}"
    if undoing and outcome in _UNDONE:
        return _UNDONE[Outcome(outcome)]
    if outcome == Outcome.PROPOSED and not is_complete:
        return "not written: the run is not complete"
    if outcome == Outcome.PROPOSED and action == Policy.REPAIR:
        return "not written: --repair does it"
    return _DONE[Outcome(outcome)] if outcome in set(Outcome) else label(outcome)


def known(evidence: Mapping[str, Any]) -> Iterator[str]:
    """How we know: the few parts of the evidence that a person asks for first."""
    if chain := evidence.get("chain"):
        written = evidence.get("entry_last_modified_ledger")
        since = f", last written in ledger {written}" if written else ""
        yield f"Asked at ledger {evidence.get('asked_at_ledger', '?')}: {value(chain)}{since}"
    elif transaction := evidence.get("transaction"):
        yield f"Told by an event of transaction {short(value(transaction))} in ledger {evidence.get('ledger', '?')}"
    if linked_by := evidence.get("linked_by"):
        yield f"Linked by {value(linked_by)}; candidates: {value(evidence.get('candidates') or 'none')}"
    if first_seen := evidence.get("first_seen"):
        yield f"First seen {moment(first_seen)}"
    if reason := evidence.get("reason"):
        yield f"Reason: {value(reason)}"


def label(name: str) -> str:
    """A name of ours as words."""
    return name.replace("_", " ")


def visible(text: str) -> str:
    """Control characters as their escapes: a row of the app cannot steer a terminal, nor turn the direction of a line."""
    if text.isprintable():
        return text
    return _INVISIBLE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def short(text: str) -> str:
    """Addresses and hashes by both their ends, as wallets show them; the JSON has them whole."""
    return _HASH.sub(_ends, _ADDRESS.sub(_ends, text))


def _ends(match: re.Match[str]) -> str:
    return f"{match[0][:4]}…{match[0][-4:]}"


def value(of: Any) -> str:
    """A value of the report's JSON in one line."""
    match of:
        case None:
            return "NULL"
        case bool():
            return "true" if of else "false"
        case list():
            return ", ".join(value(one) for one in of) or "none"
        case dict():
            return visible(json.dumps(of, ensure_ascii=False))
    return visible(str(of))


def moment(of: Any) -> str:
    """A time to the second, in UTC; what is no time stays as it is."""
    try:
        time = of if isinstance(of, datetime) else datetime.fromisoformat(str(of))
    except ValueError:
        return str(of)
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def iso(time: datetime) -> str:
    """The time in UTC as JSON has it."""
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def sentence(words: str) -> str:
    """The words as a sentence."""
    words = visible(short(words.strip()))
    word = words.partition(" ")[0].rstrip(".,:;")
    first = (
        words[:1] if set("_./") & set(word) else words[:1].upper()
    )  # the name of a column or an address stays as it is
    return f"{first}{words[1:]}{'' if words.endswith(('.', ':', '!')) else '.'}"


def count(number: int, one: str, many: str | None = None) -> str:
    """`1 row`, `2 rows`, `12,000 rows`."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def listed(parts: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else "".join(parts)


def span(seconds: float) -> str:
    """How long something took, in the two units that matter."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
