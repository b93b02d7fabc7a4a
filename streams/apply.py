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

from sqlalchemy import insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared import chain_tables as tables
from shared import coverage, coverage_store, errors, frames
from streams import state_store
from streams.application import Application
from streams.digest import Digest, digest


@dataclass(frozen=True, slots=True)
class Record:
    """A Kafka record of one partition."""

    offset: int
    value: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What one call did. `next_offset` is what the partition waits for now, whoever applied the rest."""

    next_offset: int
    applied_records: int = 0
    skipped_records: int = 0
    events: int = 0
    undecodable: int = 0
    facts: int = 0


class Applier:
    """Applies the records of the log to the tables of one database; safe to call with records that were applied before."""

    def __init__(
        self,
        *,
        engine: AsyncEngine,
        application: Application,
        network: str,
        on_applied: Callable[[Applied], None] = lambda _: None,
    ) -> None:
        self._engine = engine
        self._application = application
        self._network = network
        self._on_applied = on_applied
        self._folds = {fold.prefix: fold for fold in application.folds}

    async def apply(self, partition: int, records: Sequence[Record]) -> Applied:
        """Apply the records that are due; raises OffsetGap or FrameInvalid, and then has done nothing."""
        async with self._engine.begin() as connection:
            expected = await _lock(connection, partition)
            due = _due(records, expected=expected, partition=partition)
            skipped = len(records) - len(due)
            if not due:
                return Applied(next_offset=expected, skipped_records=skipped)
            content = digest([self._decode(partition, record) for record in due], self._application)
            changed = await state_store.store_facts(connection, content.facts)
            await state_store.fold_changed(connection, changed, folds=self._folds, restore=self._application.restore)
            await _record_stream(connection, content, scope=self._application.scope, partition=partition)
            next_offset = due[-1].offset + 1
            await connection.execute(
                update(tables.offsets).where(tables.offsets.c.partition == partition).values(next_offset=next_offset)
            )
        applied = Applied(
            next_offset=next_offset,
            applied_records=len(due),
            skipped_records=skipped,
            events=content.events,
            undecodable=content.undecodable,
            facts=len(changed),
        )
        self._on_applied(applied)
        return applied

    def _decode(self, partition: int, record: Record) -> frames.Frame:
        try:
            return frames.decode(record.value, network=self._network)
        except errors.FrameInvalid as error:
            place = f"partition {partition}, offset {record.offset}"
            cure = error.cure or "something else wrote to this topic: give chaintrue a topic of its own and start anew"
            raise errors.FrameInvalid(f"{place}: {error.args[0]}", cure=cure) from None


async def _lock(connection: AsyncConnection, partition: int) -> int:
    """The offset due next, its row locked until the transaction ends."""
    offsets = tables.offsets
    await connection.execute(
        upsert(offsets).values(partition=partition, next_offset=0).on_conflict_do_nothing(index_elements=["partition"])
    )
    row = await connection.execute(
        select(offsets.c.next_offset).where(offsets.c.partition == partition).with_for_update()
    )
    return int(row.scalar_one())


def _due(records: Sequence[Record], *, expected: int, partition: int) -> list[Record]:
    """The records to apply, without those that were applied before, or that a rebalance delivered twice."""
    due: list[Record] = []
    for record in records:
        wanted = expected + len(due)
        if record.offset > wanted:
            raise errors.OffsetGap(
                f"partition {partition} delivered offset {record.offset} where {wanted} is due: "
                "records between them are lost, or this database belongs to another topic",
                cure="point CHAINTRUE_DATABASE__URL and CHAINTRUE_KAFKA__TOPIC at what belongs together",
            )
        if record.offset == wanted:
            due.append(record)
    return due


async def _record_stream(connection: AsyncConnection, content: Digest, *, scope: str, partition: int) -> None:
    for origin in content.origins:
        await _record_origin(connection, origin, partition=partition)
    for gap in content.gaps:
        row = {"scope": scope, "after": gap.after, "through": gap.through, "reason": gap.reason, "state": "open"}
        await connection.execute(upsert(tables.gaps).values(row).on_conflict_do_nothing())
    if content.ranges:
        await _extend_coverage(connection, content.ranges, scope=scope)
    if content.tip is not None:
        scopes = tables.scopes
        through, closed_at = content.tip
        await connection.execute(
            update(scopes)
            .where(scopes.c.scope == scope, (scopes.c.tip.is_(None)) | (scopes.c.tip < through))
            .values(tip=through, tip_closed_at=closed_at)
        )


async def _record_origin(connection: AsyncConnection, origin: frames.Origin, *, partition: int) -> None:
    """The first origin of a scope stands; a second one is of another indexer that began at the same moment."""
    row = {
        "scope": origin.scope,
        "partition": partition,
        "network": origin.network,
        "contracts": list(origin.contracts),
        "origin": origin.through,
    }
    await connection.execute(upsert(tables.scopes).values(row).on_conflict_do_nothing())


async def _extend_coverage(connection: AsyncConnection, ranges: Sequence[coverage.Range], *, scope: str) -> None:
    table = tables.coverage
    held = await coverage_store.read(connection, scope=scope)
    extended = held
    for one in ranges:
        extended = coverage.add(extended, one)
    if extended == held:
        return
    gone = [one.after for one in held if one not in extended]
    if gone:
        await connection.execute(table.delete().where(table.c.scope == scope, table.c.after.in_(gone)))
    new = [{"scope": scope, "after": one.after, "through": one.through} for one in extended if one not in held]
    await connection.execute(insert(table), new)
