"""A localnet that runs: recording, player and server together."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from aiohttp import web

from deploy.localnet import chain, faults, headers, player, server
from deploy.localnet.history import Header, History
from shared import errors

STORY = Path(__file__).parent / "histories" / "story.jsonl.gz"


class Localnet:
    """What `serve` gives: the address, the history's header, and the hand on the tip."""

    def __init__(self, *, url: str, player: player.Player, server: server.Server) -> None:
        self.url = url
        self._player = player
        self._server = server

    @property
    def history(self) -> Header:
        """The recording's header: contracts, accounts, networkPassphrase, startLedger, …"""
        return self._player.view.history.header

    @property
    def recording(self) -> History:
        return self._player.view.history

    @property
    def latest_ledger(self) -> int:
        """The tip; 0 as long as no ledger closed."""
        return self._player.view.tip or 0

    @property
    def oldest_ledger(self) -> int:
        """The oldest ledger still held; 0 as long as no ledger closed."""
        return self._player.view.range().oldest if self._player.view.tip is not None else 0

    @property
    def requests(self) -> Counter[str]:
        """How often each method was called, unknown ones included."""
        return self._server.requests

    @property
    def fault(self) -> faults.Hook | None:
        """Asked about each request, by method name; may be set at any time."""
        return self._server.fault

    @fault.setter
    def fault(self, hook: faults.Hook | None) -> None:
        self._server.fault = hook

    async def advance_to(self, ledger: int) -> None:
        """Close all ledgers up to this one, at once. Raises ValueError for one that closed already."""
        await self._player.advance_to(ledger)

    async def wait_for(self, ledger: int) -> None:
        """Return once the tip is at the ledger or beyond."""
        await self._player.wait_for(ledger)


Serving = AbstractAsyncContextManager[Localnet]


@asynccontextmanager
async def serve(
    *,
    history: Path = STORY,
    host: str = "127.0.0.1",
    port: int = 0,
    tip: int | None = None,
    since: int | None = None,
    retention: int | None = chain.DEFAULT_RETENTION,
    pace: float = 0.0,
    skip_empty: bool = False,
    clock: Callable[[], float] | None = None,
    build: chain.Build | None = None,
    fault: faults.Hook | None = None,
) -> AsyncIterator[Localnet]:
    """Serve a recording as a Stellar RPC node would.

    `tip` is the newest ledger at the start: by default the recording's last one, or its first if it is to be played; 0 is a node
    that has no ledger yet. `since` is the first ledger that the node took in (default: the recording's first), `retention` how
    many ledgers it keeps (None: all). `pace` and `skip_empty` are the player's. `clock` makes the node unhealthy when it says
    that the tip is too old; without one it is always healthy. `port` 0 takes a free one.

    Raises SettingError for a file that is no recording, a tip before the first ledger, or an address that cannot be bound.
    """
    recording = await asyncio.to_thread(_opened, history)
    with recording:
        first = recording.first_ledger if since is None else since
        start = (first if pace else recording.last_ledger) if tip is None else tip
        if start and start < first:
            raise errors.SettingError(f"the history begins at ledger {first}, the tip cannot be {start}")
        keeps = retention if retention is not None else 1 << 32
        if keeps < 1:
            raise errors.SettingError(f"a node cannot keep {keeps} ledgers")
        view = chain.View(
            history=recording,
            headers=headers.Chain(recording, since=first),
            tip=start or None,
            since=first,
            retention=keeps,
            clock=clock,
            build=build or chain.Build(),
        )
        moving = player.Player(view, pace=pace, skip_empty=skip_empty)
        answering = server.Server(lambda: moving.view, trim=moving.trim, fault=fault)
        async with _listening(answering.application(), host, port) as url, player.playing(moving):
            yield Localnet(url=url, player=moving, server=answering)


def _opened(path: Path) -> History:
    return History(path)


@asynccontextmanager
async def _listening(application: web.Application, host: str, port: int) -> AsyncIterator[str]:
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise errors.SettingError(
                f"{host}:{port} cannot be bound: {error}", cure="Name a free port, or 0."
            ) from error
        bound = runner.addresses[0][1]
        yield f"http://{host}:{bound}"
    finally:
        await runner.cleanup()
