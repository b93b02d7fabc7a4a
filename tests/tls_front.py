"""A PostgreSQL that asks for TLS: a front that answers the request for it as the server does, and hands on what it decrypts.

The binaries of the local stack are built without OpenSSL. The client cannot tell the difference: the front speaks the first step
of the protocol (SSLRequest), then TLS, and refuses a client without it in the words of a server with `hostssl` alone.
"""

import asyncio
import contextlib
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from tests.certificates import Issued

SSL_REQUEST = struct.pack("!II", 8, 80877103)
_REFUSAL = b'SFATAL\0C28000\0Mno pg_hba.conf entry for host "127.0.0.1", no encryption\0\0'
_CHUNK = 65536


@asynccontextmanager
async def postgres(url: str, shown: Issued) -> AsyncIterator[str]:
    """The address of the database at `url` behind TLS with the certificate `shown`, without options."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(shown.certificate, shown.key)
    context.set_alpn_protocols(["postgresql"])
    behind = urlsplit(url)
    open_now: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            open_now.add(task)
            task.add_done_callback(open_now.discard)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await _serve(reader, writer, context, host=behind.hostname or "", port=behind.port or 5432)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield behind._replace(netloc=f"{behind.netloc.rpartition('@')[0]}@127.0.0.1:{port}").geturl()
    finally:
        server.close()
        for task in set(open_now):
            task.cancel()
        if open_now:
            await asyncio.wait(set(open_now))


async def _serve(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext, *, host: str, port: int
) -> None:
    if await reader.readexactly(len(SSL_REQUEST)) != SSL_REQUEST:
        writer.write(b"E" + struct.pack("!I", 4 + len(_REFUSAL)) + _REFUSAL)
        await writer.drain()
        return
    writer.write(b"S")
    await writer.drain()
    await writer.start_tls(context)
    inner_reader, inner_writer = await asyncio.open_connection(host, port)
    try:
        await asyncio.gather(_copy(reader, inner_writer), _copy(inner_reader, writer))
    finally:
        inner_writer.close()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while chunk := await source.read(_CHUNK):
        target.write(chunk)
        await target.drain()
    target.close()
