"""How much of the application's database a sweep takes: work, then rest, so that work is a set share of the time."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(kw_only=True)
class Pace:
    """One database's. `share` of the time it may be kept at work for us, above 0 and at most 1.

    busy_seconds, rested_seconds   so far
    """

    share: float = 1.0
    busy_seconds: float = 0.0
    rested_seconds: float = 0.0
    _due: float = field(default=0.0, repr=False)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """A piece of work, after the rest that the pieces before it ask for."""
        if self._due > 0:
            begun = time.monotonic()
            await asyncio.sleep(self._due)
            rested = time.monotonic() - begun
            self._due -= rested
            self.rested_seconds += rested
        begun = time.monotonic()
        try:
            yield
        finally:
            worked = time.monotonic() - begun
            self.busy_seconds += worked
            self._due += worked * (1 / self.share - 1)

    def to_json(self) -> dict[str, float]:
        """How the time was spent, for the report."""
        together = self.busy_seconds + self.rested_seconds
        return {
            "busy_seconds": round(self.busy_seconds, 3),
            "rested_seconds": round(self.rested_seconds, 3),
            "share": round(self.busy_seconds / together, 3) if together else 0.0,
            "allowed_share": self.share,
        }
