"""The attempts of one call: what each node said, and the error that they amount to when nothing is left to try."""

from collections import Counter
from collections.abc import Collection

from shared import errors
from shared.rpc.faults import Failed, Fault
from shared.rpc.nodes import Node
from shared.rpc.retry import Situation, Step

_FINAL = {Fault.REFUSED, Fault.OUT_OF_RANGE, Fault.DENIED, Fault.UNTRUSTED, Fault.WRONG_NETWORK}
_REFUSALS = {Fault.REFUSED, Fault.DENIED, Fault.UNTRUSTED}

_ADDRESS = "check the address and its key in CHAINTRUE_RPC__URLS"
_REQUEST = (
    "name another node in CHAINTRUE_RPC__URLS: this one does not take the request."
    " CHAINTRUE_RPC__PAGE_LIMIT sets how many events are asked for at once"
)
_QUOTA = (
    "ask less (raise CHAINTRUE_RPC__POLL_SECONDS, lower CHAINTRUE_RPC__REQUESTS_PER_SECOND), raise the quota of the provider,"
    " or name another node in CHAINTRUE_RPC__URLS"
)
_CHAIN = "ask the provider of the node which chain stands behind its address, or remove it from CHAINTRUE_RPC__URLS"
_TRUST = "let CHAINTRUE_RPC__CA_FILE name the PEM file of the authority that signed the node's certificate"


class Tally:
    def __init__(self, candidates: Collection[Node], *, first: int | None = None) -> None:
        self.candidates = list(candidates)
        self._first = first or 0
        self.attempts = 0
        self.passed: Counter[Node] = Counter()
        self.visits: Counter[Node] = Counter()
        self._faults: Counter[Fault] = Counter()
        self._last: dict[Node, Failed] = {}
        self._newest: Failed | None = None

    def open(self) -> list[Node]:
        """Nodes that have not answered for good; one that was only unreachable is among them."""
        return [node for node in self.candidates if not self._answered(node)]

    def _answered(self, node: Node) -> bool:
        return node in self._last and self._last[node].fault in _FINAL

    def note(self, node: Node, failed: Failed, *, shrinkable: bool) -> Situation:
        """Count a failed attempt; returns what is left to try after it."""
        repeats = self._faults[failed.fault]
        self.attempts += 1
        self._faults[failed.fault] += 1
        self._last[node] = self._newest = failed
        return Situation(
            untried=any(other not in self._last for other in self.candidates),
            undecided=bool(self.open()),
            shrinkable=shrinkable,
            repeats=repeats,
        )

    def went(self, node: Node, step: Step) -> None:
        """Note the step that was decided, for the order and the pause of the next attempt."""
        if step is Step.ELSEWHERE:
            self.passed[node] += 1
        self.visits[node] = 0 if step is Step.SHRINK else self.visits[node] + 1

    def error(self) -> errors.RpcError:
        """The error of the whole call, with the last words of each node that was asked."""
        told = "; ".join(f"{node.name}: {failed.words}" for node, failed in self._last.items())
        told = told or "; ".join(f"{node.name} is on hold: {node.reason}" for node in self.candidates)
        outside = [failed.held for failed in self._last.values() if failed.fault is Fault.OUT_OF_RANGE and failed.held]
        faults = {failed.fault for failed in self._last.values()}
        if outside and (self._newest is None or self._newest.fault is not Fault.REFUSED):
            # Of several ranges the one that goes furthest towards what was asked for.
            below = [held for held in outside if self._first < held.oldest]
            held = min(below, key=lambda each: each.oldest) if below else max(outside, key=lambda each: each.latest)
            return errors.LedgerOutOfRange(told, oldest=held.oldest, latest=held.latest)
        return self._refusal(told, faults) or self._outage(told, faults)

    def _refusal(self, told: str, faults: set[Fault]) -> errors.RpcError | None:
        """Return the error where no node takes the request as it is; None where another try may help."""
        if self._newest is not None and self._newest.fault is Fault.REFUSED:
            return errors.RpcRefused(told, cure=_REQUEST)
        if faults == {Fault.WRONG_NETWORK}:
            return errors.WrongNetwork(
                told,
                cure="let CHAINTRUE_NETWORK__PASSPHRASE and CHAINTRUE_RPC__URLS name the same network",
            )
        if faults and faults <= _REFUSALS:
            return errors.RpcRefused(told, cure=_TRUST if faults == {Fault.UNTRUSTED} else _ADDRESS)
        return None

    def _outage(self, told: str, faults: set[Fault]) -> errors.RpcError:
        if faults == {Fault.MALFORMED}:
            return errors.RpcMalformed(told)
        tries = "1 attempt" if self.attempts == 1 else f"{self.attempts} attempts"
        words = f"no Stellar RPC node gave an answer in {tries}: {told}"
        if Fault.IMPLAUSIBLE in faults:
            return errors.RpcContradiction(words, cure=_CHAIN)
        if faults == {Fault.RATE_LIMITED}:
            return errors.RpcUnavailable(words, cure=_QUOTA)
        return errors.RpcUnavailable(words, cure="start such a node, or correct the addresses in CHAINTRUE_RPC__URLS")
