"""A run in `recon.runs`, for tests that need one to stand on."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncEngine

from sweeper import lock, runs
from tests.integration.stream_parts import database_settings


async def begun(engine: AsyncEngine, *, mode: str = "repair") -> UUID:
    """As a session records it. The lock is given back at once; the run stays `running` until the next one begins."""
    run_id = uuid4()
    address = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    async with lock.alone(database_settings(address)) as held:
        await runs.begin(held, run_id=run_id, mode=mode, extent="full", started_at=datetime.now(UTC))
    return run_id
