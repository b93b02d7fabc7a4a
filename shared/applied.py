"""Waiting for the worker: what was written to the log counts for a query once it is in the tables."""

import asyncio

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from shared import chain_tables as tables

FIRST_PAUSE_SECONDS = 0.02
LONGEST_PAUSE_SECONDS = 1.0


async def wait(engine: AsyncEngine, *, partition: int, offset: int, seconds: float) -> bool:
    """Whether the record at the offset was applied in time."""
    offsets = tables.offsets.c
    query = select(offsets.next_offset).where(offsets.partition == partition)
    pause = FIRST_PAUSE_SECONDS
    try:
        async with asyncio.timeout(seconds):
            while True:
                async with engine.connect() as connection:
                    reached = (await connection.execute(query)).scalar_one_or_none()
                if reached is not None and reached > offset:
                    return True
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
    except TimeoutError:
        return False
