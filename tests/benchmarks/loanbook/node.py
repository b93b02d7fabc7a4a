"""A node that knows the loans of a book: their entries come from the chain's side of it, and requests are counted."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg
from aiohttp import web

from deploy.localnet import jsonrpc, rpcerrors
from shared import ledger_entry, scval
from shared.ledger_entry import INSTANCE_KEY, PERSISTENT, ContractData, ContractInstance
from shared.scval import U64, Symbol
from shared.stepfi.entries import instance_key
from shared.stepfi.events import Role
from tests import http_server
from tests.benchmarks.loanbook import world
from tests.benchmarks.loanbook.book import Book
from tests.benchmarks.traffic import chain, entries
from tests.benchmarks.traffic.world import Loan

_LOANS = """
SELECT loan_id::bigint AS number, borrower, vendor, total_amount, guarantee_amount, remaining_balance, status, created_at
FROM chain.loans WHERE contract = $1 AND loan_id = ANY($2::numeric[])
"""
_LIFE_LEDGERS = 500_000
_OLDEST = 120_000
"""So many ledgers are held."""


@dataclass(slots=True, kw_only=True)
class Node:
    """`requests` by method; `keys` how many entries were asked for."""

    book: Book
    pool: asyncpg.Pool
    url: str = ""
    requests: Counter[str] = field(default_factory=Counter)
    keys: int = 0

    async def handle(self, request: web.Request) -> web.Response:
        message = jsonrpc.parse(await request.read())
        answers = [await self._answer(call) for call in message.calls]
        return web.Response(body=jsonrpc.render(message, answers), content_type="application/json")

    async def _answer(self, call: jsonrpc.Call) -> bytes:
        self.requests[call.method] += 1
        parameters: Any = call.params or {}
        match call.method:
            case "getHealth":
                result = self._health()
            case "getNetwork":
                result = {"passphrase": chain.NETWORK, "protocolVersion": 28}
            case "getVersionInfo":
                result = {"version": "28.0.0", "protocolVersion": 28}
            case "getLedgerEntries":
                result = await self._entries(parameters["keys"])
            case _:
                missing = rpcerrors.MethodError(rpcerrors.METHOD_NOT_FOUND, "method not found", call.method)
                return jsonrpc.failure(call.id or jsonrpc.NULL, missing)
        return jsonrpc.success(call.id or jsonrpc.NULL, result)

    def _health(self) -> dict[str, object]:
        latest = self.book.last_ledger
        oldest = max(1, latest - _OLDEST)
        return {
            "status": "healthy",
            "latestLedger": latest,
            "latestLedgerCloseTime": str(world.close_of(latest)),
            "oldestLedger": oldest,
            "oldestLedgerCloseTime": str(world.close_of(oldest)),
            "ledgerRetentionWindow": _OLDEST,
        }

    async def _entries(self, keys: Sequence[str]) -> dict[str, object]:
        self.keys += len(keys)
        held = await self._held(keys)
        latest = self.book.last_ledger
        told = [
            {
                "key": key,
                "xdr": held[key],
                "lastModifiedLedgerSeq": latest - 1,
                "liveUntilLedgerSeq": latest + _LIFE_LEDGERS,
            }
            for key in keys
            if key in held
        ]
        return {"entries": told, "latestLedger": latest}

    async def _held(self, keys: Sequence[str]) -> dict[str, str]:
        """Entry by key: the instance, and loans. Keys of other things have none."""
        instance = instance_key(self.book.creditline)
        numbers = [number for key in keys if key != instance and (number := _number(key)) is not None]
        rows = await self.pool.fetch(_LOANS, self.book.creditline, numbers)
        contracts = self.book.traffic.contracts
        found = dict(entries.write(_loan(row), contracts) for row in rows)
        if instance in keys:
            storage = scval.Map([(Symbol("LOANCNT"), U64(self.book.loans))])
            code = ContractInstance(entries.WASM_HASH, storage)
            data = ContractData(contracts[Role.CREDITLINE], INSTANCE_KEY, PERSISTENT, code)
            found[instance] = ledger_entry.write_entry(data)
        return found


def _number(key: str) -> int | None:
    """The loan that the key is of."""
    match ledger_entry.read_key(key).key:
        case ("Loan", _, int(number)):
            return int(number)
    return None


def _loan(row: asyncpg.Record) -> Loan:
    return Loan(
        number=row["number"],
        borrower=scval.Address(row["borrower"]),
        vendor=scval.Address(row["vendor"]),
        total=int(row["total_amount"]),
        guarantee=int(row["guarantee_amount"]),
        remaining=int(row["remaining_balance"]),
        installments=3,
        created_at=int(row["created_at"]),
        status=row["status"],
    )


@asynccontextmanager
async def serve(book: Book) -> AsyncIterator[Node]:
    """The node, on a port of its own, for the length of the block."""
    async with asyncpg.create_pool(book.chain_url, min_size=1, max_size=4) as pool:
        node = Node(book=book, pool=pool)
        async with http_server.serving("/", node.handle) as address:
            node.url = f"{address}/"
            yield node
