"""The fold: `state(key) = fold(facts of key, ordered by position)`. Pure.

A `Fold` says how the facts of one prefix become one row of one table. What a fact means is the application's; that the order
of arrival is of no account is the engine's: a fact newer than the row is folded on, an older one makes the key fold anew.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import groupby
from operator import attrgetter
from typing import Any, Protocol, TypeVar

from sqlalchemy import Numeric, Table
from sqlalchemy.dialects.postgresql import JSONB

from streams.facts import Fact


class State(Protocol):
    """A row of a state table as a value: a frozen dataclass (without slots, see `replace`) of the table's columns."""

    @property
    def key(self) -> str: ...
    @property
    def position(self) -> str: ...


S = TypeVar("S")


def replace(state: S, **changes: object) -> S:
    """`dataclasses.replace` for states, ten times as quick: it copies the fields, where that one passes all of them to
    `__init__`. A fold does little else."""
    held = state.__dict__
    values = held | changes
    if len(values) > len(held):
        raise TypeError(f"{type(state).__name__} has no {', '.join(sorted(changes.keys() - held.keys()))}")
    new = object.__new__(type(state))
    object.__setattr__(new, "__dict__", values)
    return new


Step = Callable[[Any, Fact, Any], State]
"""Folds one fact, whose payload is the third argument, onto a state: gives another one (by `replace`), or the same."""


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
    def integers(self) -> frozenset[str]:
        """Columns of integers of any size: as text they are read and written exactly, and quicker than as decimals."""
        return frozenset(column.name for column in self.table.columns if isinstance(column.type, Numeric))

    @cached_property
    def texts(self) -> frozenset[str]:
        """Columns that go to the database and come from it as text."""
        return self.integers | {column.name for column in self.table.columns if isinstance(column.type, JSONB)}

    @cached_property
    def _values(self) -> Callable[[State], tuple[Any, ...]]:
        return attrgetter(*self.columns)

    @cached_property
    def _places(self) -> tuple[int, ...]:
        return tuple(place for place, name in enumerate(self.columns) if name in self.integers)

    def read(self, row: Mapping[str, Any]) -> State:
        """The state that a row of the table holds, whose `texts` are text."""
        values = dict(row.items())
        for name in self.integers:
            if (value := values[name]) is not None:
                values[name] = int(value)
        state: State = self.state(**values)
        return state

    def write(self, state: State) -> Sequence[Any]:
        """The values of the row, in the order of `columns`; its `texts` are text."""
        values = list(self._values(state))
        for place in self._places:
            if (value := values[place]) is not None:
                values[place] = str(value)
        return values

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
        folded = function(known, fact, fact.payload)
        if folded is known:
            return replace(known, position=fact.position)
        folded.__dict__["position"] = fact.position  # just made by the step, and nobody else's yet
        return folded


def is_late(state: State | None, first: Fact) -> bool:
    """Whether the first of the key's changed facts is not newer than the row, so that the key has to be folded anew."""
    return state is not None and first.position <= state.position


def advance(fold: Fold, held: Mapping[str, State], changed: Iterable[Fact]) -> tuple[dict[str, State], list[str]]:
    """Fold changed facts of one prefix (sorted by key and position) onto the rows of their keys.

    Returns the rows that follow from what is held, and the keys that have to be folded anew from their stored facts.
    """
    states: dict[str, State] = {}
    late = []
    for key, facts in groupby(changed, key=attrgetter("key")):
        first, *others = facts
        state = held.get(key)
        if is_late(state, first):
            late.append(key)
        else:
            state = fold.step(state, first)
            for fact in others:
                state = fold.step(state, fact)
            states[key] = state
    return states, late
