"""The state before: tables that end where the topic begins, for instance those of a backup restored under another name.

They are taken as they are. The log is applied to them from their own offsets on, as a worker would.
"""

from collections.abc import Mapping

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared import chain_tables, errors
from shared.chain_schema import placed
from shared.chain_tables import SCHEMA
from streams import fact_partitions
from streams.replay import shadow
from streams.replay.shadow import SHADOW

_OPTION = "--base"
# A name that PostgreSQL would have to quote is taken for none: it stands in our SQL as it is.
_EXISTS = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = :name AND quote_ident(nspname) = nspname)"


async def check(engine: AsyncEngine, base: str, *, live: Mapping[int, int]) -> dict[int, int]:
    """The offsets that the base ends at. Raises SettingError unless it is an earlier state of the live tables."""
    async with engine.connect() as connection:
        found = await connection.execute(text(_EXISTS), {"name": base})
        if base in shadow.RESERVED or not found.scalar_one():
            raise errors.SettingError(
                f"{_OPTION} {base}: there is no such schema beside {SCHEMA}",
                cure=f"restore a backup of the schema {SCHEMA} under a plain name (small letters, digits, _), and give that",
            )
        if words := await shadow.deviation(connection, base, SCHEMA):
            raise errors.SettingError(
                f"{_OPTION} {base}: {words}", cure="take a backup of this version of chaintrue, or migrate the base"
            )
        await _refuse_another_log(connection, base)
    async with placed(engine, base).connect() as connection:
        offsets = await _offsets(connection)
        if gone := await fact_partitions.detached(connection):
            raise errors.SettingError(
                f"{_OPTION} {base}: {', '.join(gone)} is detached from its facts", cure="attach it"
            )
    for partition, offset in sorted(offsets.items()):
        if offset > (reached := live.get(partition, 0)):
            raise errors.SettingError(
                f"{_OPTION} {base}: it ends at offset {offset} of partition {partition}, the live tables at {reached}",
                cure="name an older one, or let the worker catch up",
            )
    return offsets


async def _offsets(connection: AsyncConnection) -> dict[int, int]:
    offsets = chain_tables.offsets.c
    return {
        row.partition: row.next_offset
        for row in await connection.execute(select(offsets.partition, offsets.next_offset))
    }


async def _refuse_another_log(connection: AsyncConnection, base: str) -> None:
    """Both were filled from the same log, or the base's offsets mean nothing in it."""
    rows = await connection.execute(
        text(
            f"SELECT scope FROM {base}.scopes JOIN {SCHEMA}.scopes AS live USING (scope)"
            " WHERE scopes.began_at IS DISTINCT FROM live.began_at OR scopes.partition <> live.partition"
        )
    )
    if other := [row.scope for row in rows]:
        raise errors.SettingError(
            f"{_OPTION} {base}: its tables of {', '.join(other)} were filled from another log",
            cure="name one of this log",
        )


async def copy(engine: AsyncEngine, base: str) -> None:
    """Copy the base's rows into the shadow that `engine` is placed in, by PostgreSQL alone."""
    async with engine.begin() as connection:
        names = await connection.execute(text(f"SELECT name FROM {base}.facts_partitions ORDER BY name"))
        for row in names.all():
            await fact_partitions.make(connection, fact_partitions.number_named(row.name))
    async with engine.begin() as connection:
        for table in shadow.tables():
            if table is not chain_tables.facts_partitions:
                columns = ", ".join(column.name for column in table.columns)
                await connection.execute(
                    text(f"INSERT INTO {SHADOW}.{table.name} ({columns}) SELECT {columns} FROM {base}.{table.name}")
                )
