"""States of a partition's keys as they stand in the database, so that a batch need not read what the one before it wrote.

Only whoever holds the lock on a partition's offset writes its states, and moves the offset with each write. So what was held at
the end of one transaction still stands at the beginning of the next one exactly where the offset has not moved meanwhile, in the
same table (a replay exchanges them). Where it has, everything is forgotten.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping

from streams.fold import State

CAPACITY = 20_000
"""States that are kept in all; a loan's takes about 4 KB, its schedule included."""


class StateCache:
    """States by key, the least recently used dropped first. `begin`, then `get` and `put`, then `committed` once it is."""

    def __init__(self, *, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._held: OrderedDict[str, State] = OrderedDict()
        self._place: object = None

    def begin(self, place: object) -> None:
        """A transaction begins: `place` is all that tells whether the tables are as the last one left them."""
        if place != self._place:
            self._held.clear()
        self._place = None  # until it is committed, what is put here may not be true

    def committed(self, place: object) -> None:
        """The transaction is committed, and left the tables at `place`."""
        self._place = place
        while len(self._held) > self._capacity:
            self._held.popitem(last=False)

    def get(self, keys: Iterable[str]) -> dict[str, State]:
        """The states of those keys that are known."""
        held = self._held
        found = {}
        for key in keys:
            state = held.get(key)
            if state is not None:
                held.move_to_end(key)
                found[key] = state
        return found

    def put(self, states: Mapping[str, State]) -> None:
        """These are written in the transaction that goes on."""
        self._held.update(states)
