"""The configured nodes: their order, what they said last, whether they are trusted. Times are seconds of a monotonic clock."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import structlog

from shared import errors
from shared.rpc import answers
from shared.rpc.address import Address
from shared.rpc.faults import Failed, Fault, LedgerRange
from shared.rpc.tip import FORGET_SECONDS, JITTER_LEDGERS, Close, Mark, Tip

log = structlog.get_logger()

COOLDOWN_CAP_SECONDS = 120.0
IDLE_SECONDS = 60.0  # who was not asked for so long is checked again: another machine may stand behind the address
PAGE_LIMIT_SECONDS = 600.0
"""For so long a node gets pages of the size that it named; then the usual size is tried again."""
EDGE_LEDGERS = 64
"""So many ledgers a range may have moved on since the check that vouches for it."""

# Faults of the request, or that every node would have with it: they say nothing about the node.
_BLAMELESS = {
    Fault.REFUSED,
    Fault.PAGE_LIMIT,
    Fault.BUDGET,
    Fault.OUT_OF_RANGE,
    Fault.TOO_LARGE,
    Fault.TIME_LIMIT,
    Fault.PANIC,
    Fault.DATABASE,
}
# After these the address may lead somewhere else, so the node is checked before it is believed again.
_SUSPICIOUS = {
    Fault.UNREACHABLE,
    Fault.UNTRUSTED,
    Fault.DENIED,
    Fault.MALFORMED,
    Fault.WRONG_NETWORK,
    Fault.IMPLAUSIBLE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeState:
    """What is known of a node, for people. `url_shown` is its name, too: it can be passed as `node=`. `trusted` is None as long
    as it was not asked, `page_limit` as long as the node refused no page."""

    url_shown: str
    trusted: bool | None
    reason: str | None
    latest_ledger: int | None
    oldest_ledger: int | None
    version: str | None
    page_limit: int | None = None


class Node:
    """One address. Trouble is kept until a check or an answer ends it."""

    def __init__(self, *, address: Address, name: str, priority: int) -> None:
        self.address = address
        self.name = name
        self.priority = priority
        self.lock = asyncio.Lock()  # one check at a time
        self.report: answers.Checked | None = None  # of the last check, while it holds
        self.version: str | None = None
        self.trouble: Fault | None = None
        self.reason: str | None = "not asked yet"
        self.failures = 0
        self.retry_at = 0.0
        self.hold_until = 0.0  # Retry-After
        self.used_at = 0.0
        self.advanced_at = 0.0
        self.mark = Mark()
        self.held: LedgerRange | None = None
        self.vouched: LedgerRange | None = None  # what the last check told
        self.checked_at = float("-inf")
        self._page_limit = 0
        self._page_limit_until = float("-inf")

    @property
    def highest(self) -> int:
        return self.mark.ledger

    def vouches_for(self, held: LedgerRange, now: float) -> bool:
        """Whether a check of the last minute told that range, or one that moves on to it."""
        known = self.vouched
        if known is None or self.report is None or now - self.checked_at > IDLE_SECONDS:
            return False
        oldest, latest = held.oldest - known.oldest, held.latest - known.latest
        return 0 <= oldest <= EDGE_LEDGERS and -JITTER_LEDGERS <= latest <= EDGE_LEDGERS

    def page_limit(self, now: float) -> int | None:
        """The largest page that the node said it takes; None where it did not say, or long ago."""
        return self._page_limit if now < self._page_limit_until else None

    def limit_pages(self, limit: int, now: float) -> None:
        self._page_limit, self._page_limit_until = limit, now + PAGE_LIMIT_SECONDS

    def still_checked(self, now: float) -> answers.Checked | None:
        return self.report if now - self.used_at <= IDLE_SECONDS else None

    @property
    def is_new(self) -> bool:
        """Whether nobody asked it yet, so that nothing is known of it."""
        return self.report is None and self.trouble is None and self.version is None

    def lacks(self, first: int | None) -> bool:
        """Whether the node is known to hold that ledger no more: what is trimmed stays trimmed."""
        return first is not None and self.held is not None and first < self.held.oldest

    def state(self) -> NodeState:
        return NodeState(
            url_shown=self.name,
            trusted=None if self.is_new else self.report is not None and self.trouble is None,
            reason=self.reason,
            latest_ledger=self.held.latest if self.held else None,
            oldest_ledger=self.held.oldest if self.held else None,
            version=self.version,
            page_limit=self._page_limit or None,
        )


class Pool:
    """All nodes by priority, and the newest ledger that any of them has shown."""

    def __init__(self, urls: Sequence[str], *, cooldown_seconds: float) -> None:
        if not urls:
            raise errors.SettingError("CHAINTRUE_RPC__URLS is not set", cure="set CHAINTRUE_RPC__URLS")
        self._cooldown_seconds = cooldown_seconds
        self.mark = Mark()
        self.tip = Tip()
        self.nodes: list[Node] = []
        for priority, url in enumerate(urls):
            address = Address.parse(url)
            twins = sum(node.address.shown == address.shown for node in self.nodes)
            name = f"{address.shown} ({twins + 1})" if twins else address.shown
            self.nodes.append(Node(address=address, name=name, priority=priority))

    @property
    def highest(self) -> int:
        return self.mark.ledger

    def named(self, name: str) -> Node:
        for node in self.nodes:
            if node.name == name:
                return node
        raise ValueError(f"no configured node is called {name}")

    def choose(
        self, now: float, *, among: Collection[Node], passed: Mapping[Node, int], first: int | None
    ) -> Node | None:
        """The next node to ask: not on hold, then fewest failures in this call, trusted, holding `first`, by priority."""
        return min(
            among,
            key=lambda node: (
                node.hold_until > now,
                passed.get(node, 0),
                node.trouble is not None,
                node.lacks(first),
                node.priority,
            ),
            default=None,
        )

    def saw(self, node: Node, now: float, *, latest: int, oldest: int | None = None, fence: int) -> None:
        """A node told its range. `fence` is what was seen before the request was sent; far below it, the node is distrusted."""
        if latest > node.highest:
            node.advanced_at = now
        before = node.highest
        if node.mark.told(latest, now):
            log.warning("rpc node fell behind what it told before", node=node.name, told_before=before, latest=latest)
        before = self.highest
        if self.mark.told(latest, now):
            self._forget(before)
            self.mark.told(latest, now)
        node.held = LedgerRange(oldest or (node.held.oldest if node.held else latest), latest)
        if latest < fence - JITTER_LEDGERS:
            self._distrust(node, now, Fault.STALE, f"its latest ledger is {latest}, {fence} was seen before")

    def believe(self, node: Node, answer: answers.Ranged, now: float, *, fenced: bool = True) -> None:
        """Raise Failed for an answer whose range cannot be of the chain that was seen; a node that tells no times is believed.

        `fenced` False: only an answer that contradicts itself is refused, for the network may have begun anew.
        """
        if answer.oldest_close_time is None or answer.latest_close_time is None:
            return
        oldest = Close(answer.oldest_ledger, answer.oldest_close_time)
        latest = Close(answer.latest_ledger, answer.latest_close_time)
        words = self._doubt(now, oldest=oldest, latest=latest) if fenced else Tip().take(oldest, latest)
        if words is not None:
            raise Failed(Fault.IMPLAUSIBLE, f"{node.name} tells of another chain, or wrongly of ours: {words}")

    def _doubt(self, now: float, *, oldest: Close, latest: Close) -> str | None:
        """Return why a range cannot be of the chain that was seen, or None; what nobody confirms or reaches is forgotten."""
        before = self.tip.close
        words = self.tip.take(oldest, latest)
        if words is None or before is None:
            return words
        if not self.tip.confirmed:
            self._drop_marks()  # they came from the answer that is now in doubt
        elif self.mark.missed(now):
            self._forget(self.highest)
        return words

    def _forget(self, ledger: int) -> None:
        log.warning(
            "no rpc node has reached the newest ledger that was told before; it no longer counts",
            ledger=ledger,
            seconds=FORGET_SECONDS,
        )
        self.tip.forget()
        self._drop_marks()

    def _drop_marks(self) -> None:
        self.mark.drop()
        for node in self.nodes:
            node.mark.drop()

    def succeeded(self, node: Node, now: float) -> None:
        node.used_at = now
        # A balancer with one late backend answers well in turns; without the pause it would be left and taken up each second.
        if node.trouble is not None and (node.trouble is not Fault.STALE or now >= node.retry_at):
            self._trust(node)

    def checked(self, node: Node, now: float, *, report: answers.Checked, fence: int) -> None:
        node.report = report
        node.version = report.version
        node.used_at = node.checked_at = now
        self._trust(node)
        health = report.health
        node.vouched = LedgerRange(health.oldest_ledger, health.latest_ledger)
        self.saw(node, now, latest=health.latest_ledger, oldest=health.oldest_ledger, fence=fence)

    def failed(self, node: Node, now: float, failed: Failed) -> None:
        if failed.retry_after is not None:
            node.hold_until = max(node.hold_until, now + failed.retry_after)
        if failed.fault in _SUSPICIOUS:
            node.report = None
        if failed.fault not in _BLAMELESS:
            self._distrust(node, now, failed.fault, failed.words)

    def to_probe(self, now: float, *, stall_seconds: float) -> Node | None:
        """A node worth a look beside the calls: its pause is over, or the node in use stands still and others may not."""
        if len(self.nodes) == 1:
            return None
        for node in self.nodes:
            if node.trouble is not None and now >= max(node.retry_at, node.hold_until):
                return node
        used = min((node for node in self.nodes if not node.trouble), key=lambda node: node.priority, default=None)
        if used is None or used.report is None or now - used.advanced_at < stall_seconds:
            return None
        rest = [node for node in self.nodes if node is not used and now - node.used_at >= stall_seconds]
        return min(rest, key=lambda node: (node.used_at, node.priority), default=None)

    def _distrust(self, node: Node, now: float, fault: Fault, reason: str) -> None:
        if now >= node.retry_at:  # failures of calls that ran side by side count once
            node.failures += 1
            pause = self._cooldown_seconds * 2.0 ** min(node.failures - 1, 16)
            node.retry_at = now + min(pause, max(COOLDOWN_CAP_SECONDS, self._cooldown_seconds))
        if node.trouble is None:
            log.warning("rpc node distrusted", node=node.name, reason=reason)
        node.trouble = fault
        node.reason = reason

    def _trust(self, node: Node) -> None:
        if node.trouble is not None:
            log.info("rpc node trusted again", node=node.name)
        node.trouble = None
        node.reason = None
        node.failures = 0
        node.retry_at = 0.0
