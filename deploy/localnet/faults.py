"""Faults that a test can order, request by request: a node as it is on a bad day."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with one request; each field is independent of the others.

    `delay`: seconds before the answer. `lag`: ledgers behind the tip, as another backend is. `error`: a JSON-RPC error (code,
    message) instead of the result. `status`, `retry_after`: an HTTP status with an empty body, and its Retry-After in seconds,
    instead of any answer. `keep`: only this many bytes of the body, then the connection is cut. `garbage`: a body that is no
    JSON. `lacks`: a member of the result that is missing. `network`: the passphrase that getNetwork tells. `lenient`: a page of
    events that begins outside of what the node holds is empty, not an error, as some providers have it. `trim`: so many of the
    oldest ledgers go between the look at the range and the look at the rows, for good. `told`: what members of the result have
    for a value instead, where it has them.
    """

    delay: float = 0.0
    lag: int = 0
    error: tuple[int, str] | None = None
    status: int | None = None
    retry_after: int | None = None
    keep: int | None = None
    garbage: bool = False
    lacks: str | None = None
    network: str | None = None
    lenient: bool = False
    trim: int = 0
    told: Mapping[str, object] | None = None

    def spoil(self, result: dict[str, object]) -> dict[str, object]:
        """The result as it is told."""
        if self.network is not None and "passphrase" in result:
            result = {**result, "passphrase": self.network}
        if self.told is not None:
            result = {**result, **{name: value for name, value in self.told.items() if name in result}}
        return {name: value for name, value in result.items() if name != self.lacks}


Hook = Callable[[str], Fault | None]
NONE = Fault()


def too_many_requests(retry_after: int = 1) -> Fault:
    return Fault(status=429, retry_after=retry_after)


def unavailable() -> Fault:
    return Fault(status=503)


def cut(keep: int = 20) -> Fault:
    return Fault(keep=keep)


def malformed() -> Fault:
    return Fault(garbage=True)


def rpc_error(code: int, message: str) -> Fault:
    return Fault(error=(code, message))


def lagging(ledgers: int) -> Fault:
    return Fault(lag=ledgers)


def slow(seconds: float) -> Fault:
    return Fault(delay=seconds)


def lacking(member: str) -> Fault:
    return Fault(lacks=member)


def another_network(passphrase: str) -> Fault:
    return Fault(network=passphrase)


def lenient() -> Fault:
    return Fault(lenient=True)


def trimming(ledgers: int) -> Fault:
    return Fault(trim=ledgers)


def telling(**members: object) -> Fault:
    return Fault(told=members)
