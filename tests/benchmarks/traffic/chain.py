"""The traffic as a chain has it: transactions in ledgers, events with their ids, entries as they were left."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from random import Random

from shared import frames, scval
from shared.stepfi.events import Role
from shared.stepfi.settings import Stepfi
from tests.benchmarks.traffic import entries, mix
from tests.benchmarks.traffic.world import Thing, Told, World, contract

NETWORK = "Chaintrue Benchmark Network"
FIRST_LEDGER = 3_400_000
FIRST_CLOSE = 1_783_200_000
SECONDS_PER_LEDGER = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """`touched` is shared with the world that moves on: its entries are written at once or not at all."""

    order: int
    hash: str
    events: tuple[frames.Event, ...]
    touched: tuple[Thing, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    number: int
    closed_at: int
    transactions: tuple[Transaction, ...]


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """One scope's traffic: the same seed and scope give the same ledgers each time they are asked for."""

    scope: str = "stepfi"
    seed: int = 1
    events_per_ledger: int = 100

    @cached_property
    def contracts(self) -> Mapping[Role, scval.Address]:
        return {role: contract(self.seed, self.scope, role) for role in Role}

    @property
    def settings(self) -> Stepfi:
        """StepFi's section of the settings for this scope."""
        return Stepfi(**{role.value: str(address) for role, address in self.contracts.items()})

    def ledgers(self) -> Iterator[Ledger]:
        """Ledgers without end, each with at least `events_per_ledger` events and few more."""
        random = Random(f"{self.seed}/{self.scope}")  # noqa: S311 - traffic has to be repeatable, not secret
        world = World(seed=self.seed, creditline=self.contracts[Role.CREDITLINE], random=random)
        number = FIRST_LEDGER
        while True:
            yield self._ledger(world, number)
            number += 1

    def entry(self, thing: Thing) -> entries.Written:
        """The entry of what was touched, as it stands now: key and XDR."""
        return entries.write(thing, self.contracts)

    def instances(self) -> list[entries.Written]:
        """The instances of all contracts, as they began."""
        return [entries.instance(role, address) for role, address in self.contracts.items()]

    def _ledger(self, world: World, number: int) -> Ledger:
        closed_at = FIRST_CLOSE + (number - FIRST_LEDGER) * SECONDS_PER_LEDGER
        transactions: list[Transaction] = []
        events = 0
        while events < self.events_per_ledger:
            told = mix.act(world, closed_at)
            transactions.append(self._transaction(world, told, number, closed_at, order=len(transactions) + 1))
            events += len(told)
        return Ledger(number=number, closed_at=closed_at, transactions=tuple(transactions))

    def _transaction(self, world: World, told: list[Told], ledger: int, closed_at: int, *, order: int) -> Transaction:
        digest = hashlib.sha256(f"{self.seed}/{self.scope}/{ledger}/{order}".encode()).hexdigest()
        toid = f"{ledger << 32 | order << 12:019d}"
        events = tuple(
            frames.Event(
                id=f"{toid}-{index:010d}",
                type="contract",
                contract=str(self.contracts[one.role]),
                tx_hash=digest,
                closed_at=_written(closed_at),
                topics=tuple(map(_topic, one.topics)),
                value=scval.write_base64(one.value),
            )
            for index, one in enumerate(told)
        )
        return Transaction(order=order, hash=digest, events=events, touched=tuple(world.touched))


@lru_cache(maxsize=8)
def _written(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _topic(value: scval.Value) -> str:
    """Names and addresses come again and again, loans do not."""
    return _repeated(value) if isinstance(value, str) else scval.write_base64(value)


@lru_cache(maxsize=65_536)
def _repeated(value: scval.Symbol | scval.Address) -> str:
    return scval.write_base64(value)
