"""All tables of schema `chain`, as they are and as they follow from the log."""

import asyncio
import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import asyncpg
from aiokafka import TopicPartition
from pydantic import SecretStr
from sqlalchemy import Column, Text

import migrations
from shared import chain_tables, frames, kafka
from shared import database as databases
from shared.settings import Database, Kafka
from shared.stepfi import tables as stepfi_tables  # noqa: F401 - its tables join those of the engine
from streams.application import Application
from streams.apply import Applier, Record

TABLES = tuple(sorted(table.name for table in chain_tables.metadata.sorted_tables))
OF_THE_LOG = ("offsets", "closes")
"""What depends on how the log came to be: where pages end, and with them the ledgers whose close times are known."""
MOMENTS: Mapping[str, Sequence[str]] = {
    "gaps": ("noted_at",),
    "scopes": ("began_at",),
    "superseded": ("ledger",),
    "creditlines": ("loan_count",),
}
"""Columns that tell when a record was written, or what was so at the ledger of an observation that nothing asks anew."""
BATCH_RECORDS = 500
AIM_SECONDS = 1.0
_WRITING = """
SELECT count(*) > 0 FROM pg_stat_activity
WHERE datname = current_database() AND backend_xid IS NOT NULL AND pid <> pg_backend_pid()
"""

Dump = dict[str, list[str]]
Log = Mapping[int, Sequence[Record]]


async def dump(url: str) -> Dump:
    """Every row of every table, as text, in an order."""
    connection = await asyncpg.connect(url)
    try:
        return {
            table: [row[0] for row in await connection.fetch(f"SELECT t::text FROM chain.{table} AS t ORDER BY 1")]
            for table in TABLES
        }
    finally:
        await connection.close()


async def chain_values(url: str) -> Dump:
    """What the tables say of the chain, without what depends on the moments at which entries were observed, or records written.

    Of facts: those that events told. Of state: the values, without the positions of the facts that they stand on.
    """
    connection = await asyncpg.connect(url)
    try:
        return {
            table: [
                row[0] for row in await connection.fetch(_values(table), [*_positions(table), *MOMENTS.get(table, ())])
            ]
            for table in TABLES
            if table not in OF_THE_LOG
        }
    finally:
        await connection.close()


def _values(table: str) -> str:
    where = "WHERE tx_hash IS NOT NULL" if table == "facts" else ""
    return f"SELECT (to_jsonb(t) - $1::text[])::text FROM chain.{table} AS t {where} ORDER BY 1"


def _positions(table: str) -> list[str]:
    """The columns of a state table that tell what its values stand on; other tables tell of the chain by positions."""
    columns = chain_tables.metadata.tables[f"chain.{table}"].columns
    return [column.name for column in columns if is_position(column)] if "observed_at" in columns else []


def is_position(column: Column[Any]) -> bool:
    return isinstance(column.type, Text) and column.type.collation == "C" and column.name != "key"


async def query(url: str, statement: str) -> list[tuple[Any, ...]]:
    """The rows of a query."""
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(statement)]
    finally:
        await connection.close()


async def read_log(settings: Kafka, *, partitions: int = 1) -> Log:
    """Every record of the topic, by partition, from the first."""
    async with kafka.consumer(settings) as client:
        places = [TopicPartition(settings.topic, number) for number in range(partitions)]
        client.assign(places)
        ends = await client.end_offsets(places)
        found: dict[int, list[Record]] = {place.partition: [] for place in places}
        for place in places:
            client.seek(place, 0)
        while any(len(found[place.partition]) < ends[place] for place in places):
            for place, batch in (await client.getmany(timeout_ms=1000)).items():
                found[place.partition] += [Record(one.offset, one.value, one.timestamp // 1000) for one in batch]
    return found


async def in_transaction(url: str) -> None:
    """Return when somebody is in the middle of a transaction that wrote, or after AIM_SECONDS."""
    with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
        connection = await asyncpg.connect(url, timeout=AIM_SECONDS)
        try:
            async with asyncio.timeout(AIM_SECONDS):
                while not await connection.fetchval(_WRITING):  # noqa: ASYNC110 - of other processes
                    await asyncio.sleep(0.002)
        finally:
            await connection.close(timeout=AIM_SECONDS)


async def offsets(url: str) -> dict[int, int]:
    """The offset that each partition waits for."""
    return dict(await query(url, "SELECT partition, next_offset FROM chain.offsets"))


def until(log: Log, ends: Mapping[int, int]) -> Log:
    """The log before these offsets, which it has to reach."""
    assert all(len(log[partition]) >= end for partition, end in ends.items()), (
        ends,
        {p: len(r) for p, r in log.items()},
    )
    return {partition: records[: ends.get(partition, 0)] for partition, records in log.items()}


async def fold_anew(url: str, log: Log, *, applications: Sequence[Application], network: str) -> Dump:
    """The tables that follow from the log, in the empty database at `url`: each partition from its first record, undisturbed."""
    async with databases.connect(Database(url=SecretStr(url)), section="database") as engine:
        await migrations.upgrade(engine)
        applier = Applier(engine=engine, applications=applications, network=network)
        for partition, records in log.items():
            for start in range(0, len(records), BATCH_RECORDS):
                await applier.apply(partition, records[start : start + BATCH_RECORDS])
    return await dump(url)


def holes(pages: Iterable[frames.Frame]) -> list[str]:
    """Live frames of one scope that begin behind the position up to which the log went before them."""
    found = []
    reached = ""
    for frame in pages:
        match frame:
            case frames.Origin():
                reached = max(reached, frame.through)
            case frames.Gap() if frame.after <= reached:
                reached = max(reached, frame.through)
            case frames.Page(kind="live"):
                if frame.after > reached:
                    found.append(f"({reached}, {frame.after}]")
                reached = max(reached, frame.through)
            case _:
                pass
    return found
