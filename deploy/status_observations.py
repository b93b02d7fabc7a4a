"""Ledger entries that the tables ask for and nobody observed yet: how many, since when, and whether anybody works on them."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from shared import position
from streams.application import Application

STALE_LEDGERS = 24
"""Two minutes. The observer takes seconds near the tip, so a wish that is older waits for something else."""
LOOK_SECONDS = 5.0
"""For so long the oldest wishes are watched: one that is granted meanwhile shows that the observer runs."""
POLL_SECONDS = 0.5
LIMIT = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Observations:
    """`waiting` is LIMIT at most; `stuck` says that old wishes wait and none was granted while we looked."""

    waiting: int
    oldest_ledger: int | None
    stuck: bool

    def to_json(self) -> dict[str, Any]:
        return {"waiting": self.waiting, "oldest_ledger": self.oldest_ledger}

    @property
    def trouble(self) -> str | None:
        if not self.stuck:
            return None
        count = "1 ledger entry waits" if self.waiting == 1 else f"{self.waiting} ledger entries wait"
        return (
            f"{count} for an observation, the oldest since ledger {self.oldest_ledger}, and the observer does not run: "
            "start `chaintrue stream`, or see in its log why"
        )


async def look(engine: AsyncEngine, application: Application, *, watermark: int | None) -> Observations:
    """Return what waits; where something waits for long, watch for LOOK_SECONDS whether it is worked on."""
    asked = await _read(engine, application)
    stale = _stale(asked, watermark)
    until = asyncio.get_running_loop().time() + LOOK_SECONDS
    while stale and asyncio.get_running_loop().time() < until:
        await asyncio.sleep(POLL_SECONDS)
        asked = await _read(engine, application)
        if not stale <= asked.keys():
            stale = set()
    oldest = min(asked.values(), default=None)
    return Observations(
        waiting=len(asked),
        oldest_ledger=None if oldest is None else position.ledger_of(oldest),
        stuck=bool(stale),
    )


def _stale(asked: Mapping[str, str], watermark: int | None) -> set[str]:
    if watermark is None or watermark <= STALE_LEDGERS:
        return set()
    edge = position.end_of(watermark - STALE_LEDGERS)
    return {key for key, at in asked.items() if at <= edge}


async def _read(engine: AsyncEngine, application: Application) -> dict[str, str]:
    async with engine.connect() as connection:
        return await application.waiting(connection, limit=LIMIT)
