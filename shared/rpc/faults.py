"""What can go wrong with one request to one node, as a value: the retry rules, the trust in nodes and the metrics read it."""

from dataclasses import dataclass
from enum import StrEnum


class Fault(StrEnum):
    """The values are the `outcome` labels of the request counter, beside `ok` and `cancelled`."""

    UNREACHABLE = "unreachable"  # no connection, or it broke
    TIMEOUT = "timeout"  # our own deadline for one request
    RATE_LIMITED = "rate_limited"  # HTTP 429, or a quota told in other ways
    BUSY = "busy"  # HTTP 503 and statuses that pass like it, or the method's waiting queue is full
    SERVER_ERROR = "server_error"  # other HTTP 5xx
    UNTRUSTED = "untrusted"  # its certificate is not trusted; nothing was sent
    DENIED = "denied"  # other HTTP 3xx and 4xx, or a check that is refused: mostly a wrong path or key
    TOO_LARGE = "too_large"  # the body passed our bound
    MALFORMED = "malformed"  # not JSON, not JSON-RPC, or a field that is not what the method promises
    NODE_ERROR = "node_error"  # -32603 and codes that nobody documents
    TIME_LIMIT = "time_limit"  # -32001: the node's own limit for the method
    PANIC = "panic"  # -32003
    DATABASE = "database"  # -32600 of getEvents without a range: the node could not read its own store
    REFUSED = (
        "refused"  # this node does not take the request: a method, parameter or limit of its own, or a mistake of ours
    )
    PAGE_LIMIT = "page_limit"  # the node takes smaller pages, and says which
    OUT_OF_RANGE = "out_of_range"  # the node does not hold the ledger at which the request begins
    STALE = "stale"  # the answer is of an older ledger than one already seen
    IMPLAUSIBLE = "implausible"  # the answer cannot be of the chain that was seen before, or contradicts itself
    WRONG_NETWORK = "wrong_network"  # another network, or a version below the floor
    BUDGET = "budget"  # our own request budget left no room; nothing was sent


@dataclass(frozen=True, slots=True)
class LedgerRange:
    """The ledgers that a node says it holds, both ends inclusive."""

    oldest: int
    latest: int

    def __contains__(self, ledger: int) -> bool:
        return self.oldest <= ledger <= self.latest


class Failed(Exception):
    """One attempt failed; never leaves this package. `words` are for people and hold no secret; `retry_after` is in seconds.

    `held` is the range that a range error tells, `page_limit` the largest page that a refusal tells.
    """

    def __init__(
        self,
        fault: Fault,
        words: str,
        *,
        retry_after: float | None = None,
        held: LedgerRange | None = None,
        page_limit: int | None = None,
    ) -> None:
        self.fault = fault
        self.words = words
        self.retry_after = retry_after
        self.held = held
        self.page_limit = page_limit
        super().__init__(words)

    def restated(self, fault: Fault, words: str) -> "Failed":
        """Return the same failure as another fault, in other words."""
        return Failed(fault, words, retry_after=self.retry_after, held=self.held, page_limit=self.page_limit)


class Malformed(ValueError):
    """A field of an answer is not what the method promises. `field` is its path as far as it is known."""

    def __init__(self, field: str, problem: str) -> None:
        self.field = field
        self.problem = problem
        super().__init__(f"{field}: {problem}")

    def inside(self, outer: str) -> "Malformed":
        """The same problem, seen from the object that holds the field's object."""
        return Malformed(f"{outer}.{self.field}" if self.field else outer, self.problem)
