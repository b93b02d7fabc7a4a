"""The newest ledger that counts as seen, and which answers cannot be of its chain. Pure; times are passed in, in seconds.

Each ledger of Stellar closes at least one second after the one before it. So two pairs of ledger and close time tell whether
one chain can hold both, without a clock and without a further request. An answer of another network, or one whose
`latestLedger` alone is wrong, hardly ever passes this.
"""

from typing import NamedTuple

JITTER_LEDGERS = 2  # nodes hear of a ledger at slightly different moments; this much is no reason to leave one
FORGET_SECONDS = 60.0
"""A ledger that nobody reached for so long no longer counts: an answer was wrong, or the nodes lost their newest state."""
SLACK = 10
"""Ledgers, or seconds, by which an answer may be inexact: some nodes read the number and the time one after the other."""


class Close(NamedTuple):
    """A ledger and when it closed (unix seconds)."""

    ledger: int
    closed_at: int


def contradict(first: Close, second: Close) -> bool:
    """Whether no chain can hold both."""
    low, high = sorted((first, second))
    elapsed = high.closed_at - low.closed_at
    if high.ledger == low.ledger:
        return elapsed > SLACK
    return high.ledger - low.ledger > elapsed + SLACK


class Mark:
    """The newest ledger that was told. It counts until nobody has reached it for FORGET_SECONDS."""

    def __init__(self) -> None:
        self.ledger = 0
        self._missed_since: float | None = None

    def told(self, ledger: int, now: float) -> bool:
        """Take the latest ledger of an answer; return whether the mark was dropped to it."""
        if ledger >= self.ledger - JITTER_LEDGERS:
            self.ledger = max(self.ledger, ledger)
            self._missed_since = None
            return False
        if not self.missed(now):
            return False
        self.drop()
        self.ledger = ledger
        return True

    def missed(self, now: float) -> bool:
        """Note an answer that does not reach the mark; return whether none has for so long that it no longer counts."""
        if self._missed_since is None:
            self._missed_since = now
        return now - self._missed_since >= FORGET_SECONDS

    def drop(self) -> None:
        self.ledger = 0
        self._missed_since = None


class Tip:
    """The newest close that was told. It is confirmed once a second answer fits it; until then the next one may replace it."""

    def __init__(self) -> None:
        self.close: Close | None = None
        self.confirmed = False

    def take(self, oldest: Close, latest: Close) -> str | None:
        """Take the range of an answer; return why the answer cannot be believed, or None."""
        if contradict(oldest, latest):
            return f"{_words(oldest)} and {_words(latest)}: no chain has both"
        if self.close is None:
            self.close = latest
            return None
        known = self.close
        for told in (oldest, latest):
            if contradict(told, known):
                if not self.confirmed:
                    self.close = latest  # of two answers that disagree neither counts; the next one decides
                return f"{_words(told)}, and {_words(known)} was told before: no chain has both"
        self.confirmed = True
        self.close = max(known, latest)
        return None

    def forget(self) -> None:
        """Forget what was told: no node says it any more."""
        self.close = None
        self.confirmed = False


def _words(close: Close) -> str:
    return f"ledger {close.ledger} closed at {close.closed_at}"
