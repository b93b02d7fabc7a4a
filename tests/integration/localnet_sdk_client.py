"""Asks a localnet everything with stellar-sdk's own asynchronous client, and prints what the client made of the answers.

It runs in a process of its own: with its extra installed, the SDK's HTTP client patches aiohttp for the whole process.
"""

import asyncio
import json
import sys
from collections.abc import AsyncGenerator
from typing import Any

import aiohttp
from stellar_sdk import InvokeHostFunction, TransactionEnvelope, xdr
from stellar_sdk.client.aiohttp_client import AiohttpClient
from stellar_sdk.client.base_async_client import BaseAsyncClient
from stellar_sdk.client.response import Response
from stellar_sdk.soroban_rpc import EventFilter, EventFilterType
from stellar_sdk.soroban_server_async import SorobanServerAsync


class PlainClient(BaseAsyncClient):
    """The SDK's HTTP client as it is without server-sent events, which its extra is for, and Soroban is not."""

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession()

    async def get(
        self, url: str, params: dict[str, str] | None = None, max_content_size: int | None = None
    ) -> Response:
        raise NotImplementedError

    async def post(
        self, url: str, data: dict[str, str] | None = None, json_data: dict[str, Any] | None = None
    ) -> Response:
        async with self._session.post(url, data=data, json=json_data) as response:
            text, headers = await response.text(), dict(response.headers)
            return Response(status_code=response.status, text=text, headers=headers, url=str(response.url))

    def stream(self, url: str, params: dict[str, str] | None = None) -> AsyncGenerator[dict[str, Any], None]:
        raise NotImplementedError

    async def close(self) -> None:
        await self._session.close()


def http_client() -> BaseAsyncClient:
    try:
        return AiohttpClient()
    except ImportError:
        return PlainClient()


async def ask(url: str, contract: str, key: str, hashes: list[str]) -> dict[str, object]:
    async with SorobanServerAsync(url, client=http_client()) as server:
        health = await server.get_health()
        start = health.latest_ledger - 9_000
        events = await server.get_events(
            start, filters=[EventFilter(event_type=EventFilterType.CONTRACT, contract_ids=[contract])], limit=1000
        )
        entries = await server.get_ledger_entries([xdr.LedgerKey.from_xdr(key)])
        found = [await server.get_transaction(tx_hash) for tx_hash in hashes]
        page = await server.get_transactions(start, limit=5)
        ledgers = await server.get_ledgers(health.latest_ledger - 1)
        return {
            "status": health.status,
            "passphrase": (await server.get_network()).passphrase,
            "version": (await server.get_version_info()).version,
            "latest": (await server.get_latest_ledger()).sequence,
            "start": start,
            "events": [event.id for event in events.events],
            "entries": [entry.xdr for entry in entries.entries or []],
            "transactions": [[one.status.value, one.ledger] for one in found],
            "functions": [called(one.envelope_xdr) for one in found],
            "listed": len(page.transactions),
            "ledgers": [ledger.sequence for ledger in ledgers.ledgers],
        }


def called(envelope: str | None) -> str | None:
    """The contract function that an envelope calls."""
    if envelope is None:
        return None
    read = TransactionEnvelope.from_xdr(envelope, "any network")
    (operation,) = read.transaction.operations
    assert isinstance(operation, InvokeHostFunction)
    assert operation.host_function.invoke_contract is not None
    return operation.host_function.invoke_contract.function_name.sc_symbol.decode()


if __name__ == "__main__":
    url, contract, key, hashes = sys.argv[1:5]
    print(json.dumps(asyncio.run(ask(url, contract, key, json.loads(hashes)))))  # noqa: T201  # the answer to the parent
