"""Applying frames: facts, state, coverage and the consumed offset, in one transaction (I3).

1  lock the partition's row in `chain.offsets`: the fence against a worker that lost its partition
2  drop the records below the stored offset; stop at one above it
3  store the facts; keep those that are new or that changed what was stored
4  fold them: onto the row where they are newer, else the key anew from its stored facts
5  record coverage, gaps and the beginning of the scope
6  store the next offset, commit
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import literal_column, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared import chain_tables as tables
from shared import errors, frames, position
from streams import fact_partitions, proofs, state_store
from streams.application import Application
from streams.digest import Digest, Stamped, digest
from streams.state_cache import StateCache


@dataclass(frozen=True, slots=True)
class Record:
    """A Kafka record of one partition; `at` is when it was written (unix seconds)."""

    offset: int
    value: bytes | None
    at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What one call did. `next_offset` is what the partition waits for now, whoever applied the rest."""

    next_offset: int
    applied_records: int = 0
    skipped_records: int = 0
    events: int = 0
    undecodable: int = 0
    facts: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of one partition, and what they say."""

    partition: int
    records: Sequence[Record]
    application: Application
    content: Digest


@dataclass(slots=True)
class _Standing:
    """Where a partition stands: the offset due next, and the position that no fact of it stands behind."""

    next_offset: int
    newest_fact: str
    table: int

    @property
    def place(self) -> tuple[int, int]:
        """All that tells whether the tables are as they were: the offset, and the table that it stands in."""
        return self.table, self.next_offset


class Decoder:
    """Reads records as the frames of this deployment, and knows whose they are."""

    def __init__(self, applications: Sequence[Application], *, network: str) -> None:
        self._applications = {application.scope: application for application in applications}
        self._network = network

    def decode(self, partition: int, record: Record) -> Stamped:
        """The record's frame; raises FrameInvalid, which names its place."""
        try:
            return Stamped(frames.decode(record.value, network=self._network), record.at)
        except errors.FrameInvalid as error:
            place = f"partition {partition}, offset {record.offset}"
            cure = error.cure or "something else wrote to this topic: give chaintrue a topic of its own and start anew"
            raise errors.FrameInvalid(f"{place}: {error.args[0]}", cure=cure) from None

    def application(self, frame: frames.Frame) -> Application:
        """Whose scope the frame is of; raises FrameInvalid for one that this deployment has not."""
        try:
            return self._applications[frame.scope]
        except KeyError:
            raise errors.FrameInvalid(
                f"a frame of the scope {frame.scope!r}; this deployment has {', '.join(self._applications)}",
                cure="give each deployment a topic of its own (CHAINTRUE_KAFKA__TOPIC)",
            ) from None


class Applier:
    """Applies the records of the log to the tables of one database; safe to call with records that were applied before."""

    def __init__(
        self,
        *,
        engine: AsyncEngine,
        applications: Sequence[Application],
        network: str,
        on_applied: Callable[[Applied], None] = lambda _: None,
    ) -> None:
        self._engine = engine
        self._decoder = Decoder(applications, network=network)
        self._on_applied = on_applied
        self._partitions = fact_partitions.Known()
        self._caches: dict[int, StateCache] = {}

    async def apply(self, partition: int, records: Sequence[Record]) -> Applied:
        """Apply the records that are due; raises OffsetGap or FrameInvalid, and then has done nothing."""
        return await self.write(self.prepare(partition, records))

    def prepare(self, partition: int, records: Sequence[Record]) -> Batch:
        """Decode records; needs nothing but them, so it may be done in a thread. Raises FrameInvalid."""
        batch = [self._decoder.decode(partition, record) for record in records]
        application = self._decoder.application(batch[0].frame)
        return Batch(partition, records, application, digest(batch, application))

    async def write(self, batch: Batch) -> Applied:
        """Write what is due of a batch, in one transaction; raises OffsetGap, and then has done nothing."""
        self._partitions.forget()
        cache = self._caches.setdefault(batch.partition, StateCache())
        async with self._engine.begin() as connection:
            standing = await _lock(connection, batch.partition)
            due = due_of(batch.records, expected=standing.next_offset, partition=batch.partition)
            skipped = len(batch.records) - len(due)
            if not due:
                return Applied(next_offset=standing.next_offset, skipped_records=skipped)
            if skipped:
                batch = self.prepare(batch.partition, due)
            cache.begin(standing.place)
            changed = await self._write(connection, batch, standing, cache)
            standing.next_offset = due[-1].offset + 1
            await _advance(connection, batch.partition, standing)
        self._partitions.committed()
        cache.committed(standing.place)
        applied = Applied(
            next_offset=standing.next_offset,
            applied_records=len(due),
            skipped_records=skipped,
            events=batch.content.events,
            undecodable=batch.content.undecodable,
            facts=changed,
        )
        self._on_applied(applied)
        return applied

    async def _write(self, connection: AsyncConnection, batch: Batch, standing: _Standing, cache: StateCache) -> int:
        """Write what the batch says; gives the number of facts that were new or changed what was stored."""
        facts = batch.content.facts
        places = [fact.position for fact in facts]
        await self._partitions.ensure(connection, places)
        changed = await state_store.store_facts(connection, facts, newest=standing.newest_fact)
        await state_store.fold_changed(connection, changed, application=batch.application, cache=cache)
        await proofs.record(connection, batch.content, partition=batch.partition)
        standing.newest_fact = max(standing.newest_fact, *places, position.START)
        return len(changed)


async def _lock(connection: AsyncConnection, partition: int) -> _Standing:
    """Where the partition stands, its row locked until the transaction ends."""
    offsets = tables.offsets
    first = {"partition": partition, "next_offset": 0, "newest_fact": position.START}
    await connection.execute(upsert(offsets).values(first).on_conflict_do_nothing(index_elements=["partition"]))
    row = await connection.execute(
        select(offsets.c.next_offset, offsets.c.newest_fact, literal_column("tableoid::bigint").label("table"))
        .where(offsets.c.partition == partition)
        .with_for_update()
    )
    found = row.one()
    return _Standing(int(found.next_offset), found.newest_fact, found.table)


async def _advance(connection: AsyncConnection, partition: int, standing: _Standing) -> None:
    statement = update(tables.offsets).where(tables.offsets.c.partition == partition)
    await connection.execute(statement.values(next_offset=standing.next_offset, newest_fact=standing.newest_fact))


def due_of(records: Sequence[Record], *, expected: int, partition: int) -> list[Record]:
    """The records to apply, without those that were applied before, or that a rebalance delivered twice.

    Raises OffsetGap where one is missing before a record that was delivered.
    """
    due: list[Record] = []
    for record in records:
        wanted = expected + len(due)
        if record.offset > wanted:
            raise errors.OffsetGap(
                f"partition {partition} delivered offset {record.offset} where {wanted} is due: "
                "records between them are lost, or this database belongs to another topic",
                cure="point CHAINTRUE_DATABASE__URL and CHAINTRUE_KAFKA__TOPIC at what belongs together",
                due=(partition, wanted),
            )
        if record.offset == wanted:
            due.append(record)
    return due
