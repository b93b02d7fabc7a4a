"""A webhook's other end: a real HTTP server that keeps what it gets and answers as it is told."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

from tests import http_server


@dataclass
class Receiver:
    """`answers`: the statuses of the first deliveries, then 204. `location`: where redirects lead."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    location: str = ""
    got: list[tuple[Mapping[str, str], bytes]] = field(default_factory=list)

    @property
    def bodies(self) -> list[Any]:
        return [orjson.loads(body) for _, body in self.got]

    async def take(self, request: web.Request) -> web.Response:
        self.got.append((request.headers.copy(), await request.read()))
        status = self.answers.pop(0) if self.answers else 204
        return web.Response(status=status, headers={"Location": self.location} if self.location else None)


@asynccontextmanager
async def listening(*answers: int, location: str = "") -> AsyncIterator[Receiver]:
    """A receiver at a port of its own."""
    receiver = Receiver(answers=list(answers), location=location)
    async with http_server.serving("/{path:.*}", receiver.take) as address:
        receiver.url = f"{address}/hooks/T0ken-that-nobody-sees"
        yield receiver
