"""How often which action happens: the successful calls of `tests/vectors/random-1`, counted."""

from collections.abc import Callable, Iterable
from itertools import accumulate

from tests.benchmarks.traffic import lending, others
from tests.benchmarks.traffic.world import Told, World

Action = Callable[[World, int], Iterable[Told]]

_COUNTED: dict[Action, int] = {
    lending.repay: 445,
    lending.create: 215,
    others.set_score: 155,
    others.deposit: 146,
    lending.pay_installment: 106,
    others.withdraw: 92,
    lending.request: 83,
    lending.charge_late_fee: 58,
    others.set_vendor_status: 53,
    others.vouch: 46,
    others.propose: 35,
    lending.cancel: 29,
    lending.approve: 25,
    lending.default: 16,
    lending.warn: 15,
    others.execute: 13,
    others.register_vendor: 12,
}
_ACTIONS = tuple(_COUNTED)
_CUMULATIVE = tuple(accumulate(_COUNTED.values()))


def act(world: World, now: int) -> list[Told]:
    """The events of the next transaction, one at least; `world.touched` is what it changed."""
    world.touched.clear()
    (action,) = world.random.choices(_ACTIONS, cum_weights=_CUMULATIVE)
    return list(action(world, now))
