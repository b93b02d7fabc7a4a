"""The client: what can be asked of the chain, with the checks that need to know what was asked before."""

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from shared import errors, position
from shared.rpc import answers, pacing, pages, trial, wire
from shared.rpc.calls import Caller, OnRequest
from shared.rpc.faults import Failed, Fault
from shared.rpc.methods import Method
from shared.rpc.nodes import Node, NodeState, Pool
from shared.rpc.tip import JITTER_LEDGERS
from shared.rpc.transport import Transport

MAX_CONTRACTS = 25  # 5 filters of 5 contracts
MAX_KEYS = 200
MAX_PAGE = 10_000

Answer = TypeVar("Answer", answers.Health, answers.EntriesAnswer, answers.Transaction)


class Client:
    """Read-only access to the configured Stellar RPC nodes; an async context manager.

    Every method raises an `errors.RpcError`: RpcUnavailable or RpcMalformed when no node gave a usable answer within
    `max_attempts` and `call_seconds`, RpcRefused when the request itself is wrong, WrongNetwork when no node is of our network.
    `ca_file` names the authorities that an https node is trusted by (PEM), None those of the system.
    `node=` pins a call to one node, by the `node` of an earlier answer.
    """

    def __init__(
        self,
        *,
        urls: Sequence[str],
        passphrase: str,
        ca_file: Path | None = None,
        timeout_seconds: float = 15.0,
        call_seconds: float = 60.0,
        max_attempts: int = 6,
        requests_per_second: float = 20.0,
        minimum_version: str = "27.1.1",
        max_body_bytes: int = 64 * 1024 * 1024,
        cooldown_seconds: float = 10.0,
        stall_seconds: float = 30.0,
        on_request: OnRequest = lambda _method, _outcome: None,
    ) -> None:
        self._pool = Pool(urls, cooldown_seconds=cooldown_seconds)
        self._transport = Transport(max_body_bytes=max_body_bytes, ca_file=ca_file)
        self._page = pacing.PageSize(MAX_PAGE)
        self._caller = Caller(
            transport=self._transport,
            pool=self._pool,
            passphrase=passphrase,
            minimum_version=minimum_version,
            timeout_seconds=timeout_seconds,
            call_seconds=call_seconds,
            max_attempts=max_attempts,
            requests_per_second=requests_per_second,
            stall_seconds=stall_seconds,
            on_request=on_request,
        )
        self._trial = trial.Trial(self._caller, self._pool)

    async def __aenter__(self) -> "Client":
        await self._transport.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._caller.aclose()
        await self._transport.__aexit__(kind, error, trace)

    @property
    def nodes(self) -> list[NodeState]:
        """What is known of each node, by priority."""
        return [node.state() for node in self._pool.nodes]

    async def check(self, *, node: str | None = None) -> answers.Checked:
        """Check network, version and range of `node`, or of the first node that answers.

        Raises WrongNetwork for a node of another network even when others are left: such a setting is a mistake.
        """
        among = self._among(node)
        for each in among:
            each.report = None
        return await self._caller.run(self._caller.check, among=among, loud=True)

    async def health(self, *, node: str | None = None, fenced: bool = True) -> answers.Health:
        """The range that a node holds; the cheapest look at the tip of the chain.

        `fenced` False believes one that is behind what was seen before, too: a network that began anew is.
        """

        async def ask(asked: Node, until: float) -> answers.Health:
            fence = self._fence(node, asked) - JITTER_LEDGERS if fenced else 0

            def read(result: wire.Object) -> answers.Health:
                return answers.health(result, node=asked.name)

            answer = await self._caller.ask(asked, Method.GET_HEALTH, {}, read, until)
            self._trial.believe(asked, answer, fenced=fenced)
            if not fenced:
                return answer
            return self._not_stale(asked, answer, oldest=answer.oldest_ledger, fence=fence)

        return await self._caller.run(ask, among=self._among(node), fenced=fenced)

    async def reach(self, *, anew: bool = False) -> answers.Reach:
        """What all nodes together hold, each asked for itself; raises what the first one says where none tells.

        `anew`: the network and version of each node are checked once more, whatever is known of it.
        """
        for node in self._pool.nodes if anew else ():
            node.report = None
        told = await asyncio.gather(*(self._health_of(node.name) for node in self._pool.nodes))
        held = [one for one in told if isinstance(one, answers.Health)]
        if not held:
            raise next(one for one in told if isinstance(one, errors.RpcError))
        answered = list(zip((node.name for node in self._pool.nodes), told, strict=True))
        return answers.Reach(
            oldest_ledger=min(one.oldest_ledger for one in held),
            latest_ledger=max(one.latest_ledger for one in held),
            silent=tuple(name for name, one in answered if not isinstance(one, answers.Health | errors.WrongNetwork)),
            foreign=tuple(name for name, one in answered if isinstance(one, errors.WrongNetwork)),
        )

    async def _health_of(self, name: str) -> answers.Health | errors.RpcError:
        try:
            return await self.health(node=name)
        except errors.RpcError as error:
            return error

    async def events(
        self,
        *,
        contracts: Sequence[str],
        start_ledger: int | None = None,
        cursor: str | None = None,
        limit: int = 1000,
        node: str | None = None,
    ) -> answers.EventPage:
        """A page of all events of `contracts` (1 to 25), from `start_ledger` inclusive or from behind `cursor`.

        The page is made smaller, for this call and for a while, when nodes do not bear `limit`. Raises LedgerOutOfRange when
        every node that answers holds only later ledgers, or only earlier ones, than the one at which the page begins.
        """
        asked_for = tuple(dict.fromkeys(contracts))
        if not 1 <= len(asked_for) <= MAX_CONTRACTS:
            raise ValueError(f"1 to {MAX_CONTRACTS} contracts can be asked together, not {len(asked_for)}")
        if (start_ledger is None) == (cursor is None) or not 1 <= limit <= MAX_PAGE:
            raise ValueError(f"either start_ledger or cursor is needed, and a limit of 1 to {MAX_PAGE}")
        first = start_ledger if cursor is None else position.ledger_of(position.check(cursor))
        if first is None or not 1 <= first <= wire.U32_MAX:
            raise ValueError(f"{first} is no ledger to start at")
        known = set(asked_for)

        used = limit

        async def ask(asked: Node, until: float) -> answers.EventPage:
            nonlocal used
            used = self._page.of(min(limit, asked.page_limit(_now()) or limit))
            fence = self._fence(node, asked)
            params = pages.request(asked_for, start_ledger, cursor, used)
            read = partial(pages.read, node=asked.name, contracts=known, start_ledger=start_ledger, cursor=cursor)
            try:
                page = await self._caller.ask(asked, Method.GET_EVENTS, params, read, until)
            except Failed as failed:
                if failed.page_limit is not None:
                    raise trial.smaller_page(asked, failed, used) from None
                # A cursor came from a node: that much was seen. A start may lie in the future.
                least = max(fence, first) if cursor else fence
                raise await self._trial.range_error(asked, failed, first, fence=least, until=until) from None
            self._trial.believe(asked, page)
            self._saw(asked, latest=page.latest_ledger, oldest=page.oldest_ledger, fence=fence)
            return page

        def shrink() -> bool:
            self._page.shrink(used)
            return self._page.of(limit) > 1

        page = await self._caller.run(ask, among=self._among(node), first=first, shrink=shrink if limit > 1 else None)
        self._page.went_well()
        return page

    async def entries(
        self, *, keys: Sequence[str], min_ledger: int | None = None, node: str | None = None
    ) -> answers.EntriesAnswer:
        """The ledger entries of up to 200 base64 LedgerKeys, in one snapshot at `min_ledger` or later.

        Never from a ledger older than one that was already seen: of any node, or of the pinned one.
        """
        asked_for = tuple(dict.fromkeys(keys))
        if len(asked_for) > MAX_KEYS:
            raise ValueError(f"up to {MAX_KEYS} keys can be asked together, not {len(asked_for)}")
        for key in asked_for:
            if not wire.is_canonical(key):  # a node answers such a key with an error of its own for the whole call
                raise ValueError(f"{wire.brief(key)!r} is not canonical base64")

        async def ask(asked: Node, until: float) -> answers.EntriesAnswer:
            fence = max(self._fence(node, asked), min_ledger or 0)
            answer = await self._trial.entries(asked, asked_for, until)
            answer = self._not_stale(asked, answer, oldest=None, fence=fence)
            if missing := [key for key in asked_for if key not in answer.entries]:
                await self._trial.absent(asked, missing, until)
            return answer

        return await self._caller.run(ask, among=self._among(node))

    async def transaction(
        self, tx_hash: str, *, min_ledger: int | None = None, node: str | None = None
    ) -> answers.Transaction:
        """What a node holds of the transaction with this hash (64 hex digits), answered at `min_ledger` or later.

        One NOT_FOUND proves nothing: a ledger may land between the look-up and the range that the answer tells. Ask the same
        node again after its `latest_close_time` has passed the transaction's time bound.
        """
        wanted = tx_hash.lower()
        if not wire.is_hash(wanted):
            raise ValueError(f"{wire.brief(tx_hash)!r} is not 64 hex digits")

        async def ask(asked: Node, until: float) -> answers.Transaction:
            fence = max(self._fence(node, asked), min_ledger or 0)

            def read(result: wire.Object) -> answers.Transaction:
                return answers.transaction(result, node=asked.name, tx_hash=wanted)

            answer = await self._caller.ask(asked, Method.GET_TRANSACTION, {"hash": wanted}, read, until)
            self._trial.believe(asked, answer)
            return self._not_stale(asked, answer, oldest=answer.oldest_ledger, fence=fence)

        return await self._caller.run(ask, among=self._among(node))

    def _among(self, name: str | None) -> list[Node]:
        return self._pool.nodes if name is None else [self._pool.named(name)]

    def _fence(self, pinned: str | None, node: Node) -> int:
        """The newest ledger seen before a request is sent. A pinned node is measured by itself: it may lag behind others."""
        return self._pool.highest if pinned is None else node.highest

    def _saw(self, node: Node, *, latest: int, oldest: int | None, fence: int) -> None:
        self._pool.saw(node, _now(), latest=latest, oldest=oldest, fence=fence)

    def _not_stale(self, node: Node, answer: Answer, *, oldest: int | None, fence: int) -> Answer:
        """The answer, unless it is of a ledger before the fence: then another machine, or an old state, stands behind it."""
        self._saw(node, latest=answer.latest_ledger, oldest=oldest, fence=fence)
        if answer.latest_ledger < fence:
            words = f"its latest ledger is {answer.latest_ledger}, {fence} was seen before or is needed"
            raise Failed(Fault.STALE, words)
        return answer


def _now() -> float:
    return asyncio.get_running_loop().time()
