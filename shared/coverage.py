"""Coverage: which stretches of the chain have been read, as algebra over half-open ranges `(after, through]` of positions.

Pure. A coverage is a tuple of ranges in order, which neither touch nor overlap; every function keeps it so.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from shared import position


@dataclass(frozen=True, slots=True, order=True)
class Range:
    """`(after, through]`, both positions; it holds nothing when they are equal."""

    after: str
    through: str


Coverage = tuple[Range, ...]
NOTHING: Coverage = ()


def add(coverage: Coverage, new: Range) -> Coverage:
    """The coverage and the new range, touching ranges joined."""
    if new.after >= new.through:
        return coverage
    before = [held for held in coverage if held.through < new.after]
    behind = [held for held in coverage if held.after > new.through]
    touching = coverage[len(before) : len(coverage) - len(behind)]
    after = min((new.after, *(held.after for held in touching)))
    through = max((new.through, *(held.through for held in touching)))
    return (*before, Range(after, through), *behind)


def missing(coverage: Coverage, wanted: Range) -> Coverage:
    """What of the wanted range the coverage does not hold."""
    holes = []
    after = wanted.after
    for held in coverage:
        if held.through <= after:
            continue
        if held.after >= wanted.through:
            break
        if held.after > after:
            holes.append(Range(after, held.after))
        after = held.through
    if after < wanted.through:
        holes.append(Range(after, wanted.through))
    return tuple(holes)


def union(one: Coverage, other: Coverage) -> Coverage:
    """What either holds."""
    for held in other:
        one = add(one, held)
    return one


class GapState(StrEnum):
    """`filling`: part of the gap is closed. `filled`: all of it was read. `superseded`: all is closed, part of it by state."""

    OPEN = "open"
    FILLING = "filling"
    FILLED = "filled"
    SUPERSEDED = "superseded"


CLOSED_STATES = (GapState.FILLED, GapState.SUPERSEDED)


def gap_state(gap: Range, held: Iterable[tuple[Coverage, Coverage]]) -> GapState:
    """How far a gap is closed, by what is (covered, superseded) of each contract that it lacks."""
    each = [(missing(covered, gap), missing(union(covered, superseded), gap)) for covered, superseded in held]
    if not any(left for _, left in each):
        return GapState.SUPERSEDED if any(unread for unread, _ in each) else GapState.FILLED
    return GapState.OPEN if all(left == (gap,) for _, left in each) else GapState.FILLING


def reach(coverage: Coverage, start: str) -> str:
    """The position up to which all is covered without a hole, counted from `start`."""
    for held in coverage:
        if held.after <= start <= held.through:
            return held.through
    return start


def watermark(coverage: Coverage, start: str) -> int:
    """The highest ledger up to which all is covered, counted from the position `start`."""
    return position.complete_ledger(reach(coverage, start))
