"""A run in `recon.runs`, for tests that need one to stand on."""

from datetime import UTC, datetime
from urllib.parse import quote
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncEngine

from shared import database
from sweeper import lock, runs
from tests.integration.stream_parts import database_settings


async def begun(engine: AsyncEngine, *, mode: str = "repair") -> UUID:
    """As a session records it. The lock is given back at once; the run stays `running` until the next one begins."""
    run_id = uuid4()
    async with engine.connect() as connection:
        driver = database.raw(connection)  # the engine's own name has no password in it
        (host, port), who = driver._addr, driver._params
    address = f"postgresql://{quote(who.user)}:{quote(who.password, safe='')}@{host}:{port}/{quote(who.database)}"
    async with lock.alone(database_settings(address)) as held:
        await runs.begin(held, run_id=run_id, mode=mode, extent="full", started_at=datetime.now(UTC))
    return run_id
