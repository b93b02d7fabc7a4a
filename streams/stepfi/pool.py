"""The folds of the liquidity pool: its totals, and each provider's shares with their cost.

Totals are sums, so they are known from the first observation on, and of a later version's code only as far as all versions
add up alike: what is unknown is asked for. Of a provider, the events before the first observation are
added up as if nothing had come before them; the observation proves that, and with it the cost, or refutes it.
"""

from dataclasses import dataclass

from shared.stepfi import tables, values
from streams.facts import Fact
from streams.fold import Fold, replace


@dataclass(frozen=True, kw_only=True)
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
    later_since: str | None = None


def _start_pool(fact: Fact) -> PoolState:
    return PoolState(key=fact.key, position=fact.position, contract=fact.key.split(":")[1])


def _pool_observed(state: PoolState, fact: Fact, entry: values.PoolEntry) -> PoolState:
    """All of the row follows from the entry, nothing from what came before it: the fold may begin here."""
    return replace(
        state,
        observed_at=fact.position,
        asked_at=None,
        total_shares=entry.total_shares,
        total_liquidity=entry.total_liquidity,
        locked_liquidity=entry.locked_liquidity,
        later_since=fact.position if entry.later else None,
    )


def _plus(known: int | None, moved: int) -> int | None:
    """Without a base a sum stays unknown."""
    return None if known is None else known + moved


def _pool_deposit(state: PoolState, fact: Fact, event: values.Deposited) -> PoolState:
    """Into an empty pool later versions put 1,000 shares of nobody as well, and no event tells which version it is."""
    liquidity = _plus(state.total_liquidity, event.amount)
    if state.total_shares == 0:
        return replace(state, total_liquidity=liquidity, total_shares=None, asked_at=fact.position)
    return replace(state, total_liquidity=liquidity, total_shares=_plus(state.total_shares, event.shares))


def _pool_withdrawal(state: PoolState, _: Fact, event: values.Withdrawn) -> PoolState:
    return replace(
        state,
        total_liquidity=_plus(state.total_liquidity, -event.amount),
        total_shares=_plus(state.total_shares, -event.shares),
    )


def _funded(state: PoolState, fact: Fact, event: values.LoanFunded) -> PoolState:
    state = replace(state, locked_liquidity=_plus(state.locked_liquidity, event.amount))
    return _later(state, fact) if event.capped else state


def _repaid(state: PoolState, fact: Fact, event: values.PoolRepaid) -> PoolState:
    """The first version lets what is locked fall below zero, later ones end at zero.

    So below zero it is unknown where there is a sign of a later version. Without one the first version's rule holds; the
    entry is asked for when zero is passed, for a sign may lie before the stream.
    """
    held = state.locked_liquidity
    locked = _plus(held, -event.principal)
    if held is None or locked is None or locked >= 0:
        return replace(state, locked_liquidity=locked)
    if state.later_since is not None:
        return replace(state, locked_liquidity=None, asked_at=fact.position)
    return replace(state, locked_liquidity=locked, asked_at=fact.position if held >= 0 else state.asked_at)


def _interest(state: PoolState, _: Fact, event: values.InterestDistributed) -> PoolState:
    return replace(state, total_liquidity=_plus(state.total_liquidity, event.to_providers))


def _guarantee(state: PoolState, _: Fact, event: values.GuaranteeReceived) -> PoolState:
    """min(amount, locked) moves, signed: with locked below zero the liquidity falls. Both depend on what is locked."""
    locked = state.locked_liquidity
    if locked is None:
        return replace(state, total_liquidity=None)
    moved = min(event.amount, locked)
    return replace(state, total_liquidity=_plus(state.total_liquidity, moved), locked_liquidity=locked - moved)


def _loss(state: PoolState, fact: Fact, event: values.LossTaken) -> PoolState:
    """Each total falls by min(shortfall, itself)."""
    liquidity, locked = (
        None if total is None else total - min(event.shortfall, total)
        for total in (state.total_liquidity, state.locked_liquidity)
    )
    return _later(replace(state, total_liquidity=liquidity, locked_liquidity=locked), fact)


def _unread_of_pool(state: PoolState, fact: Fact, _: values.Unread) -> PoolState:
    """Any of the totals may have moved."""
    unknown = replace(state, total_shares=None, total_liquidity=None, locked_liquidity=None, asked_at=fact.position)
    return _later(unknown, fact)


def _sign_of_later(state: PoolState, fact: Fact, _: values.Other | values.Upgraded) -> PoolState:
    """The first version has no events but those of its totals: a pool that pauses, caps or upgrades is a later one."""
    return _later(state, fact)


def _later(state: PoolState, fact: Fact) -> PoolState:
    return replace(state, later_since=state.later_since or fact.position)


@dataclass(frozen=True, kw_only=True)
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


def _unread_of_provider(state: ProviderState, fact: Fact, _: values.Unread) -> ProviderState:
    """The entry will tell the shares; their cost is not known again before the position is left."""
    return replace(state, shares=None, cost=None, assumed_shares=None, assumed_cost=None, asked_at=fact.position)


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
        values.Other: _sign_of_later,
        values.Upgraded: _sign_of_later,
        values.Unread: _unread_of_pool,
    },
    resets=True,
)

PROVIDER = Fold(
    prefix="provider",
    table=tables.liquidity_positions,
    state=ProviderState,
    start=_start_provider,
    steps={
        values.SharesEntry: _observed,
        values.Deposited: _deposited,
        values.Withdrawn: _withdrawn,
        values.Unread: _unread_of_provider,
    },
)
