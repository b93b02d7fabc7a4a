"""Which of our repairs somebody else wrote over: decided from what was written, and from what both sides say now. Pure.

A value that changes again and again is nobody's fight while it is the chain that changes it: the application did not follow,
and each repair brings it what is new. Somebody writes back where the chain stands still and the value does not, or where the
old value is there again.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from itertools import pairwise

from sweeper.model import Both, Value
from sweeper.row_images import Image, value_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One write of ours to the row. `counts`: it was a repair of what the row is found to be now, not another or an undo."""

    at: datetime
    before: Image
    after: Image
    counts: bool = True


@dataclass(frozen=True, slots=True)
class WrittenBack:
    """How many repairs of one column somebody wrote over, and when the first of them was made."""

    times: int
    since: datetime


@dataclass(frozen=True, slots=True)
class _Step:
    """A column's value before and after a write of ours; of the last step what the app and the chain say now."""

    before: object
    after: object
    write: Write | None = None


def most(writes: Sequence[Write], columns: Mapping[str, Both]) -> WrittenBack | None:
    """Of the columns that differ now the one that was written back most often; None where none ever was.

    `writes` are all of ours to the row within the time that is looked at, in their order.
    """
    told = [found for name, both in sorted(columns.items()) if (found := _of_column(name, both, writes)) is not None]
    return min(told, key=lambda one: (-one.times, one.since), default=None)


def _of_column(name: str, now: Both, writes: Iterable[Write]) -> WrittenBack | None:
    kind = _kind(now)
    steps = [
        _Step(_plain(write.before[name], kind), _plain(write.after[name], kind), write)
        for write in writes
        if name in write.after and name in write.before  # what it held before is known of whatever was written
    ]
    steps.append(_Step(_plain(value_text(now.app), kind), _plain(value_text(now.chain), kind)))
    over = [
        one.write.at
        for one, following in pairwise(steps)
        if one.write is not None and one.write.counts and _is_over(one, following)
    ]
    return WrittenBack(len(over), over[0]) if over else None


def _is_over(one: _Step, following: _Step) -> bool:
    """Whether somebody wrote over it: the value is another, and that is not how the chain moved on."""
    if following.before == one.after:
        return False
    chain_stood_still, old_value_is_back = following.after == one.after, following.before == one.before
    return chain_stood_still or old_value_is_back


def _kind(now: Both) -> type:
    """What the column's texts are read as: by what it holds now on either side."""
    values: Sequence[Value] = [value for value in (now.app, now.chain) if value is not None]
    if any(isinstance(value, datetime) for value in values):
        return datetime
    if any(isinstance(value, int | Decimal) and not isinstance(value, bool) for value in values):
        return Decimal
    return str


def _plain(told: str | None, kind: type) -> object:
    """The text as a value that is equal to the same amount with other zeros, or the same instant in another zone.

    What cannot be read so is compared as the text that it is.
    """
    try:
        if told is not None and kind is Decimal and (amount := Decimal(told)).is_finite():
            return amount
        if told is not None and kind is datetime and (instant := datetime.fromisoformat(told)).tzinfo is not None:
            return instant
    except (InvalidOperation, ValueError):
        pass
    return told
