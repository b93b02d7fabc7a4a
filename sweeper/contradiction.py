"""What an entry of the chain says to what our own tables hold of it: agrees, contradicts, or tells nothing. Pure.

An entry that differs need not contradict: the stream may simply not be there yet. It contradicts when nothing can explain it
but our tables being wrong: it has not changed since a ledger that our tables claim to know wholly, it is newer than all
that they know of it, and it is not archived. Then the log is told of it; whatever the tables say until then is unknown.
"""

from collections.abc import Sequence
from typing import NamedTuple

from shared import position
from sweeper.model import Answer
from sweeper.questions import Held


class Verdict(NamedTuple):
    """The answer, the words for it, and whether our tables are to be mended."""

    answer: Answer
    reason: str
    contradicts: bool = False


def judge(
    held: Held | None, *, readable: bool, differing: Sequence[str], known_at: str | None, watermark: int
) -> Verdict:
    """`differing`: what of the entry, which is `readable`, our tables hold otherwise; `known_at`: the newest fact in them."""
    if held is None or not readable:
        words = "the node has no readable entry: archived, or the node is behind" if held else "no node answered"
        return Verdict(Answer.UNKNOWN, words)
    if not differing:
        return Verdict(Answer.CONFIRMED, "the entry says the same as our tables")
    columns = ", ".join(differing)
    if held.is_archived:
        return Verdict(Answer.UNKNOWN, f"the entry is archived and differs from our tables in {columns}")
    if held.last_modified is None or held.last_modified > watermark:
        return Verdict(Answer.UNKNOWN, f"the entry has moved on from our tables in {columns}")
    is_newer = known_at is None or position.end_of(held.ledger) > known_at
    words = f"the entry contradicts our tables in {columns}: it stands so since ledger {held.last_modified}"
    return Verdict(Answer.UNKNOWN, words if is_newer else f"{words}, but they know of later ones", contradicts=is_newer)
