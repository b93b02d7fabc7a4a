"""What an answer has to pass before it counts: one that is of another chain, or of nothing, must not be believed.

A node is checked when it is taken into use, and a gateway may still send a single request elsewhere. So each answer is held
against what was seen before, and one that could not be undone is asked for twice.
"""

import asyncio
from collections.abc import Sequence
from functools import partial

import structlog

from shared.rpc import answers
from shared.rpc.calls import Caller
from shared.rpc.faults import Failed, Fault, LedgerRange
from shared.rpc.methods import Method
from shared.rpc.nodes import Node, Pool
from shared.rpc.tip import JITTER_LEDGERS

log = structlog.get_logger()


class Trial:
    """Holds answers against what the pool has seen, and asks once more where that does not decide; raises Failed."""

    def __init__(self, caller: Caller, pool: Pool) -> None:
        self._caller = caller
        self._pool = pool

    def believe(self, node: Node, answer: answers.Ranged, *, fenced: bool = True) -> None:
        """Raise Failed for an answer whose range cannot be of the chain that was seen, or contradicts itself."""
        self._pool.believe(node, answer, _now(), fenced=fenced)

    async def entries(self, node: Node, keys: Sequence[str], until: float) -> answers.EntriesAnswer:
        """Ask one node for entries; raise Failed where its own range does not reach the ledger of its answer.

        The answer tells no close time, so a ledger beyond what was seen counts only once getHealth of the same node has told it.
        """
        read = partial(answers.entries, node=node.name, keys=set(keys))
        answer = await self._caller.ask(node, Method.GET_LEDGER_ENTRIES, {"keys": keys}, read, until)
        if answer.latest_ledger > self._pool.highest + JITTER_LEDGERS:
            health = await self._caller.ask(node, Method.GET_HEALTH, {}, partial(answers.health, node=node.name), until)
            self.believe(node, health)
            if answer.latest_ledger > health.latest_ledger + JITTER_LEDGERS:
                words = f"an answer of ledger {answer.latest_ledger} from a node whose latest ledger is {health.latest_ledger}"
                raise Failed(Fault.IMPLAUSIBLE, words)
        return answer

    async def absent(self, node: Node, keys: Sequence[str], until: float) -> None:
        """Raise Failed unless a second answer lacks these entries as well: one from another network lacks them all."""
        again = await self.entries(node, keys, until)
        if again.entries:
            words = f"{len(again.entries)} of {len(keys)} entries that an answer lacked are in the next one"
            raise Failed(Fault.IMPLAUSIBLE, words)

    async def range_error(self, node: Node, failed: Failed, first: int, *, fence: int, until: float) -> Failed:
        """Return what a failure of getEvents amounts to; a range error counts only if a check of the node tells that range, too.

        A range error for a ledger inside of the node's range denies itself.
        """
        held = failed.held
        if held is None:
            return failed
        if not node.vouches_for(held, _now()):
            health = (await self._caller.check(node, until, anew=True)).health
            checked = LedgerRange(health.oldest_ledger, health.latest_ledger)
            if held.latest > checked.latest + JITTER_LEDGERS or held.oldest > checked.latest:
                words = f"{failed.words}; but a check of the node tells ledgers {checked.oldest} to {checked.latest}"
                return Failed(Fault.IMPLAUSIBLE, words)
            held = checked
        self._pool.saw(node, _now(), latest=held.latest, oldest=held.oldest, fence=fence)
        fault = Fault.NODE_ERROR if first in held else failed.fault
        return Failed(fault, failed.words, held=None if fault is Fault.NODE_ERROR else held)


def smaller_page(node: Node, failed: Failed, used: int) -> Failed:
    """Return the failure of a page that is larger than the node takes; pages of that node are smaller from now on."""
    limit = failed.page_limit or 0
    if not 1 <= limit < used:
        return failed
    node.limit_pages(limit, _now())
    log.info("rpc node takes smaller pages", node=node.name, asked=used, limit=limit)
    return failed.restated(Fault.PAGE_LIMIT, failed.words)


def _now() -> float:
    return asyncio.get_running_loop().time()
