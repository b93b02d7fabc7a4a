"""The one place that talks to a node: `post` sends one request of the allowlist and reads one bounded answer."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import aiohttp
from yarl import URL

from shared import errors, tls
from shared.rpc import wire
from shared.rpc.faults import Failed, Fault
from shared.rpc.methods import Method

_CONNECT_SECONDS = 5.0  # a node that does not even accept a connection is not worth the whole deadline
_CHUNK_BYTES = 1 << 16
_HEADERS = {"Content-Type": "application/json", "User-Agent": "chaintrue"}


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer as it came; `retry_after` is the header, `leads_to` where a redirect leads, without path and query."""

    status: int
    retry_after: str | None
    body: bytes
    leads_to: str | None = None


class Transport:
    """Connections to all nodes, kept open between requests. Cookies are kept: some balancers stay on a backend by them."""

    def __init__(self, *, max_body_bytes: int, ca_file: Path | None = None) -> None:
        """`ca_file` names the authorities that are trusted, None those of the system."""
        self._max_body_bytes = max_body_bytes
        self._ca_file = ca_file
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Transport":
        connector = aiohttp.TCPConnector(limit_per_host=16, ssl=self._context())
        self._session = aiohttp.ClientSession(headers=_HEADERS, connector=connector)
        return self

    def _context(self) -> ssl.SSLContext:
        try:
            return tls.client_context(ca_file=self._ca_file)
        except tls.Unusable as error:
            raise errors.SettingError(
                f"CHAINTRUE_RPC__CA_FILE: {error.words}", cure="correct CHAINTRUE_RPC__CA_FILE"
            ) from None

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def post(self, url: str, method: Method, params: wire.Object, *, request_id: int, seconds: float) -> Reply:
        """Send one request and read its answer within `seconds`; raises Failed. `method` must be a member of the allowlist."""
        if not isinstance(method, Method):
            raise TypeError("only a member of Method can be sent")
        if self._session is None:
            raise RuntimeError("the RPC client is used outside of its `async with`")
        limits = aiohttp.ClientTimeout(total=seconds, sock_connect=min(_CONNECT_SECONDS, seconds))
        body = wire.request(request_id, method, params)
        try:
            # A redirect is not followed: it would turn the request into a GET, or carry a key to another host.
            async with self._session.post(url, data=body, timeout=limits, allow_redirects=False) as response:
                return Reply(
                    response.status,
                    response.headers.get("Retry-After"),
                    await self._read(response),
                    _leads_to(response.headers.get("Location")) if 300 <= response.status < 400 else None,
                )
        except aiohttp.ConnectionTimeoutError:
            raise Failed(Fault.UNREACHABLE, "no connection in time") from None
        except aiohttp.ClientConnectorCertificateError as error:
            raise Failed(Fault.UNTRUSTED, _distrust(error)) from None
        except TimeoutError:
            raise Failed(Fault.TIMEOUT, f"no whole answer within {seconds:.3g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise Failed(Fault.UNREACHABLE, _words(error)) from None

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        too_large = Failed(Fault.TOO_LARGE, f"an answer of more than {self._max_body_bytes} bytes")
        if (response.content_length or 0) > self._max_body_bytes:
            raise too_large
        parts = bytearray()
        async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
            parts += chunk
            if len(parts) > self._max_body_bytes:
                raise too_large
        return bytes(parts)


def _leads_to(location: str | None) -> str | None:
    """Return scheme, host and port of a redirect: path and query may hold a key."""
    try:
        return str(URL(location).origin()) if location else None
    except ValueError:  # relative, or no address at all
        return None


def _distrust(error: aiohttp.ClientConnectorCertificateError) -> str:
    cause = error.certificate_error
    why = tls.distrust(cause) if isinstance(cause, ssl.SSLCertVerificationError) else type(cause).__name__
    return f"its certificate is not trusted ({why}); CHAINTRUE_RPC__CA_FILE names whom we trust"


def _words(error: aiohttp.ClientError | OSError) -> str:
    """The error without the URL, which some of aiohttp's own messages show."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    detail = cause.strerror if isinstance(cause, OSError) and cause.strerror else type(cause).__name__
    return f"no answer: {detail}"
