"""Who and what there is in the traffic, of bounded size whatever the length: what is forgotten is never heard of again."""

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from random import Random
from typing import Generic, TypeVar

from shared import scval, strkey
from shared.stepfi.events import Role

OPEN_LOANS = 20_000
PEOPLE = 50_000
PROVIDERS = 2_000
VENDORS = 5_000
UNIT = 10**7
"""The smallest units in one of the token."""
MONTH = 30 * 86_400

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Told:
    """One event: which contract tells it, its topics and its value."""

    role: Role
    topics: tuple[scval.Value, ...]
    value: scval.Value


@dataclass(slots=True, kw_only=True)
class Loan:
    number: int
    borrower: scval.Address
    vendor: scval.Address
    total: int
    guarantee: int
    remaining: int
    installments: int
    created_at: int
    paid: int = 0
    status: str = "Active"

    @property
    def share(self) -> int:
        """One installment."""
        return -(-(self.total - self.guarantee) // self.installments)


@dataclass(slots=True)
class Provider:
    address: scval.Address
    shares: int = 0


@dataclass(frozen=True, slots=True)
class Vendor:
    address: scval.Address
    name: scval.String


Thing = Loan | Provider | Vendor
"""What has a ledger entry of its own."""


class Bag(Generic[T]):
    """Things in no order, at most `limit`: one more takes the place of any."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._items: list[T] = []

    def put(self, item: T, random: Random) -> None:
        if len(self._items) < self._limit:
            self._items.append(item)
        else:
            self._items[random.randrange(self._limit)] = item

    def look(self, random: Random) -> T | None:
        """Any of them, which stays."""
        return random.choice(self._items) if self._items else None

    def take(self, random: Random) -> T | None:
        """Any of them, which leaves."""
        if not self._items:
            return None
        at = random.randrange(len(self._items))
        self._items[at], self._items[-1] = self._items[-1], self._items[at]
        return self._items.pop()


@dataclass(slots=True, kw_only=True)
class World:
    """All of it. `touched` is what the last transaction changed, in the state that it left."""

    seed: int
    creditline: scval.Address
    random: Random
    loans: int = 0
    people: int = 0
    providers: int = 0
    vendors: int = 0
    active: Bag[Loan] = field(default_factory=lambda: Bag(OPEN_LOANS))
    pending: Bag[Loan] = field(default_factory=lambda: Bag(OPEN_LOANS // 10))
    deposits: Bag[Provider] = field(default_factory=lambda: Bag(PROVIDERS))
    scores: dict[scval.Address, int] = field(default_factory=dict)
    touched: list[Thing] = field(default_factory=list)

    def borrower(self) -> scval.Address:
        """Somebody known in two of three cases, else somebody new."""
        if self.people < PEOPLE and (self.people == 0 or self.random.random() < 1 / 3):
            self.people += 1
            return account(self.seed, "borrower", self.people)
        return account(self.seed, "borrower", self.random.randint(1, self.people))

    def provider(self) -> Provider:
        """Somebody with a deposit, or now and then somebody new."""
        known = self.deposits.look(self.random)
        if known is not None and self.random.random() < 0.9:
            return known
        self.providers += 1
        new = Provider(account(self.seed, "provider", self.providers))
        self.deposits.put(new, self.random)
        return new

    def vendor(self) -> scval.Address:
        """A registered vendor; the first one where there is none yet."""
        return account(self.seed, "vendor", self.random.randint(1, max(self.vendors, 1)))

    def new_vendor(self) -> Vendor:
        self.vendors = min(self.vendors + 1, VENDORS)
        name = scval.String(f"Vendor {self.vendors}".encode())
        return Vendor(account(self.seed, "vendor", self.vendors), name)


@lru_cache(maxsize=2 * PEOPLE)
def account(seed: int, kind: str, number: int) -> scval.Address:
    """Somebody's address."""
    return scval.Address(strkey.encode_account(_digest(seed, kind, number)))


def contract(seed: int, scope: str, role: Role) -> scval.Address:
    """The contract of a role in a scope."""
    return scval.Address(strkey.encode_contract(_digest(seed, scope, role.value)))


def _digest(*parts: object) -> bytes:
    return hashlib.sha256("/".join(map(str, parts)).encode()).digest()
