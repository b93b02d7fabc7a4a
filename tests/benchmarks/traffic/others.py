"""What is no loan: deposits and withdrawals, scores, vouchers, vendors, parameters. Each action is one transaction."""

from collections.abc import Iterator

from shared import scval
from shared.scval import I128, U32, Symbol
from shared.stepfi.events import Role
from tests.benchmarks.traffic.world import UNIT, Told, World, account

Events = Iterator[Told]


def deposit(world: World, _now: int) -> Events:
    provider = world.provider()
    amount = world.random.randrange(UNIT, 1000 * UNIT)
    provider.shares += amount
    world.touched.append(provider)
    yield Told(Role.LIQUIDITY_POOL, (Symbol("LQDEPST"), provider.address), (I128(amount), I128(amount)))


def withdraw(world: World, now: int) -> Events:
    provider = world.provider()
    if provider.shares == 0:
        yield from deposit(world, now)
        return
    shares = world.random.randint(1, provider.shares)
    provider.shares -= shares
    world.touched.append(provider)
    yield Told(Role.LIQUIDITY_POOL, (Symbol("LQWTHDR"), provider.address), (I128(shares), I128(shares)))


def set_score(world: World, _now: int) -> Events:
    yield scored(world, world.borrower(), world.random.randint(-5, 10), "set")


def vouch(world: World, _now: int) -> Events:
    mentor, learner = world.borrower(), world.borrower()
    name, by = world.random.choice((("MENTORVOUCHED", 10), ("VOUCHREVOKED", -10)))
    yield scored(world, learner, by, "vouch")
    yield Told(Role.VOUCHING, (Symbol(name), mentor, learner), U32(10))


def register_vendor(world: World, _now: int) -> Events:
    vendor = world.new_vendor()
    world.touched.append(vendor)
    yield Told(Role.VENDOR_REGISTRY, (Symbol("MERCHTREG"), vendor.address), vendor.name)


def set_vendor_status(world: World, _now: int) -> Events:
    yield Told(Role.VENDOR_REGISTRY, (Symbol("MERCHTSTATUS"), world.vendor()), U32(world.random.choice((1, 1, 1, 2))))


def propose(world: World, _now: int) -> Events:
    yield Told(Role.PARAMETERS, (Symbol("PROPNEW"), account(world.seed, "admin", 1)), U32(0))


def execute(world: World, _now: int) -> Events:
    admin = account(world.seed, "admin", 1)
    numbers = (U32(20), I128(50), U32(10), U32(20), I128(5000), U32(30), U32(0))
    yield Told(Role.PARAMETERS, (Symbol("PARMUPDT"), admin), numbers)
    yield Told(Role.PARAMETERS, (Symbol("PROPEXEC"),), U32(0))


def scored(world: World, user: scval.Address, by: int, reason: str) -> Told:
    """A user's score moved by so much, within 0 to 100."""
    old = world.scores.get(user, 0)
    new = world.scores[user] = min(100, max(0, old + by))
    return Told(Role.REPUTATION, (Symbol("SCORECHGD"), user), (U32(old), U32(new), Symbol(reason)))
