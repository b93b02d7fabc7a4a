"""Who and when: the numbers that the SQL, the drift and the node have in common."""

from shared import position
from tests.benchmarks.traffic import chain
from tests.benchmarks.traffic.world import MONTH, account

__all__ = ["MONTH", "addresses", "last_ledger"]

PEOPLE = 50_000
VENDORS = 500
REJECTED_EVERY = 200
"""One row in so many has nothing on chain."""
FIRST_LEDGER = chain.FIRST_LEDGER
FIRST_CLOSE = 1_600_000_000
SECONDS_BETWEEN = 10
"""Between one loan and the next."""
SECONDS_PER_LEDGER = chain.SECONDS_PER_LEDGER


def addresses(kind: str, count: int) -> list[tuple[int, str]]:
    """Numbered accounts from 0."""
    return [(number, str(account(1, kind, number))) for number in range(count)]


def last_ledger(loans: int) -> int:
    """The node's newest ledger, and the watermark: two months after the last loan, so that all of them are old."""
    return FIRST_LEDGER + (loans * SECONDS_BETWEEN + 2 * MONTH) // SECONDS_PER_LEDGER


def close_of(ledger: int) -> int:
    """When the ledger closed (unix seconds)."""
    return FIRST_CLOSE + (ledger - FIRST_LEDGER) * SECONDS_PER_LEDGER


def end_of(loans: int) -> str:
    """The position up to which all is covered."""
    return position.end_of(last_ledger(loans))
