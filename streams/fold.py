"""The fold: `state(key) = fold(facts of key, ordered by position)`. Pure.

A `Fold` says how the facts of one prefix become one row of one table. What a fact means is the application's; that the order
of arrival is of no account is the engine's: a fact newer than the row is folded on, an older one makes the key fold anew.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import groupby
from operator import attrgetter
from typing import Any, Protocol

from sqlalchemy import Numeric, Table

from streams.facts import Fact


class State(Protocol):
    """A row of a state table as a value: a frozen dataclass whose fields are the table's columns."""

    @property
    def key(self) -> str: ...
    @property
    def position(self) -> str: ...


Step = Callable[[Any, Fact, Any], State]
"""Folds one fact, whose payload is the third argument, onto a state that has the fact's position already."""


@dataclass(frozen=True, kw_only=True)
class Fold:
    """How the facts of the keys `<prefix>:…` become rows of `table`.

    start     the state before the first fact, from that fact's key
    steps     one function a kind of payload
    resets    an observation says all there is to say, so that the fold may begin at the newest one
    """

    prefix: str
    table: Table
    state: type[Any]
    start: Callable[[Fact], State]
    steps: Mapping[type, Step]
    resets: bool = False

    def __post_init__(self) -> None:
        if {one.name for one in fields(self.state)} != set(self.columns):
            raise TypeError(f"{self.state.__name__} and the table {self.table} have not the same fields")

    @cached_property
    def columns(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.table.columns)

    @cached_property
    def _integers(self) -> frozenset[str]:
        return frozenset(column.name for column in self.table.columns if isinstance(column.type, Numeric))

    def read(self, row: Mapping[str, Any]) -> State:
        """The state that a row of the table holds; NUMERIC columns hold integers."""
        integers = self._integers
        values = {name: int(value) if name in integers and value is not None else value for name, value in row.items()}
        state: State = self.state(**values)
        return state

    def write(self, state: State) -> tuple[Any, ...]:
        """The values of the row, in the order of `columns`."""
        return tuple(getattr(state, name) for name in self.columns)

    def run(self, state: State | None, facts: Iterable[Fact]) -> State | None:
        """Fold the facts, in their order, onto the state."""
        for fact in facts:
            state = self.step(state, fact)
        return state

    def step(self, state: State | None, fact: Fact) -> State:
        """Fold one fact, newer than the state."""
        function = self.steps.get(type(fact.payload))
        if function is None:
            raise TypeError(f"the fold of {self.prefix!r} has no step for {type(fact.payload).__name__}")
        known: Any = self.start(fact) if state is None else state
        return function(replace(known, position=fact.position), fact, fact.payload)


def is_late(state: State | None, facts: Iterable[Fact]) -> bool:
    """Whether one of the facts is not newer than the row, so that the key has to be folded anew."""
    return state is not None and any(fact.position <= state.position for fact in facts)


def advance(
    fold: Fold, held: Mapping[str, State], changed: Iterable[Fact]
) -> tuple[dict[str, State | None], list[str]]:
    """Fold changed facts of one prefix (sorted by key and position) onto the rows of their keys.

    Returns the rows that follow from what is held, and the keys that have to be folded anew from their stored facts.
    """
    states: dict[str, State | None] = {}
    late = []
    for key, facts in groupby(changed, key=attrgetter("key")):
        news = list(facts)
        if is_late(held.get(key), news):
            late.append(key)
        else:
            states[key] = fold.run(held.get(key), news)
    return states, late
