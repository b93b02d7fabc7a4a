"""Reads the tip of the chain: the newest ledger of all configured nodes that serve our network."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from shared import errors, rpc
from shared.settings import EngineSettings
from sweeper.freshness import Tip


async def read(
    settings: EngineSettings, client: rpc.Client, *, contracts: Sequence[str], on_request: Callable[[str, str], None]
) -> Tip:
    """Return the highest latest ledger among the nodes that pass the checks, with its close time.

    `client` is the run's own, which asks with patience until one node answers; the others are asked once, side by side.
    `contracts` are asked for events where a node does not tell the close in its health.
    Raises WrongNetwork, and an RpcError where no node passes.
    """
    async with rpc.glance(settings, on_request=on_request) as glancing:
        names = [state.url_shown for state in glancing.nodes]
        looks = [asyncio.create_task(_glance(glancing, name)) for name in names]
        try:
            first = await client.check()
            others = await asyncio.gather(*looks)
        finally:  # where no node passes, no look outlives its client
            for look in looks:
                look.cancel()
            await asyncio.gather(*looks, return_exceptions=True)
        healths = [first.health, *(health for health in others if health is not None)]
        answered = {health.node for health in healths}
        tip = await newest(healths, glancing, contracts=contracts)
        return replace(tip, silent=tuple(name for name in names if name not in answered))


async def newest(healths: Sequence[rpc.Health], client: rpc.Client, *, contracts: Sequence[str]) -> Tip:
    """Return the tip by what the nodes said of themselves (one at least), with its close time where it can be had."""
    found = max(healths, key=lambda health: (health.latest_ledger, health.latest_close_time or 0))
    tip = Tip(ledger=found.latest_ledger, closed_at=found.latest_close_time, node=found.node)
    return tip if tip.closed_at is not None else await _with_close(client, tip, contracts)


async def _glance(client: rpc.Client, name: str) -> rpc.Health | None:
    try:
        return (await client.check(node=name)).health
    except errors.RpcError:
        return None


async def _with_close(client: rpc.Client, tip: Tip, contracts: Sequence[str]) -> Tip:
    """Return the tip with the close time of a page of events; unchanged where no page can be read."""
    if not contracts:
        return tip
    try:
        page = await client.events(
            contracts=contracts[: rpc.MAX_CONTRACTS], start_ledger=tip.ledger, limit=1, node=tip.node
        )
    except errors.RpcError:
        return tip
    return replace(tip, ledger=page.latest_ledger, closed_at=page.latest_close_time)
