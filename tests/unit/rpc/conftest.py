import contextlib
import socket
from typing import Any

import pytest

from shared import rpc
from tests.unit.rpc.faulty import PASSPHRASE, FaultyNode


@pytest.fixture
async def stack():
    async with contextlib.AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def start(stack):
    """Start a node: `await start(latest=…)`."""

    async def started(**settings):
        node = FaultyNode(**settings)
        await node.start()
        stack.push_async_callback(node.close)
        return node

    return started


@pytest.fixture
def connect(stack):
    """A client of these nodes: `await connect(first, second, max_attempts=…)`; pauses are short."""

    async def connected(*nodes, **settings):
        usual: dict[str, Any] = {"passphrase": PASSPHRASE, "requests_per_second": 1000, "cooldown_seconds": 0.05}
        urls = [node if isinstance(node, str) else node.url for node in nodes]
        return await stack.enter_async_context(rpc.Client(urls=urls, **(usual | settings)))

    return connected


@pytest.fixture(autouse=True)
def short_backoff(monkeypatch):
    monkeypatch.setattr("shared.rpc.retry.BACKOFF_BASE_SECONDS", 0.01)


@pytest.fixture
def closed_port():
    """A port that nobody listens on: bound, and never listening."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]
