"""The folds of the liquidity pool: its totals, and each provider's shares with their cost.

Totals are sums, so they are known from the first observation on. Of a provider, the events before the first observation are
added up as if nothing had come before them; the observation proves that, and with it the cost, or refutes it.
"""

from dataclasses import dataclass, replace

from shared.stepfi import tables, values
from streams.facts import Fact
from streams.fold import Fold


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolState:
    """A row of `chain.pools`; None is unknown."""

    key: str
    position: str
    observed_at: str | None = None
    asked_at: str | None = None
    contract: str
    total_shares: int | None = None
    total_liquidity: int | None = None
    locked_liquidity: int | None = None


def _start_pool(fact: Fact) -> PoolState:
    return PoolState(key=fact.key, position=fact.position, contract=fact.key.split(":")[1])


def _pool_observed(state: PoolState, fact: Fact, entry: values.PoolEntry) -> PoolState:
    return replace(
        state,
        observed_at=fact.position,
        asked_at=None,
        total_shares=entry.total_shares,
        total_liquidity=entry.total_liquidity,
        locked_liquidity=entry.locked_liquidity,
    )


def _add(state: PoolState, *, shares: int = 0, liquidity: int = 0, locked: int = 0) -> PoolState:
    """The totals moved by so much; without a base they stay unknown."""
    if state.total_shares is None or state.total_liquidity is None or state.locked_liquidity is None:
        return state
    return replace(
        state,
        total_shares=state.total_shares + shares,
        total_liquidity=state.total_liquidity + liquidity,
        locked_liquidity=state.locked_liquidity + locked,
    )


def _pool_deposit(state: PoolState, _: Fact, event: values.Deposited) -> PoolState:
    return _add(state, shares=event.shares, liquidity=event.amount)


def _pool_withdrawal(state: PoolState, _: Fact, event: values.Withdrawn) -> PoolState:
    return _add(state, shares=-event.shares, liquidity=-event.amount)


def _funded(state: PoolState, _: Fact, event: values.LoanFunded) -> PoolState:
    return _add(state, locked=event.amount)


def _repaid(state: PoolState, _: Fact, event: values.PoolRepaid) -> PoolState:
    return _add(state, locked=-event.principal)


def _interest(state: PoolState, _: Fact, event: values.InterestDistributed) -> PoolState:
    return _add(state, liquidity=event.to_providers)


def _guarantee(state: PoolState, _: Fact, event: values.GuaranteeReceived) -> PoolState:
    """min(amount, locked), signed: with locked below zero the liquidity falls."""
    moved = min(event.amount, state.locked_liquidity or 0)
    return _add(state, liquidity=moved, locked=-moved)


def _loss(state: PoolState, _: Fact, event: values.LossTaken) -> PoolState:
    liquidity = min(event.shortfall, state.total_liquidity or 0)
    return _add(state, liquidity=-liquidity, locked=-min(event.shortfall, state.locked_liquidity or 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderState:
    """A row of `chain.liquidity_positions`; None is unknown, or (of what is assumed) refuted."""

    key: str
    position: str
    observed_at: str | None = None
    asked_at: str | None = None
    contract: str
    provider: str
    created_at: int | None = None
    shares: int | None = None
    cost: int | None = None
    cost_since: str | None = None
    assumed_shares: int | None = None
    assumed_cost: int | None = None


def _start_provider(fact: Fact) -> ProviderState:
    _, contract, provider = fact.key.split(":")
    return ProviderState(
        key=fact.key,
        position=fact.position,
        contract=contract,
        provider=provider,
        created_at=fact.at,
        cost_since=fact.position,
        assumed_shares=0,
        assumed_cost=0,
        asked_at=fact.position,
    )


def _deposited(state: ProviderState, _: Fact, event: values.Deposited) -> ProviderState:
    return _moved_shares(state, shares=event.shares, cost=event.amount)


def _withdrawn(state: ProviderState, _: Fact, event: values.Withdrawn) -> ProviderState:
    return _moved_shares(state, shares=-event.shares, cost=0)


def _observed(state: ProviderState, fact: Fact, entry: values.SharesEntry) -> ProviderState:
    """Where the assumption holds its cost is known; without shares there is no cost, whatever came before."""
    shares = entry.shares
    proven = state.assumed_shares == shares
    cost = 0 if shares == 0 else state.assumed_cost if proven else state.cost if state.shares == shares else None
    return replace(
        state,
        observed_at=fact.position,
        asked_at=None,
        shares=shares,
        cost=cost,
        cost_since=fact.position if shares == 0 else state.cost_since,
        assumed_shares=shares if cost is not None else None,
        assumed_cost=cost,
    )


def _moved_shares(state: ProviderState, *, shares: int, cost: int) -> ProviderState:
    known = None if state.shares is None else state.shares + shares
    new_cost = _cost_after(state.cost, held=state.shares, shares=shares, cost=cost)
    assumed = None if state.assumed_shares is None else state.assumed_shares + shares
    assumed_cost = _cost_after(state.assumed_cost, held=state.assumed_shares, shares=shares, cost=cost)
    if assumed is not None and assumed < 0:
        assumed, assumed_cost = None, None  # more was withdrawn than the known events deposited
    return replace(state, shares=known, cost=new_cost, assumed_shares=assumed, assumed_cost=assumed_cost)


def _cost_after(before: int | None, *, held: int | None, shares: int, cost: int) -> int | None:
    """Average cost: a withdrawal takes floor(cost x shares burned / shares held) off. No shares left: no cost."""
    if held is None:
        return None
    if held + shares == 0:
        return 0
    if before is None:
        return None
    if shares >= 0:
        return before + cost
    return before - before * -shares // held if held > 0 else None


POOL = Fold(
    prefix="pool",
    table=tables.pools,
    state=PoolState,
    start=_start_pool,
    steps={
        values.PoolEntry: _pool_observed,
        values.Deposited: _pool_deposit,
        values.Withdrawn: _pool_withdrawal,
        values.LoanFunded: _funded,
        values.PoolRepaid: _repaid,
        values.InterestDistributed: _interest,
        values.GuaranteeReceived: _guarantee,
        values.LossTaken: _loss,
    },
    resets=True,
)

PROVIDER = Fold(
    prefix="provider",
    table=tables.liquidity_positions,
    state=ProviderState,
    start=_start_provider,
    steps={values.SharesEntry: _observed, values.Deposited: _deposited, values.Withdrawn: _withdrawn},
)
