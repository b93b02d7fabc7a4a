"""What the tests of the client ask, and what nodes answer."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from aiohttp import web

from shared import rpc
from tests.unit.rpc.faulty import CONTRACT, FaultyNode, end


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait for something that another task brings about."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        await asyncio.sleep(0.01)


async def page(client: rpc.Client, **changes: Any) -> rpc.EventPage:
    """A page of events behind ledger 150."""
    return await client.events(**({"contracts": [CONTRACT], "cursor": end(150)} | changes))


def limits_sent(node: FaultyNode) -> list[int]:
    return [asked["params"]["pagination"]["limit"] for asked in node.requests if asked["method"] == "getEvents"]


def http(status: int, text: str = "", **headers: str) -> Callable[[object], web.Response]:
    """What a node answers, whatever it is asked."""
    return lambda _asked: web.Response(status=status, text=text, headers=headers)


def hung(node: FaultyNode) -> asyncio.Event:
    """Let the node be silent when it is asked for events, until the event is set."""
    gone = asyncio.Event()

    async def hang(_asked: object) -> dict[str, object]:
        await gone.wait()
        return {"result": {}}

    node.always["getEvents"] = hang
    return gone
