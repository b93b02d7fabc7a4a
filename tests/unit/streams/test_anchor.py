"""When a node's range cannot be of the chain that was read."""

import pytest

from shared.rpc.answers import Health
from streams import anchor

ORIGIN, TIP = 100, (500, 5_000)


def held(oldest: int, oldest_closed: int | None, latest: int, latest_closed: int | None) -> Health:
    return Health(
        oldest_ledger=oldest,
        oldest_close_time=oldest_closed,
        latest_ledger=latest,
        latest_close_time=latest_closed,
        node="node",
    )


@pytest.mark.parametrize(
    "health",
    [
        held(100, 1_000, 600, 6_000),  # ahead of us
        held(100, 1_000, 500, 5_000),  # at the same ledger
        held(100, 1_000, 450, 4_500),  # a backend behind us
        held(20, 200, 90, 900),  # a backend so far behind us that it has not the ledger that we began with
        held(700, 7_000, 900, 9_000),  # we were away for longer than it remembers
        held(500, 5_000, 900, 9_000),  # it holds our ledger as its oldest
        held(100, None, 450, None),  # an older node does not tell times
    ],
)
def test_ranges_of_the_same_chain(health: Health):
    assert anchor.contradiction(health, origin=ORIGIN, tip=TIP) is None


@pytest.mark.parametrize(
    "health",
    [
        held(1, 9_000, 50, 9_500),  # numbers began anew, and are below where we began
        held(1, None, 50, None),
        held(1, 9_000, 450, 9_900),  # below our newest, and closed after it
        held(1, 9_000, 800, 9_900),  # beyond it, and its oldest closed after our newest
    ],
)
def test_ranges_of_a_chain_that_began_anew(health: Health):
    words = anchor.contradiction(health, origin=ORIGIN, tip=TIP)
    assert words is not None
    assert "node" in words


def test_without_a_known_close_time_only_the_numbers_speak():
    assert anchor.contradiction(held(1, 9_000, 450, 9_900), origin=ORIGIN, tip=None) is None
    assert anchor.contradiction(held(1, 9_000, 50, 9_900), origin=ORIGIN, tip=None) is not None
