"""What all nodes hold, believed once two looks in a row agree: for what cannot be undone, a gap or the beginning of a log."""

import asyncio
from typing import Protocol

from shared import errors
from shared.rpc.answers import Reach
from shared.rpc.tip import JITTER_LEDGERS

PAUSE_SECONDS = 1.0
LOOKS = 5


class Source(Protocol):
    """What is needed of the RPC client."""

    async def reach(self, *, anew: bool = False) -> Reach: ...


async def reach(source: Source) -> Reach:
    """Return the newer of two looks in a row that agree; every node is checked anew for each.

    Raises RpcContradiction where no two of LOOKS agree, and what `source.reach` raises.
    """
    before = await source.reach(anew=True)
    for _ in range(LOOKS - 1):
        await asyncio.sleep(PAUSE_SECONDS)
        now = await source.reach(anew=True)
        if agree(before, now):
            return now
        before = now
    raise errors.RpcContradiction(
        f"the nodes hold other ledgers each time they are asked, at last {before.oldest_ledger} to {before.latest_ledger}",
        cure="ask their providers which chain stands behind each address in CHAINTRUE_RPC__URLS",
    )


def agree(before: Reach, now: Reach) -> bool:
    """Whether two looks are of the same nodes, which went on with the same chain or stood still."""
    follows = before.oldest_ledger <= now.oldest_ledger <= before.latest_ledger <= now.latest_ledger + JITTER_LEDGERS
    return follows and (before.silent, before.foreign) == (now.silent, now.foreign)
