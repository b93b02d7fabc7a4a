"""How nodes behave on a bad day: which faults each of them has, and when, drawn from a seed."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from deploy.localnet import faults
from deploy.localnet.faults import Fault

TIMEOUT_SECONDS = 2.0
"""Of a request, in the settings of the stream: a node that is silent for longer has not answered."""

RPC_ERRORS = (
    (-32603, "[-32603] could not query captive core"),
    (-32603, "[-32603] latency (35s) since last known ledger closed is too high (>30s)"),
    (-32001, "[-32001] request exceeded processing limit threshold"),
    (-32003, "panic in the handler"),
    (-32098, "rpc queue for getEvents surpassed queue limit of 1000 requests"),
)
DATABASE_ERROR = (-32600, "interrupted\ndb read failed for requested parameter")
"""This one getEvents alone gives."""
MEMBERS = ("cursor", "events", "entries", "latestLedger", "oldestLedger", "status", "passphrase", "version")

FORGETTING = "trimmed while read"
KINDS: Mapping[str, Callable[[Random, str], Fault]] = {
    "too many requests": lambda chance, _: faults.too_many_requests(chance.randint(0, 1)),
    "unavailable": lambda *_: faults.unavailable(),
    "slow": lambda chance, _: faults.slow(chance.uniform(0.05, 0.5)),
    "silent": lambda *_: faults.slow(TIMEOUT_SECONDS + 1),
    "cut": lambda chance, _: faults.cut(chance.randint(0, 400)),
    "no JSON": lambda *_: faults.malformed(),
    "half an answer": lambda chance, _: faults.lacking(chance.choice(MEMBERS)),
    "an error": lambda chance, method: faults.rpc_error(*chance.choice(errors_of(method))),
    "a late backend": lambda chance, _: faults.lagging(chance.choice([1, 3, 100, 5_000])),
    FORGETTING: lambda chance, _: faults.trimming(chance.randint(1, 60)),
}


def errors_of(method: str) -> Sequence[tuple[int, str]]:
    return (*RPC_ERRORS, DATABASE_ERROR) if method == "getEvents" else RPC_ERRORS


@dataclass
class Temper:
    """Asked about each request to one node: so many of a hundred have one of these faults, while it is `bad`. A `lenient` one
    has empty pages for what it does not hold, where others have an error."""

    chance: Random
    kinds: tuple[str, ...]
    share: int
    lenient: bool = False
    bad: bool = False
    down: bool = False
    had: Counter[str] = field(default_factory=Counter)

    @classmethod
    def draw(cls, chance: Random, *, keeps_all: bool = False) -> "Temper":
        """Of a node that forgets old ledgers, or of one that `keeps_all` of them, whatever else is wrong with it."""
        kinds = chance.sample(sorted(KINDS), chance.randint(3, len(KINDS)))
        if keeps_all:
            kinds = [kind for kind in kinds if kind != FORGETTING]
        own = Random(chance.random())  # noqa: S311 - draws what goes wrong, guards nothing
        return cls(own, tuple(kinds), chance.choice([5, 15, 30]), lenient=own.random() < 0.5)

    def __str__(self) -> str:
        return f"{self.share} of 100 answers: {', '.join(self.kinds)}{'; lenient' * self.lenient}"

    def __call__(self, method: str) -> Fault | None:
        if self.down:
            self.had["down"] += 1
            return faults.unavailable()
        if not self.bad or self.chance.randrange(100) >= self.share:
            return faults.lenient() if self.lenient else None
        kind = self.chance.choice(self.kinds)
        self.had[kind] += 1
        return KINDS[kind](self.chance, method)
