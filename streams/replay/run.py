"""A replay in its order: load, fold, follow, compare, and exchange if wanted."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared import chain_tables, database, kafka, same_log
from shared.chain_schema import placed
from shared.chain_tables import SCHEMA
from shared.settings import EngineSettings
from streams import topic
from streams.application import Application
from streams.apply import Applier
from streams.replay import base as bases
from streams.replay import exchange, shadow
from streams.replay.build import Build, Say, bulk_tables, folded_tables
from streams.replay.compare import Comparison
from streams.replay.follow import Applying, Follower, live_offsets
from streams.replay.outcome import Outcome
from streams.replay.shadow import REPLACED, SHADOW
from streams.replay.source import Source, check_extent
from streams.replay.stopping import stopped_is_stopped

STATEMENT_SECONDS = 12 * 3600
"""An index over a long history takes its time. Ctrl-C ends the statement with the command."""
DROP_SECONDS = 4.0

_SESSION = {
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "work_mem": "64MB",
    "maintenance_work_mem": "256MB",
    "synchronous_commit": "off",  # until the exchange nothing has to outlive a crash
    "tcp_keepalives_idle": "60",
}


async def run(
    settings: EngineSettings,
    applications: Sequence[Application],
    *,
    base: str | None = None,
    swap: bool = False,
    on_progress: Say = lambda _: None,
) -> Outcome:
    """Rebuild the tables, compare them with the live ones, and with `swap` put them in their place.

    `base` names a schema that holds the state before the first record of the topic. Raises AlreadyRunning beside another
    replay, TopicInvalid where the log is not whole, SettingError for a base that does not fit, ReplayRefused for a swap that
    cannot be; the live tables are then as they were.
    """
    settings.require("network.passphrase", "kafka.bootstrap_servers", "database.url")
    await topic.verify(settings.kafka)
    async with AsyncExitStack() as stack:
        stack.enter_context(stopped_is_stopped())
        engine = await stack.enter_async_context(_sessions(settings))
        connection = await stack.enter_async_context(exchange.alone(engine))
        if swap:
            await exchange.refuse_attached(engine)
        client = await stack.enter_async_context(kafka.consumer(settings.kafka))
        this = _Replay(settings, applications, engine, Source(client, settings.kafka), say=on_progress)
        try:
            return await this.run(connection, base=base, swap=swap)
        finally:
            await _clean(engine)


@asynccontextmanager
async def _sessions(settings: EngineSettings) -> AsyncIterator[AsyncEngine]:
    """Sessions as a replay needs them, in the role that owns the tables: what is exchanged has to belong to it too."""
    async with database.connect(settings.database, section="database") as engine, engine.connect() as connection:
        row = await connection.execute(
            text("SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = :name"), {"name": SCHEMA}
        )
        owner = row.scalar_one()
    async with database.connect(
        settings.database, section="database", statement_seconds=STATEMENT_SECONDS, session=_SESSION | {"role": owner}
    ) as engine:
        yield engine


async def _clean(engine: AsyncEngine) -> None:
    """Leave nothing behind; what cannot be dropped now is dropped by the next replay."""
    with suppress(DBAPIError, OSError, TimeoutError):
        async with asyncio.timeout(DROP_SECONDS):
            await exchange.drop_rest(engine)


class _Replay:
    def __init__(
        self,
        settings: EngineSettings,
        applications: Sequence[Application],
        engine: AsyncEngine,
        source: Source,
        *,
        say: Say,
    ) -> None:
        self._kafka = settings.kafka
        self._network = settings.network.passphrase or ""
        self._applications = applications
        self._engine = engine
        self._shadow = placed(engine, SHADOW)
        self._source = source
        self._say = say

    async def run(self, connection: AsyncConnection, *, base: str | None, swap: bool) -> Outcome:
        """`connection` is the session that holds the lock of the replays."""
        start = time.monotonic()
        live, began_at = await self._live()
        starts = {} if base is None else await bases.check(self._engine, base, live=live)
        await self._check_log(live, began_at, starts)
        async with self._shadow.begin() as fresh:
            await shadow.create(fresh, bulk=bulk_tables(self._applications))
        async with AsyncExitStack() as stack:
            build = None
            if base is None:
                building = Build.begin(
                    self._shadow, applications=self._applications, network=self._network, say=self._say
                )
                build = await stack.enter_async_context(building)
            follower = Follower(await self._take(base, starts) if build is None else build.loader, self._source)
            await self._follow(follower)
            comparison = await self._compare(connection, follower, build)
            if build is not None and swap:
                await build.complete()
        notes = [
            f"{name} is detached from the live facts: what it holds was not compared"
            for name in await comparison.detached()
        ]
        offsets, records, events = follower.standing, follower.records, follower.events
        if swap:
            later = Follower(self._applying(offsets), self._source)
            notes += await self._exchange(connection, later)
            records, events = records + later.records, events + later.events
        return Outcome(
            offsets=offsets,
            records=records,
            events=events,
            seconds=time.monotonic() - start,
            tables=tuple(sorted(comparison.found, key=lambda table: table.table)),
            swapped=swap,
            notes=tuple(notes),
        )

    async def _live(self) -> tuple[dict[int, int], dict[int, int | None]]:
        """The live tables' offsets, and when their logs began (unix seconds), by partition."""
        scopes = chain_tables.scopes.c
        async with self._engine.connect() as connection:
            offsets = await live_offsets(connection)
            rows = await connection.execute(select(scopes.partition, scopes.began_at))
            return offsets, {row.partition: row.began_at for row in rows}

    async def _check_log(
        self, live: Mapping[int, int], began_at: Mapping[int, int | None], starts: Mapping[int, int]
    ) -> None:
        """The log holds what is to be replayed, and is the one that the live tables were filled from."""
        topic_name = self._kafka.topic
        for partition, extent in (await self._source.extents(live)).items():
            start, stop = starts.get(partition), live[partition]
            check_extent(extent, partition=partition, base=start, stop=stop, topic=topic_name)
            if stop and extent.begin == 0:
                async for first, *_ in self._source.batches(partition, 0, 1):
                    if first.at is not None:
                        same_log.check_began(began_at.get(partition), first.at, topic=topic_name)

    async def _take(self, base: str | None, starts: Mapping[int, int]) -> Applying:
        """The base as the shadow, with all its keys and indexes: the log goes on from there as a worker would."""
        self._say(f"copying {base}")
        await bases.copy(self._shadow, base or "")
        async with self._shadow.begin() as connection:
            for table in bulk_tables(self._applications):
                await shadow.add_key(connection, table)
                await shadow.complete(connection, table)
        return self._applying(starts)

    def _applying(self, standing: Mapping[int, int]) -> Applying:
        applier = Applier(engine=self._shadow, applications=self._applications, network=self._network)
        return Applying(applier, standing=standing)

    async def _follow(self, follower: Follower) -> None:
        """Go on until the live tables are near."""
        while True:
            async with self._engine.connect() as connection:
                live = await live_offsets(connection)
            if follower.is_near(live):
                return
            self._say(f"following: {follower.rest(live):,} records to go")
            await follower.go(live)

    async def _compare(self, connection: AsyncConnection, follower: Follower, build: Build | None) -> Comparison:
        """Both sides at the same offsets. The live worker waits until the snapshot of its side is taken, and no longer."""
        repeatable = self._engine.execution_options(isolation_level="REPEATABLE READ")
        async with repeatable.connect() as live, self._engine.connect() as replay:

            async def meet(holding: AsyncConnection) -> None:
                await live.rollback()  # a try before this one may have begun it
                await follower.go(await live_offsets(holding))
                await live.execute(text("SELECT 1"))

            await exchange.held(connection, "EXCLUSIVE", meet)
            comparison = Comparison(live, replay, on_table=lambda name: self._say(f"comparing {name}"))
            if build is None:
                await comparison.compare(shadow.tables())
            else:
                await self._fold_and_compare(build, comparison)
            await comparison.detached()
        return comparison

    async def _fold_and_compare(self, build: Build, comparison: Comparison) -> None:
        """While Python folds, PostgreSQL compares what needs no fold."""
        folded = folded_tables(self._applications)

        async def the_others() -> None:
            await build.settle()
            await comparison.compare([table for table in shadow.tables() if table not in folded])

        async with asyncio.TaskGroup() as both:
            both.create_task(the_others())
            both.create_task(build.fold())
        await comparison.compare(folded)

    async def _exchange(self, connection: AsyncConnection, follower: Follower) -> list[str]:
        """Put the shadow in the place of the live tables; gives what is to be said of it."""
        await self._follow(follower)
        self._say("exchanging")

        async def put(holding: AsyncConnection) -> None:
            await follower.go(await live_offsets(holding))
            await exchange.exchange(holding)

        await exchange.held(connection, "ACCESS EXCLUSIVE", put)
        if await exchange.drop_rest(self._engine):
            return []
        return [f"the replaced tables are still read by somebody; the next replay drops them (schema {REPLACED})"]
