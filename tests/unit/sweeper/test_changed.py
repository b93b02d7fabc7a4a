"""How far before its mark a sweep of what changed begins."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import position
from sweeper import changed


@pytest.mark.parametrize("grace", [0, 1, 3600])
def test_so_many_seconds_are_at_most_so_many_ledgers(grace: int) -> None:
    at = changed.before(position.end_of(10_000), grace_seconds=grace)
    assert at == position.end_of(10_000 - grace - changed.MARGIN_LEDGERS)


@given(ledger=st.integers(0, 10**6), grace=st.integers(0, 10**6))
def test_never_behind_the_mark_nor_before_the_start(ledger: int, grace: int) -> None:
    at = changed.before(position.end_of(ledger), grace_seconds=grace)
    assert position.START <= at < position.end_of(ledger)
    assert position.check(at) == at
