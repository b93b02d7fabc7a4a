"""A TCP proxy before PostgreSQL that loses the answer to a COMMIT: the client is cut off, the server commits a moment later."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from sqlalchemy import make_url


@dataclass
class Proxy:
    """`cuts`: how many COMMITs of transactions that inserted lose their client; each reaches the server after `delay` seconds."""

    host: str
    port: int
    cuts: int = 1
    delay: float = 1.0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    committed: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.host.startswith("/"):
            upstream = await asyncio.open_unix_connection(f"{self.host}/.s.PGSQL.{self.port}")
        else:
            upstream = await asyncio.open_connection(self.host, self.port)
        down = asyncio.create_task(_copy(upstream[0], writer))
        self.tasks.add(down)
        inserted = False
        try:
            while data := await reader.read(1 << 16):
                inserted |= b"INSERT INTO" in data
                if inserted and b"COMMIT" in data and self.cuts:
                    self.cuts -= 1
                    writer.transport.abort()
                    await asyncio.sleep(self.delay)
                    upstream[1].write(data)
                    await upstream[1].drain()
                    await asyncio.sleep(0.5)
                    self.committed.set()
                    return
                inserted &= b"COMMIT" not in data
                upstream[1].write(data)
                await upstream[1].drain()
        except ConnectionError:
            pass
        finally:
            down.cancel()
            upstream[1].close()
            writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


@asynccontextmanager
async def before(url: str, *, delay: float = 1.0) -> AsyncIterator[tuple[str, Proxy]]:
    """The address of the same database through a proxy, and the proxy."""
    parts = make_url(url)
    host = parts.host or str(parts.query["host"])
    proxy = Proxy(host, int(str(parts.port or parts.query.get("port") or 5432)), delay=delay)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        address = parts.set(host="127.0.0.1", port=port, query={"sslmode": "disable"})
        yield address.render_as_string(hide_password=False), proxy
    for task in proxy.tasks:
        task.cancel()
