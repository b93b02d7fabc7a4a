"""What the tables that are keyed by people and events share."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from sqlalchemy import text

from shared.stepfi.settings import Stepfi
from sweeper.comparison import Case, Comparison
from sweeper.context import Context
from sweeper.digest.match import Ids
from sweeper.model import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """`map_seen`: whether the whole map of scores was ever read, so that who is not in our tables has 0; `map_at`: as of when."""

    now: datetime
    watermark_at: datetime | None
    grace: timedelta
    low_tier: str
    tolerance: Decimal
    map_seen: bool = False
    map_at: str | None = None

    def is_due(self, created_at: datetime | None) -> bool:
        """Whether a row for what was created then is missing by now, and not merely late."""
        if created_at is None:
            return True
        return self.watermark_at is not None and created_at + self.grace < self.watermark_at


TOLERANCE_SETTING = "CHAINTRUE_STEPFI__AMOUNT_TOLERANCE"

_ADDRESS = re.compile(r"[GC][A-Z2-7]{55}")


def is_address(wallet: str | None) -> bool:
    """Whether the chain could know it: of what is no address the chain says nothing, not even that it has nothing."""
    return wallet is not None and _ADDRESS.fullmatch(wallet) is not None


Rule = Callable[[Case, Surroundings], Finding | None]


class ByWallet(Comparison[Surroundings]):
    """What the tables of this file share."""

    def __init__(self, settings: Stepfi) -> None:
        self._settings = settings
        self.grace_seconds = settings.insert_grace_seconds

    async def surroundings(self, context: Context, *, alone: Ids | None) -> Surroundings:  # noqa: ARG002 - the base's signature
        closed_at = context.watermark.closed_at
        statement = text("SELECT max(position) FROM chain.reputation_maps WHERE contract = :contract")
        async with context.chain.connect() as connection:
            map_at = (await connection.execute(statement, {"contract": self._settings.reputation})).scalar_one()
        return Surroundings(
            now=context.now,
            watermark_at=None if closed_at is None else datetime.fromtimestamp(closed_at, UTC),
            grace=timedelta(seconds=self._settings.insert_grace_seconds),
            low_tier=self._settings.low_tier,
            tolerance=self._settings.amount_tolerance,
            map_seen=map_at is not None,
            map_at=map_at,
        )
