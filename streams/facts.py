"""Facts: what events and observations tell, each under the key of the thing that it tells of."""

from collections.abc import Iterable
from typing import NamedTuple

OBSERVED = "observed"
"""The kind of every fact that states the whole of what its key stands for, as a ledger entry held it."""


class Fact(NamedTuple):
    """One thing told of one key. There are some for each event, and a tuple is made three times as quick as a dataclass.

    key       `<prefix>:<contract>[:<id>]`; the prefix names the fold (`streams.fold`), or nothing folds it
    position  of the event; of an observation: behind every event of its ledger
    kind      the event's name, or OBSERVED
    body      JSON that is stored; `Application.restore` reads the payload from it again
    payload   the decoded value that the fold takes
    at        close of the event's ledger, unix seconds; None for an observation
    tx_hash   of the event's transaction; None for an observation
    problem   why the event was not decoded, else None
    """

    key: str
    position: str
    kind: str
    body: str
    payload: object = None
    at: int | None = None
    tx_hash: str | None = None
    problem: str | None = None
    conflict: bool = False

    @property
    def prefix(self) -> str:
        return self.key.partition(":")[0]


def merge(facts: Iterable[Fact]) -> list[Fact]:
    """One fact for each key and position, in their order.

    The same fact may come twice; of two different values seen at one key and ledger the lower bytes win, and the fact says
    that there was a conflict. `apply` does the same with what is stored already, so the order of arrival is of no account.
    """
    merged: dict[tuple[str, str], Fact] = {}
    for fact in facts:
        place = (fact.key, fact.position)
        held = merged.setdefault(place, fact)
        if held is fact:
            continue
        low = min(held, fact, key=lambda one: one.body.encode())
        conflict = held.conflict or fact.conflict or held.body != fact.body
        merged[place] = low if low.conflict == conflict else low._replace(conflict=conflict)
    return [merged[place] for place in sorted(merged)]
