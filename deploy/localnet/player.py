"""Plays a recording: the tip moves, at once or at a pace, and never back."""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from deploy.localnet import chain, history
from shared import errors

_TICK_SECONDS = 0.05


class Player:
    """The newest ledger of the node.

    `pace` is in ledgers a second of wall clock, 0 stands still; with `skip_empty` only ledgers that hold transactions count, and
    the empty ones between them close at once. Playing stops at the recording's last ledger; `advance_to` may go beyond it, into
    empty ledgers.
    """

    def __init__(self, view: chain.View, *, pace: float = 0.0, skip_empty: bool = False) -> None:
        if not math.isfinite(pace) or pace < 0:
            raise errors.SettingError(f"a pace of {pace} ledgers a second cannot be played")
        self._view = view
        self._pace = pace
        self._skip_empty = skip_empty
        self._moved = asyncio.Condition()

    @property
    def view(self) -> chain.View:
        """The node as it is now."""
        return self._view

    async def advance_to(self, ledger: int) -> None:
        """Close all ledgers up to this one. Raises ValueError for one that closed already."""
        if ledger < self._view.since or ledger < (self._view.tip or 0):
            raise ValueError(f"the tip is at {self._view.tip or self._view.since} and does not move back to {ledger}")
        await self._move(ledger)

    def trim(self, ledger: int) -> None:
        """Hold nothing before this ledger any more, the newest at least."""
        view = self._view
        if view.tip is not None:
            self._view = replace(view, since=max(view.since, min(ledger, view.tip)))

    async def wait_for(self, ledger: int) -> None:
        """Return once the tip is at the ledger or beyond."""
        async with self._moved:
            await self._moved.wait_for(lambda: self._view.tip is not None and self._view.tip >= ledger)

    async def _move(self, ledger: int) -> None:
        async with self._moved:
            # Player and hand may both have been waiting here: the one that is behind by now has nothing to do.
            if ledger > (self._view.tip or 0):
                self._view = self._view.at(ledger)
                self._moved.notify_all()

    async def play(self) -> None:
        """Move the tip at the pace, until the recording ends."""
        if not self._pace:
            return
        clock = asyncio.get_running_loop().time
        last, due = clock(), 0.0
        while (self._view.tip or 0) < self._view.history.last_ledger:
            await asyncio.sleep(max(_TICK_SECONDS, (1.0 - due) / self._pace if due < 1.0 else 0.0))
            now = clock()
            due, last = due + (now - last) * self._pace, now
            steps = int(due)
            due -= steps
            if steps:
                await self._move(self._target(steps))

    def _target(self, steps: int) -> int:
        recording: history.History = self._view.history
        tip = self._view.tip or self._view.since - 1
        if not self._skip_empty:
            return max(tip, min(tip + steps, recording.last_ledger))
        for _ in range(steps):
            following = recording.next_busy_ledger(tip)
            if following is None:
                break
            tip = following
        return tip


@asynccontextmanager
async def playing(player: Player) -> AsyncIterator[None]:
    """Plays in the background as long as the block runs."""
    task = asyncio.create_task(player.play(), name="localnet-player")
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
