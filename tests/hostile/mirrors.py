"""A mirror for each attack, copied from one that is folded once: a copy takes a tenth of the time."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from deploy import stack
from shared import database as databases
from streams.apply import Applier
from tests.integration.mirror import Mirror, history, mirror
from tests.integration.stream_parts import database_settings

HISTORY = "random-1.jsonl.gz"
TEMPLATE = "hostile_mirror"


async def make_template(postgres: stack.Databases) -> None:
    async with mirror(await postgres.create_database(TEMPLATE), HISTORY):
        pass


@asynccontextmanager
async def copied(postgres: stack.Databases) -> AsyncIterator[Mirror]:
    """The end of the history, in a database of its own."""
    name = f"hostile_{uuid.uuid4().hex}"
    admin = await asyncpg.connect(postgres.admin_url)
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    await admin.close()
    url, told = postgres.url(name), history(HISTORY)
    async with databases.connect(database_settings(url), section="database") as engine:
        live = Applier(engine=engine, applications=[told.application], network=told.network)
        app = await asyncpg.connect(url)
        try:
            yield Mirror(HISTORY, engine, app, told.application.settings, live, written=3, through=told.last)
        finally:
            await app.close()
    await postgres.drop_database(name)
