"""The folds of the contracts themselves: their instances, and the creditline's counter of loans."""

from dataclasses import dataclass

from shared import chain_tables, frames
from shared.stepfi import tables, values
from streams.facts import Fact
from streams.fold import Fold, replace


@dataclass(frozen=True, kw_only=True)
class ContractState:
    """A row of `chain.contracts`; None is unknown."""

    key: str
    position: str
    observed_at: str | None = None
    asked_at: str | None = None
    contract: str
    wasm_hash: str | None = None
    upgraded_at: str | None = None


def _start_contract(fact: Fact) -> ContractState:
    return ContractState(key=fact.key, position=fact.position, contract=fact.key.split(":")[1])


def _scope_began(state: ContractState, fact: Fact, _: frames.Origin) -> ContractState:
    return replace(state, asked_at=fact.position)


def _upgraded(state: ContractState, fact: Fact, _: values.Upgraded) -> ContractState:
    return replace(state, asked_at=fact.position, upgraded_at=fact.position)


def _unread(state: ContractState, fact: Fact, _: values.Unread) -> ContractState:
    """Whatever the event did: what the instance tells is read again."""
    return replace(state, asked_at=fact.position)


def _instance_observed(state: ContractState, fact: Fact, entry: values.InstanceEntry) -> ContractState:
    return replace(state, observed_at=fact.position, asked_at=None, wasm_hash=entry.wasm_hash)


@dataclass(frozen=True, kw_only=True)
class CreditlineState:
    """A row of `chain.creditlines`."""

    key: str
    position: str
    observed_at: str | None = None
    asked_at: str | None = None
    contract: str
    loan_count: int | None = None


def _start_creditline(fact: Fact) -> CreditlineState:
    return CreditlineState(key=fact.key, position=fact.position, contract=fact.key.split(":")[1])


def _counter_observed(state: CreditlineState, fact: Fact, entry: values.CreditlineEntry) -> CreditlineState:
    return replace(state, observed_at=fact.position, loan_count=entry.loan_count)


CONTRACT = Fold(
    prefix="contract",
    table=chain_tables.contracts,
    state=ContractState,
    start=_start_contract,
    steps={
        frames.Origin: _scope_began,
        values.Upgraded: _upgraded,
        values.Unread: _unread,
        values.InstanceEntry: _instance_observed,
    },
)

CREDITLINE = Fold(
    prefix="creditline",
    table=tables.creditlines,
    state=CreditlineState,
    start=_start_creditline,
    steps={values.CreditlineEntry: _counter_observed},
    resets=True,
)
