"""A node over real HTTP whose every answer is scripted: the edge of the client's logic, not a stand-in for the chain."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeAlias

import orjson
from aiohttp import web
from aiohttp.test_utils import TestServer

Object: TypeAlias = dict[str, Any]

Tell: TypeAlias = Callable[[Object], Object]

PASSPHRASE = "Test SDF Network ; September 2015"
CONTRACT = "CDLZFC3SYJYDZT7K67VZ75HPJVIEUVNIXF47ZG2FB2RMQQVU2HHGCYSC"
OTHER_CONTRACT = "CAVHSSTQL7D6D7Q6M43QFJVF245IAORTQTG3TE4UJCTM4MSIF3GN37P3"
TX_HASH = "ca1fa9350b8dc0cc2853a11086c2268cb3edcd6540a3b26a9de4e3a5c4b1a111"
KEY = "AAAAAAAAAAADH9dN9xlsMy1D+fBv2hDoiAJ7X3UYtuUT4ZOw2i/LYw=="
OTHER_KEY = "AAAABgAAAAHvIXyuu6xt+PmCPcwtmAigUJaeBNF9xkyVnQ367R2tDgAAABAAAAABAAAAAQ=="


def at(ledger: int, order: int = 1, index: int = 0) -> str:
    return f"{ledger << 32 | order << 12:019d}-{index:010d}"


def end(ledger: int) -> str:
    return f"{(ledger << 32) + 2**32 - 1:019d}-{2**32 - 1:010d}"


def event(event_id: str, **changes: object) -> Object:
    plain = {
        "type": "contract",
        "ledger": int(event_id[:19]) >> 32,
        "ledgerClosedAt": "2026-07-05T00:00:00Z",
        "contractId": CONTRACT,
        "id": event_id,
        "operationIndex": 0,
        "transactionIndex": 1,
        "txHash": TX_HASH,
        "topic": ["AAAADwAAAANmZWUA"],
        "value": "AAAAAQ==",
    }
    return {name: value for name, value in (plain | changes).items() if value is not ABSENT}


ABSENT = object()


def error(code: int, message: str) -> Object:
    return {"error": {"code": code, "message": message}}


class FaultyNode:
    """Holds ledgers `oldest` to `latest`. `script[method]` is a list of answers that are given before the honest ones.

    An answer is a dict (members of the JSON-RPC object, `result` or `error`), bytes (the body), an HTTP response, or a function
    of the request that returns one of these or awaits something first.
    """

    def __init__(self, *, oldest: int = 100, latest: int = 200) -> None:
        self.oldest = oldest
        self.latest = latest
        self.passphrase = PASSPHRASE
        self.version = "28.0.1-4c94485e"
        self.entries: dict[str, str] = {}
        self.script: dict[str, list[Any]] = {}
        self.always: Object = {}
        self.asked: Counter[str] = Counter()
        self.requests: list[Object] = []
        self.times: list[float] = []
        app = web.Application(client_max_size=1 << 24)
        app.router.add_post("/{path:.*}", self._answer)
        self.server = TestServer(app)

    async def start(self) -> None:
        await self.server.start_server()

    async def close(self) -> None:
        await self.server.close()

    @property
    def url(self) -> str:
        return f"http://{self.server.host}:{self.server.port}"

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        asked = orjson.loads(await request.read())
        method = asked["method"]
        self.asked[method] += 1
        self.requests.append(asked)
        self.times.append(asyncio.get_running_loop().time())
        queue = self.script.get(method)
        answer = queue.pop(0) if queue else self.always.get(method, self.honest)
        while callable(answer):
            answer = answer(asked)
            if asyncio.iscoroutine(answer):
                answer = await answer
        if isinstance(answer, web.StreamResponse):
            return answer
        if isinstance(answer, bytes):
            return web.Response(body=answer, content_type="application/json")
        body = orjson.dumps({"jsonrpc": "2.0", "id": asked["id"], **answer})
        return web.Response(body=body, content_type="application/json")

    def honest(self, asked: Object) -> Object:
        tell: dict[str, Tell] = {
            "getHealth": self._health,
            "getNetwork": lambda _: {"passphrase": self.passphrase, "protocolVersion": 28},
            "getVersionInfo": lambda _: {"version": self.version, "protocolVersion": 28},
            "getEvents": self._events,
            "getLedgerEntries": self._entries,
            "getTransaction": self._transaction,
        }
        params = asked.get("params", {})
        if asked["method"] == "getEvents" and not self.oldest <= _first(params) <= self.latest:
            return error(-32600, f"startLedger must be within the ledger range: {self.oldest} - {self.latest}")
        return {"result": tell[asked["method"]](params)}

    def range(self) -> Object:
        return {
            "latestLedger": self.latest,
            "latestLedgerCloseTime": str(1_784_000_000 + 5 * self.latest),
            "oldestLedger": self.oldest,
            "oldestLedgerCloseTime": str(1_784_000_000 + 5 * self.oldest),
        }

    def _health(self, _: Object) -> Object:
        return {"status": "healthy", "ledgerRetentionWindow": 120_960, **self.range()}

    def _events(self, _: Object) -> Object:
        return {"events": [], "cursor": end(self.latest), **self.range()}

    def _entries(self, params: Object) -> Object:
        held = [{"key": key, "xdr": xdr, "lastModifiedLedgerSeq": 1} for key, xdr in self.entries.items()]
        return {"entries": [entry for entry in held if entry["key"] in params["keys"]], "latestLedger": self.latest}

    def _transaction(self, params: Object) -> Object:
        zero = {"ledger": 0, "createdAt": "0", "applicationOrder": 0, "feeBump": False, "events": {}}
        return {"status": "NOT_FOUND", "txHash": params["hash"], **zero, **self.range()}


def _first(params: Object) -> int:
    cursor = params["pagination"].get("cursor")
    return int(cursor[:19]) >> 32 if cursor else int(params["startLedger"])
