"""How one call becomes requests: the order of nodes, their checks, pauses and budgets, and the way back to a better node."""

import asyncio
import random
import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import TypeVar

import structlog

from shared.rpc import answers, pacing, retry, wire
from shared.rpc.faults import Failed, Fault, Malformed
from shared.rpc.methods import Method
from shared.rpc.nodes import Node, Pool
from shared.rpc.retry import Step
from shared.rpc.tally import Tally
from shared.rpc.transport import Reply, Transport

log = structlog.get_logger()

T = TypeVar("T")
OnRequest = Callable[[Method, str], None]
"""Called after each request with its method and outcome: `ok` or a value of `Fault`."""

_VERSION = re.compile(r"v?(\d+)\.(\d+)\.(\d+)")
# A check has no page to shrink and no parameters to be wrong: there these say that the node is of no use, or not now.
_CHECK_FAULTS = {Fault.REFUSED: Fault.DENIED, Fault.TIME_LIMIT: Fault.NODE_ERROR, Fault.TOO_LARGE: Fault.NODE_ERROR}
_UNSTAMPED = {"", "0.0.0"}  # what a build of the server without version stamps says


class Caller:
    """Asks nodes on behalf of the client; it holds all that is shared by calls that run side by side."""

    def __init__(
        self,
        *,
        transport: Transport,
        pool: Pool,
        passphrase: str,
        minimum_version: str,
        timeout_seconds: float,
        call_seconds: float,
        max_attempts: int,
        requests_per_second: float,
        stall_seconds: float,
        on_request: OnRequest,
    ) -> None:
        self._transport = transport
        self._pool = pool
        self._passphrase = passphrase
        self._minimum = _parsed(minimum_version)
        self._minimum_text = minimum_version
        self._timeout_seconds = timeout_seconds
        self._call_seconds = call_seconds
        self._max_attempts = max_attempts
        self._bucket = pacing.TokenBucket(requests_per_second)
        self._stall_seconds = stall_seconds
        self._on_request = on_request
        self._request_id = 0
        self._probe: asyncio.Task[None] | None = None

    async def aclose(self) -> None:
        """End the look at other nodes that may run beside the calls."""
        if self._probe is not None:
            self._probe.cancel()
            await asyncio.wait([self._probe])
            self._probe = None

    async def run(
        self,
        ask: Callable[[Node, float], Awaitable[T]],
        *,
        among: Sequence[Node],
        first: int | None = None,
        shrink: Callable[[], bool] | None = None,
        loud: bool = False,
        fenced: bool = True,
    ) -> T:
        """Ask one node after the other until one answers; raises an RpcError.

        `first` is the oldest ledger that the request needs. `shrink` makes the request smaller, or says False. `loud`: a node of
        another network ends the call even if others are left. `fenced` False: what was seen before is no reason to doubt a node.
        """
        tally = Tally(among, first=first)
        until = _now() + self._call_seconds
        while True:
            node = self._pool.choose(_now(), among=tally.open(), passed=tally.passed, first=first)
            if node is None or not await self._pause(node, tally, until):
                raise tally.error()
            self._look_aside()
            try:
                await self.check(node, until, fenced=fenced)
                answer = await ask(node, until)
            except Failed as failed:
                self._pool.failed(node, _now(), failed)
                if loud and failed.fault is Fault.WRONG_NETWORK:
                    tally = Tally([node])
                step = retry.decide(failed.fault, tally.note(node, failed, shrinkable=shrink is not None))
                tally.went(node, step)
                if step is Step.GIVE_UP or tally.attempts >= self._max_attempts:
                    raise tally.error() from None
                if step is Step.SHRINK and shrink is not None and not shrink():
                    shrink = None  # as small as it gets
            else:
                self._pool.succeeded(node, _now())
                return answer

    async def _pause(self, node: Node, tally: Tally, until: float) -> bool:
        """Wait as the node or our own manners ask for; False when the call has not that much time."""
        wait = max(0.0, node.hold_until - _now())
        if tally.visits[node]:
            chance = random.random()  # noqa: S311 - spreads load, keeps no secret
            wait = max(wait, retry.backoff(tally.visits[node], chance=chance))
        if _now() + wait >= until:
            return False
        await asyncio.sleep(wait)
        return True

    async def ask(
        self, node: Node, method: Method, params: wire.Object, read: Callable[[wire.Object], T], until: float
    ) -> T:
        """One request to one node; raises Failed, with words that show no secret. `read` makes the result a value."""
        outcome = "cancelled"
        try:
            reply = await self._post(node, method, params, until)
            answer = self._read(reply, method, read)
            outcome = "ok"
        except Failed as failed:
            outcome = failed.fault.value
            words = f"{method}: {node.address.mask(failed.words)}"
            raise failed.restated(failed.fault, words) from None
        finally:
            self._on_request(method, outcome)
        return answer

    async def _post(self, node: Node, method: Method, params: wire.Object, until: float) -> tuple[Reply, int]:
        now = _now()
        if now + self._bucket.delay(now) >= until:
            raise Failed(Fault.BUDGET, "the request budget, CHAINTRUE_RPC__REQUESTS_PER_SECOND, is used up")
        await asyncio.sleep(self._bucket.take(now))
        self._request_id += 1
        number = self._request_id
        seconds = max(0.001, min(self._timeout_seconds, until - _now()))
        url = node.address.url
        return await self._transport.post(url, method, params, request_id=number, seconds=seconds), number

    def _read(self, numbered: tuple[Reply, int], method: Method, read: Callable[[wire.Object], T]) -> T:
        reply, number = numbered
        if reply.status != 200:
            patience = retry.retry_after(reply.retry_after, now=datetime.now(UTC))
            where = f", which leads to {reply.leads_to}" if reply.leads_to else ""
            words = f"HTTP {reply.status}{where} {wire.brief(reply.body)}".strip()
            raise Failed(retry.with_words(retry.of_status(reply.status), words), words, retry_after=patience)
        try:
            result = wire.result(reply.body, request_id=number, method=method)
        except Malformed as malformed:
            raise Failed(Fault.MALFORMED, str(malformed)) from None
        try:
            return read(result)
        except Malformed as malformed:
            raise Failed(Fault.MALFORMED, str(malformed.inside("result"))) from None

    async def check(self, node: Node, until: float, *, fenced: bool = True, anew: bool = False) -> answers.Checked:
        """See that a node serves our network in a version that we can rely on; raises Failed.

        What is known from a check before is taken, unless it is to be checked `anew`.
        """
        async with node.lock:
            if not anew and (report := node.still_checked(_now())):
                return report
            try:
                return await self._check(node, until, fenced=fenced)
            except Failed as failed:
                fault = _CHECK_FAULTS.get(failed.fault, failed.fault)
                raise Failed(fault, failed.words, retry_after=failed.retry_after) from None

    async def _check(self, node: Node, until: float, *, fenced: bool) -> answers.Checked:
        network = await self.ask(node, Method.GET_NETWORK, {}, answers.network, until)
        if network.passphrase != self._passphrase:
            raise Failed(
                Fault.WRONG_NETWORK,
                f"this node of CHAINTRUE_RPC__URLS serves {wire.brief(network.passphrase)!r},"
                f" CHAINTRUE_NETWORK__PASSPHRASE says {self._passphrase!r}",
            )
        version = await self.ask(node, Method.GET_VERSION_INFO, {}, answers.version, until)
        self._check_version(node, version)
        fence = self._pool.highest
        health = await self.ask(
            node, Method.GET_HEALTH, {}, lambda result: answers.health(result, node=node.name), until
        )
        self._pool.believe(node, health, _now(), fenced=fenced)
        report = answers.Checked(
            node=node.name, version=version.version, protocol_version=version.protocol_version, health=health
        )
        self._pool.checked(node, _now(), report=report, fence=fence)
        return report

    def _check_version(self, node: Node, version: answers.Version) -> None:
        if version.version in _UNSTAMPED or (parsed := _parsed(version.version)) is None:
            if node.version != version.version:
                log.warning("rpc node tells no version", node=node.name, version=wire.brief(version.version))
            return
        if self._minimum is not None and parsed < self._minimum:
            words = f"this node of CHAINTRUE_RPC__URLS runs version {wire.brief(version.version)};"
            raise Failed(
                Fault.WRONG_NETWORK, f"{words} at least {self._minimum_text} is needed: older ones miss events"
            )

    def _look_aside(self) -> None:
        """Start the check of a node that may be usable again, or further than the one in use, beside the calls."""
        if self._probe is not None and not self._probe.done():
            return
        node = self._pool.to_probe(_now(), stall_seconds=self._stall_seconds)
        if node is not None:
            node.report = None
            self._probe = asyncio.create_task(self._probe_once(node))

    async def _probe_once(self, node: Node) -> None:
        try:
            await self.check(node, _now() + self._timeout_seconds)
        except Failed as failed:
            self._pool.failed(node, _now(), failed)


def _parsed(version: str) -> tuple[int, ...] | None:
    found = _VERSION.match(version)
    return tuple(int(part) for part in found.groups()) if found else None


def _now() -> float:
    return asyncio.get_running_loop().time()
