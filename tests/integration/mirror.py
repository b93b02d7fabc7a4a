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
from sweeper import app_access, app_schema, lock
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
    live: Applier
    written: int = 0
    through: int | None = None

    async def write(self, *batch: frames.Frame) -> None:
        """Apply the next frames of the log."""
        records = [Record(offset, frames.encode(one)) for offset, one in enumerate(batch, start=self.written)]
        await self.live.apply(0, records)
        self.written += len(records)

    async def follow(self, last: int) -> None:
        """All events up to the ledger, and all entries as of then."""
        told = history(self.name)
        begun = told.start - 1 if self.through is None else self.through
        events = [one for one in told.events() if begun < position.ledger_of(one.id) <= last]
        page = told.page(events, after=position.end_of(begun), through=position.end_of(last))
        # Closed a day behind the end, so that nothing is too new to be missing.
        closed_at = int(truth(self.name).closed_at.timestamp()) + 86_400
        await self.write(replace(page, closed_at=closed_at), told.observation(last))
        self.through = last

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
            lock=cast("lock.Alone", None),
            watermark=watermark,
            now=datetime(2027, 1, 1, tzinfo=UTC),
            tables={name: table for name, table in tables.items() if table is not None},
            subjects=known,
        )


@asynccontextmanager
async def mirror(url: str, name: str, *, until: int | None = None) -> AsyncIterator[Mirror]:
    """The history `name` of tests/vectors to the ledger `until` (its end), under an application that mirrors its end."""
    told = history(name)
    last = told.last if until is None else until
    async with databases.connect(database_settings(url), section="database") as engine:
        await migrations.upgrade(engine)
        await schema.create(url)
        live = Applier(engine=engine, applications=[told.application], network=told.network)
        app = await asyncpg.connect(url)
        try:
            await rows.insert(app, rows.build(truth(name)))
            found = Mirror(name, engine, app, told.application.settings, live)
            await found.write(told.origin())
            await found.follow(last)
            yield found
        finally:
            await app.close()
