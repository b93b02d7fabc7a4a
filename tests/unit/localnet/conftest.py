"""A localnet for each recorded state, and a client that sends bodies as they are."""

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any, cast

import aiohttp
import pytest

from deploy import localnet
from tests.unit.localnet import golden

Answer = dict[str, Any]


class Client:
    """Sends requests, and reads whatever comes back."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session

    async def send(self, url: str, pair: golden.Pair) -> tuple[int, object]:
        """Status and body; JSON is parsed, anything else is text."""
        content_type = pair.http.get("ctype", "application/json")
        async with self.session.request(
            pair.http.get("method", "POST"),
            url + pair.http.get("path", "/"),
            data=pair.body(),
            headers={"Content-Type": content_type} if content_type else {},
            skip_auto_headers=["Content-Type"],
        ) as response:
            text = await response.text()
        try:
            return response.status, json.loads(text)
        except ValueError:
            return response.status, text

    async def call(self, net: localnet.Localnet, method: str, **params: object) -> Answer:
        """The whole answer to one call."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        async with self.session.post(net.url, json=body) as response:
            return cast(Answer, await response.json())

    async def result(self, net: localnet.Localnet, method: str, **params: object) -> Answer:
        return cast(Answer, (await self.call(net, method, **params))["result"])


@pytest.fixture(scope="session")
async def client() -> AsyncIterator[Client]:
    async with aiohttp.ClientSession() as session:
        yield Client(session)


@pytest.fixture(scope="session")
async def states() -> AsyncIterator[dict[str, localnet.Localnet]]:
    """The recorded server in each of its states."""
    async with contextlib.AsyncExitStack() as stack:
        yield {name: await stack.enter_async_context(state.serve()) for name, state in golden.STATES.items()}
