"""The life of a loan, as the creditline and the pool tell it. Each action is one transaction, at `now` (unix seconds)."""

from collections.abc import Iterator

from shared import scval
from shared.scval import I128, U32, U64, Symbol
from shared.stepfi.events import Role
from tests.benchmarks.traffic.others import scored
from tests.benchmarks.traffic.world import MONTH, UNIT, Loan, Told, World

Events = Iterator[Told]


def create(world: World, now: int) -> Events:
    loan = _new(world, now)
    world.active.put(loan, world.random)
    yield _to_pool(world, "LQFUND", I128(loan.total - loan.guarantee))
    yield _opened("LOANCRTD", loan)


def request(world: World, now: int) -> Events:
    loan = _new(world, now)
    loan.status = "Pending"
    world.pending.put(loan, world.random)
    yield _opened("LOANRQST", loan)


def approve(world: World, now: int) -> Events:
    loan = world.pending.take(world.random)
    if loan is None:
        yield from request(world, now)
        return
    loan.status = "Active"
    world.active.put(loan, world.random)
    world.touched.append(loan)
    yield Told(Role.CREDITLINE, (Symbol("LOANAPPROVED"), U64(loan.number)), None)


def cancel(world: World, now: int) -> Events:
    loan = world.pending.take(world.random)
    if loan is None:
        yield from request(world, now)
        return
    loan.status = "Cancelled"
    world.touched.append(loan)
    yield _of(loan, "LOANCNCL", I128(loan.guarantee), U64(now))


def repay(world: World, now: int) -> Events:
    """An installment or, once in four times, all; half of them pay interest, and one in ten is late."""
    loan = world.active.take(world.random)
    if loan is None:
        yield from create(world, now)
        return
    if world.random.random() < 0.1:
        yield _late_fee(loan, now)
    paid = loan.remaining if world.random.random() < 0.25 else min(loan.remaining, loan.share)
    interest = paid // 25 if world.random.random() < 0.48 else 0
    yield _to_pool(world, "LQREPAY", (I128(paid - interest), I128(interest)))
    if interest:
        parts = (interest, interest * 85 // 100, interest // 10, interest // 20)
        yield Told(Role.LIQUIDITY_POOL, (Symbol("LQINTDST"),), tuple(map(I128, parts)))
    _pay(world, loan, paid)
    full = loan.remaining == 0
    yield _of(loan, "LOANRPD", I128(paid), I128(loan.remaining), full, U64(now))
    if full and world.random.random() < 0.5:
        yield scored(world, loan.borrower, 2, "repaid")


def pay_installment(world: World, now: int) -> Events:
    loan = world.active.take(world.random)
    if loan is None:
        yield from create(world, now)
        return
    index = min(loan.paid, loan.installments - 1)
    paid = min(loan.share, loan.remaining)
    _pay(world, loan, paid)
    numbers = (U32(index), I128(paid), I128(loan.remaining), U64(now))
    yield Told(Role.CREDITLINE, (Symbol("INSTPAID"), U64(loan.number)), numbers)


def charge_late_fee(world: World, now: int) -> Events:
    loan = world.active.look(world.random)
    if loan is None:
        yield from create(world, now)
        return
    world.touched.append(loan)
    yield _late_fee(loan, now)


def warn(world: World, now: int) -> Events:
    loan = world.active.look(world.random)
    if loan is None:
        yield from create(world, now)
        return
    yield _of(loan, "LOANGRC", I128(loan.remaining), U64(now + 5 * 86_400), U64(now))


def default(world: World, now: int) -> Events:
    loan = world.active.take(world.random)
    if loan is None:
        yield from create(world, now)
        return
    loan.status = "Defaulted"
    world.touched.append(loan)
    guarantee = I128(loan.guarantee)
    yield _to_pool(world, "LQGUART", guarantee)
    yield _of(loan, "LOANDFLT", I128(loan.total), I128(loan.remaining), guarantee, U64(now))
    yield scored(world, loan.borrower, -20, "default")


def schedule(loan: Loan) -> tuple[scval.Map, ...]:
    """The loan's installments, as the contract writes them."""
    return tuple(
        _installment(loan.share, loan.created_at + MONTH * (number + 1), paid_at=loan.created_at * (number < loan.paid))
        for number in range(loan.installments)
    )


def _installment(amount: int, due: int, *, paid_at: int) -> scval.Map:
    return scval.Map(
        (
            (Symbol("amount"), I128(amount)),
            (Symbol("due_date"), U64(due)),
            (Symbol("paid"), paid_at > 0),
            (Symbol("paid_at"), U64(paid_at)),
        )
    )


def _new(world: World, now: int) -> Loan:
    world.loans += 1
    total = world.random.randrange(10 * UNIT, 5000 * UNIT)
    guarantee = total // 5
    loan = Loan(
        number=world.loans,
        borrower=world.borrower(),
        vendor=world.vendor(),
        total=total,
        guarantee=guarantee,
        remaining=total - guarantee,
        installments=world.random.randint(1, 6),
        created_at=now,
    )
    world.touched.append(loan)
    return loan


def _pay(world: World, loan: Loan, amount: int) -> None:
    loan.remaining -= amount
    loan.paid = min(loan.paid + 1, loan.installments)
    world.touched.append(loan)
    if loan.remaining:
        world.active.put(loan, world.random)
    else:
        loan.status = "Paid"


def _opened(name: str, loan: Loan) -> Told:
    terms = (U64(loan.number), I128(loan.total), I128(loan.guarantee), schedule(loan))
    return Told(Role.CREDITLINE, (Symbol(name), loan.borrower, loan.vendor), terms)


def _of(loan: Loan, name: str, *numbers: scval.Value) -> Told:
    return Told(Role.CREDITLINE, (Symbol(name), loan.borrower, U64(loan.number)), numbers)


def _late_fee(loan: Loan, now: int) -> Told:
    fee = loan.share // 20
    loan.remaining += fee
    return _of(loan, "LOANLTFE", I128(fee), I128(loan.remaining), U64(now))


def _to_pool(world: World, name: str, value: scval.Value) -> Told:
    return Told(Role.LIQUIDITY_POOL, (Symbol(name), world.creditline), value)
