"""A recorded history folded into `chain`, and in the same database an application whose rows agree with it; no chain to ask."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, cast

import asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine

import migrations
from deploy.demo.app import chain, chain_truth, rows, schema
from shared import coverage_store, frames, position, rpc
from shared import database as databases
from shared.settings import Sweep
from shared.stepfi.settings import Stepfi
from streams.apply import Applier, Record
from sweeper import app_access, app_schema, runs
from sweeper.comparison import Comparison
from sweeper.context import Context, Subject
from sweeper.stepfi.subjects import subjects
from tests import stepfi_frames
from tests.integration.stream_parts import database_settings

VECTORS = Path(__file__).parents[1] / "vectors"


@cache
def truth(name: str) -> chain.ChainTruth:
    return chain_truth.truth_at(VECTORS / name)


@cache
def history(name: str) -> stepfi_frames.History:
    return stepfi_frames.History(name)


@dataclass
class Mirror:
    """Both databases in one. `app`: a connection of the application's own."""

    name: str
    engine: AsyncEngine
    app: asyncpg.Connection
    settings: Stepfi

    def subject(self, table: str, **settings: Any) -> Comparison[Any]:
        found = {one.table: one for one in subjects(self.settings.model_copy(update=settings))}
        return cast("Comparison[Any]", found[table])

    async def context(self, **settings: Any) -> Context:
        """What a sweep is given, but for the chain; `settings` of the section SWEEP."""
        async with self.engine.connect() as connection:
            watermark = await coverage_store.watermark(connection, scope=stepfi_frames.SCOPE)
        assert watermark is not None
        known: dict[str, Subject] = {one.table: one for one in subjects(self.settings)}
        async with app_access.transaction(self.engine) as connection:
            tables = {name: await app_schema.read_table(connection, name) for name in known}
        return Context(
            chain=self.engine,
            app=self.engine,
            rpc=cast("rpc.Client", None),
            passphrase=truth(self.name).passphrase,
            scope=stepfi_frames.SCOPE,
            settings=Sweep(**settings),
            lock=cast("runs.Alone", None),
            watermark=watermark,
            now=datetime(2027, 1, 1, tzinfo=UTC),
            tables={name: table for name, table in tables.items() if table is not None},
            subjects=known,
        )


@asynccontextmanager
async def mirror(url: str, name: str) -> AsyncIterator[Mirror]:
    """The history `name` of tests/vectors, to its end."""
    told = history(name)
    page = replace(
        told.page(told.events(), after=position.end_of(told.start - 1), through=position.end_of(told.last)),
        closed_at=int(truth(name).closed_at.timestamp()) + 86_400,  # so that nothing is too new to be missing
    )
    batch: list[frames.Frame] = [told.origin(), page, told.observation(told.last)]
    async with databases.connect(database_settings(url), section="database") as engine:
        await migrations.upgrade(engine)
        await schema.create(url)
        live = Applier(engine=engine, applications=[told.application], network=told.network)
        await live.apply(0, [Record(offset, frame) for offset, frame in enumerate(map(frames.encode, batch))])
        app = await asyncpg.connect(url)
        try:
            await rows.insert(app, rows.build(truth(name)))
            yield Mirror(name, engine, app, told.application.settings)
        finally:
            await app.close()
