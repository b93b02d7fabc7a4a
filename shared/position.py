"""Positions: where on the chain something stands, in the words of Stellar RPC.

A position is the text `<toid>-<index>`, 19 and 10 digits: an event id and a cursor of getEvents are positions. The fixed width
makes the order of the texts the order of the chain, so a position needs no type of its own, neither here nor in the database
(there: `text COLLATE "C"`).

    TOID = ledger << 32 | transaction order (20 bits) << 12 | operation (12 bits)
"""

import re

from shared import errors

_FORM = re.compile(r"([0-9]{19})-([0-9]{10})")  # \d would take the digits of every script
_LAST_OF_LEDGER = (1 << 32) - 1
_LAST_INDEX = (1 << 32) - 1
_LARGEST_TOID = (1 << 63) - 1

START = f"{0:019d}-{0:010d}"
"""Before everything."""


def check(text: object) -> str:
    """The text itself when it is a position; raises FrameInvalid when it is none."""
    match = _FORM.fullmatch(text) if isinstance(text, str) else None
    if match is None or int(match[1]) > _LARGEST_TOID or int(match[2]) > _LAST_INDEX:
        raise errors.FrameInvalid(f"{text!r} is no position: 19 digits, a dash and 10 digits are needed")
    return match[0]


def ledger_of(position: str) -> int:
    """The ledger sequence that the position lies in."""
    return int(position[:19]) >> 32


def end_of(ledger: int) -> str:
    """After every event of the ledger: the cursor that closes a scanned window, and the position of an observation."""
    return f"{ledger << 32 | _LAST_OF_LEDGER:019d}-{_LAST_INDEX:010d}"


def before_observations(ledger: int) -> str:
    """Behind every event of the ledger, and before what was observed at its end."""
    return f"{ledger << 32 | _LAST_OF_LEDGER:019d}-{_LAST_INDEX - 1:010d}"


def ends_ledger(position: str) -> bool:
    """Whether nothing of its ledger can lie behind this position."""
    return position == end_of(ledger_of(position))


def complete_ledger(position: str) -> int:
    """The highest ledger that lies wholly at or before the position."""
    ledger = ledger_of(position)
    return ledger if ends_ledger(position) else ledger - 1
