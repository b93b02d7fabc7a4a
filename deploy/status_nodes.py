"""The configured RPC nodes, each asked for itself: what it holds, or why it is of no use."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shared import errors, rpc
from shared.stepfi.settings import Settings
from sweeper import chain_tip
from sweeper.freshness import Tip

STALE_LEDGERS = 24
"""A node so far behind another one is not to be believed about what is new."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """`health` is None where there was no answer; `trouble` says why it would not be asked."""

    name: str
    health: rpc.Health | None
    trouble: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Nodes:
    """All of them, by priority, and the tip that follows. `silence` says why none told anything, where it is so."""

    each: tuple[Node, ...]
    silence: str = ""
    tip: Tip | None = None

    @property
    def health(self) -> rpc.Health | None:
        """What the node that is the farthest says."""
        told = [node.health for node in self.each if node.health is not None]
        return max(told, key=lambda health: health.latest_ledger, default=None)

    def to_json(self) -> list[dict[str, Any]]:
        return [
            {
                "node": node.name,
                "latest_ledger": None if node.health is None else node.health.latest_ledger,
                "oldest_ledger": None if node.health is None else node.health.oldest_ledger,
                "trouble": node.trouble,
            }
            for node in self.each
        ]


async def ask(settings: Settings, *, contracts: Sequence[str]) -> Nodes:
    """Ask every node, side by side, within one time-out; of the newest one its events too, if nothing else tells the close."""
    try:
        settings.require("rpc.urls", "network.passphrase")
    except errors.SettingError as error:
        return Nodes(each=(), silence=str(error.args[0]))
    async with rpc.glance(settings) as client:
        each = await asyncio.gather(*(_ask_one(client, state.url_shown) for state in client.nodes))
        healths = [node.health for node in each if node.health is not None]
        tip = await chain_tip.newest(healths, client, contracts=contracts) if healths else None
    told = [node for node in each if node.health is not None]
    silence = "" if told else "; ".join(node.trouble or "" for node in each)
    newest = max((node.health.latest_ledger for node in told if node.health), default=0)
    return Nodes(each=tuple(_judged(node, newest) for node in each), silence=silence, tip=tip)


async def _ask_one(client: rpc.Client, name: str) -> Node:
    try:
        return Node(name=name, health=(await client.check(node=name)).health, trouble=None)
    except errors.RpcError as error:
        return Node(name=name, health=None, trouble=str(error.args[0]))


def _judged(node: Node, newest: int) -> Node:
    if node.health is None or newest - node.health.latest_ledger <= STALE_LEDGERS:
        return node
    behind = newest - node.health.latest_ledger
    return Node(name=node.name, health=node.health, trouble=f"{behind} ledgers behind the newest node")
