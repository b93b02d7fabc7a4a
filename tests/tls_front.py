"""TLS before a server that has none: a front that hands on what it decrypts. `https` before HTTP, `postgres` before PostgreSQL.

The PostgreSQL of the local stack is built without OpenSSL. Its clients cannot tell the difference: the front speaks the first
step of the protocol (SSLRequest), then TLS, and refuses a client without it in the words of a server with `hostssl` alone.
"""

import asyncio
import contextlib
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from urllib.parse import SplitResult, urlsplit

from tests.certificates import Issued

SSL_REQUEST = struct.pack("!II", 8, 80877103)
_REFUSAL = b'SFATAL\0C28000\0Mno pg_hba.conf entry for host "127.0.0.1", no encryption\0\0'
_CHUNK = 65536

Begin = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bool]]
"""What is done with a new connection; False ends it."""


@asynccontextmanager
async def https(url: str, shown: Issued) -> AsyncIterator[str]:
    """The address of what serves at `url` (http), behind TLS with the certificate `shown`."""

    async def begin(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await writer.start_tls(_context(shown))
        return True

    async with _front(urlsplit(url), begin) as port:
        yield urlsplit(url)._replace(scheme="https", netloc=f"127.0.0.1:{port}").geturl()


@asynccontextmanager
async def postgres(url: str, shown: Issued) -> AsyncIterator[str]:
    """The address of the database at `url`, without options, behind TLS with the certificate `shown`."""
    context = _context(shown)
    context.set_alpn_protocols(["postgresql"])

    async def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        asked = await reader.readexactly(len(SSL_REQUEST)) == SSL_REQUEST
        writer.write(b"S" if asked else b"E" + struct.pack("!I", 4 + len(_REFUSAL)) + _REFUSAL)
        await writer.drain()
        if asked:
            await writer.start_tls(context)
        return asked

    async with _front(urlsplit(url), begin) as port:
        user = urlsplit(url).netloc.rpartition("@")[0]
        yield urlsplit(url)._replace(netloc=f"{user}@127.0.0.1:{port}").geturl()


def _context(shown: Issued) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(shown.certificate, shown.key)
    return context


@asynccontextmanager
async def _front(behind: SplitResult, begin: Begin) -> AsyncIterator[int]:
    """The port of the front, whose connections all end with the block."""
    open_now: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            if await begin(reader, writer):
                await _hand_on(reader, writer, behind)
        writer.close()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(serve(reader, writer))
        open_now.add(task)
        task.add_done_callback(open_now.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        left = set(open_now)
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)


async def _hand_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, behind: SplitResult) -> None:
    inner_reader, inner_writer = await asyncio.open_connection(behind.hostname, behind.port)
    try:
        await asyncio.gather(_copy(reader, inner_writer), _copy(inner_reader, writer))
    finally:
        inner_writer.close()
        writer.close()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while chunk := await source.read(_CHUNK):
        target.write(chunk)
        await target.drain()
    target.close()
