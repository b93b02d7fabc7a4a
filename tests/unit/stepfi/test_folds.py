"""The folds against what the contracts' own getters said, from the events of whole histories."""

import json
from functools import cache
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared import frames
from streams import fold as folding
from streams.digest import Stamped, digest
from streams.facts import Fact, merge
from tests.stepfi_frames import History, expected

NAMES = ("story-small.jsonl", "random-1.jsonl.gz", "random-archive-6.jsonl.gz")
States = dict[str, Any]


@cache
def history(name: str) -> History:
    return History(name)


@cache
def facts_of(name: str, *observed: int) -> tuple[Fact, ...]:
    """All facts of a history: its events, and its entries as observed at these ledgers."""
    one = history(name)
    batch: list[frames.Frame] = [
        one.origin(),
        one.page(one.events(), after=one.origin().through, through="9" * 19 + "-" + "0" * 10),
    ]
    batch += [one.observation(ledger) for ledger in observed]
    return tuple(digest(map(Stamped, batch), one.application).facts)


def fold_in_order(name: str, facts: tuple[Fact, ...]) -> States:
    folds = {fold.prefix: fold for fold in history(name).application.folds}
    states: States = {}
    for fact in merge(facts):
        if fact.prefix in folds:
            states[fact.key] = folds[fact.prefix].step(states.get(fact.key), fact)
    return states


@pytest.mark.parametrize("name", NAMES)
def test_every_event_is_decoded(name: str) -> None:
    assert [fact.problem for fact in facts_of(name) if fact.problem] == []


@pytest.mark.parametrize("name", NAMES)
def test_events_alone_tell_status_schedule_scores_and_shares(name: str) -> None:
    states, truth, contracts = fold_in_order(name, facts_of(name)), expected(name), history(name).header["contracts"]
    for loan in truth["loans"]:
        state = states[f"loan:{contracts['creditline']}:{loan['loan_id']}"]
        assert state.status == loan["status"]
        assert (state.borrower, state.vendor) == (loan["borrower"], loan["vendor"])
        assert (state.total_amount, state.guarantee_amount) == (
            int(loan["total_amount"]),
            int(loan["guarantee_amount"]),
        )
        assert state.remaining_balance in (None, int(loan["remaining_balance"]))
        assert json.loads(state.schedule) == loan["repayment_schedule"]
        assert state.interest_amount is None
    for user, of_user in truth["users"].items():
        state = states.get(f"score:{contracts['reputation']}:{user}")
        assert (0 if state is None else state.score) == of_user["score"]
    for provider, shares in truth["lps"].items():
        state = states.get(f"provider:{contracts['pool']}:{provider}")
        assert (0 if state is None else state.assumed_shares) == int(shares)
        assert state is None or state.shares is None
    assert states[f"pool:{contracts['pool']}"].total_liquidity is None


@pytest.mark.parametrize("name", NAMES)
def test_with_observations_every_field_is_known(name: str) -> None:
    one = history(name)
    middle = (one.start + one.last) // 2
    states, truth, contracts = fold_in_order(name, facts_of(name, middle)), expected(name), one.header["contracts"]
    pool = states[f"pool:{contracts['pool']}"]
    assert (pool.total_shares, pool.total_liquidity, pool.locked_liquidity) == tuple(
        int(truth["pool"][column]) for column in ("total_shares", "total_liquidity", "locked_liquidity")
    )
    states = fold_in_order(name, facts_of(name, one.last))
    text = ("status", "borrower", "vendor", "loan_type", "interest_rate_bps")
    for loan in truth["loans"]:
        state = states[f"loan:{contracts['creditline']}:{loan['loan_id']}"]
        for field, value in loan.items():
            if field in text:
                assert getattr(state, field) == value
            elif field != "repayment_schedule":
                assert getattr(state, field) == int(value), field
        assert (state.completed_at is not None) == (loan["status"] == "Paid")
    for provider, shares in truth["lps"].items():
        state = states[f"provider:{contracts['pool']}:{provider}"]
        assert state.shares == int(shares)
        assert state.cost is not None


def fold_as_it_comes(name: str, batches: list[list[Fact]]) -> States:
    """As `apply` does it: onto the row where newer, else the key anew from all that is stored."""
    folds = {fold.prefix: fold for fold in history(name).application.folds}
    states: States = {}
    stored: dict[str, dict[str, Fact]] = {}
    for batch in batches:
        by_key: dict[str, list[Fact]] = {}
        for fact in merge(batch):
            if fact.prefix in folds and stored.get(fact.key, {}).get(fact.position) is None:
                by_key.setdefault(fact.key, []).append(fact)
        for key, new in by_key.items():
            stored.setdefault(key, {}).update({fact.position: fact for fact in new})
            fold = folds[new[0].prefix]
            if folding.is_late(states.get(key), new[0]):
                ordered = [stored[key][at] for at in sorted(stored[key])]
                states[key] = fold.run(None, ordered)
            else:
                states[key] = fold.run(states.get(key), new)
    return states


@settings(max_examples=25)
@given(seed=st.integers(0, 1 << 32), batches=st.integers(1, 60), repeated=st.floats(0, 0.5))
def test_order_duplication_and_batches_are_of_no_account(seed: int, batches: int, repeated: float) -> None:
    name = "story-small.jsonl"
    one = history(name)
    facts = list(facts_of(name, one.start + 30, (one.start + one.last) // 2, one.last))
    chance = Random(seed)  # noqa: S311 - shuffles facts, guards nothing
    facts += [fact for fact in facts if chance.random() < repeated]
    chance.shuffle(facts)
    cuts = sorted(chance.randrange(len(facts)) for _ in range(batches - 1))
    pieces = [facts[start:end] for start, end in zip([0, *cuts], [*cuts, len(facts)], strict=True)]
    assert fold_as_it_comes(name, pieces) == fold_in_order(name, tuple(facts))
