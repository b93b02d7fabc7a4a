"""The moments in which the live worker waits: one to bring both sides to the same offsets, one to exchange the schemas.

Both hold `chain.offsets`, with which every transaction of a worker begins; the exchange all tables besides, so that nobody is
half way through them. Nothing is waited for with a lock in hand that others need: what is in use is tried again a little later.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Literal, TypeVar

import structlog
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared import errors
from shared.chain_tables import SCHEMA, offsets
from shared.database import MIGRATION_LOCK
from streams.replay import shadow
from streams.replay.shadow import REPLACED, SHADOW

log = structlog.get_logger()
T = TypeVar("T")

Mode = Literal["EXCLUSIVE", "ACCESS EXCLUSIVE"]
WAIT_MILLISECONDS = 3000
"""How long a worker's transaction may take to end, before those behind it are let go on."""
PATIENCE_SECONDS = 600.0
PAUSE_SECONDS = 0.5
HELD_SECONDS = 30.0
"""The longest that the tables may be held."""
DROP_MILLISECONDS = 10_000

_NOT_AVAILABLE = "55P03"
_TIMEOUT = text("SELECT set_config('lock_timeout', :milliseconds, true)")
_ALONE = text("SELECT pg_try_advisory_lock(:key)")
_ALONE_KEY = 0x7265706C6179

# What belongs to the live tables and is no part of ours: it would be left behind, or go on reading what is replaced.
_ATTACHED = """
WITH ours AS (
  SELECT oid FROM pg_class WHERE relnamespace = to_regnamespace(:schema) AND relname = ANY(:tables)
  UNION
  SELECT inhrelid FROM pg_inherits WHERE inhparent = to_regclass(:facts)
  UNION
  SELECT oid FROM pg_class JOIN {schema}.facts_partitions ON relname = name WHERE relnamespace = to_regnamespace(:schema)
), parts AS (
  SELECT 'pg_class'::regclass AS classid, oid AS objid FROM ours
  UNION ALL SELECT 'pg_class'::regclass, indexrelid FROM pg_index WHERE indrelid IN (TABLE ours)
  UNION ALL SELECT 'pg_constraint'::regclass, oid FROM pg_constraint WHERE conrelid IN (TABLE ours)
  UNION ALL SELECT 'pg_attrdef'::regclass, oid FROM pg_attrdef WHERE adrelid IN (TABLE ours)
  UNION ALL SELECT 'pg_type'::regclass, reltype FROM pg_class WHERE oid IN (TABLE ours)
  UNION ALL SELECT 'pg_default_acl'::regclass, oid FROM pg_default_acl
)
SELECT DISTINCT pg_describe_object(depends.classid, depends.objid, depends.objsubid) AS words
FROM pg_depend AS depends
WHERE (depends.refclassid = 'pg_namespace'::regclass AND depends.refobjid = to_regnamespace(:schema)
    OR depends.refclassid = 'pg_class'::regclass AND depends.refobjid IN (TABLE ours))
  AND depends.deptype IN ('n', 'a')
  AND NOT EXISTS (SELECT FROM parts WHERE parts.classid = depends.classid AND parts.objid = depends.objid)
ORDER BY words
"""

_USERS = """
SELECT DISTINCT format('%s (pid %s, %s since %s)', coalesce(nullif(application_name, ''), usename), activity.pid, state,
  to_char(xact_start AT TIME ZONE 'UTC', 'HH24:MI:SS')) AS words
FROM pg_locks JOIN pg_class ON pg_class.oid = relation JOIN pg_stat_activity AS activity USING (pid)
WHERE granted AND relnamespace = to_regnamespace(:schema) AND pid <> pg_backend_pid()
ORDER BY words LIMIT 3
"""


@asynccontextmanager
async def alone(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """The session that holds the lock of the replays, between two transactions. Raises AlreadyRunning if another one has it.

    The exchange happens in this very session: whoever has lost the lock cannot exchange anything.
    """
    async with engine.connect() as connection:
        if not (await connection.execute(_ALONE, {"key": _ALONE_KEY})).scalar_one():
            raise errors.AlreadyRunning("another replay is running on this database", cure="wait for it, or stop it")
        await connection.commit()
        yield connection


async def refuse_attached(engine: AsyncEngine) -> None:
    """Raise ReplayRefused where something that is not ours belongs to the live tables."""
    names = [table.name for table in shadow.tables()]
    query = text(_ATTACHED.format(schema=SCHEMA))
    async with engine.connect() as connection:
        rows = await connection.execute(query, {"schema": SCHEMA, "tables": names, "facts": f"{SCHEMA}.facts"})
        if found := [row.words for row in rows]:
            more = f" and {len(found) - 5} more" if len(found) > 5 else ""
            raise errors.ReplayRefused(
                f"the tables of {SCHEMA} cannot be exchanged: {', '.join(found[:5])}{more} would stay with the replaced ones",
                cure="drop that first, and create it anew afterwards",
            )


async def held(connection: AsyncConnection, mode: Mode, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    """Do the work in a transaction that holds `chain.offsets`, and commit. Tried again while something is in use.

    EXCLUSIVE keeps the workers waiting, ACCESS EXCLUSIVE readers too. Raises ReplayRefused when it stays in use.
    """
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            async with asyncio.timeout(HELD_SECONDS), connection.begin():
                await connection.execute(_TIMEOUT, {"milliseconds": str(WAIT_MILLISECONDS)})
                await connection.execute(text(f"LOCK TABLE {SCHEMA}.{offsets.name} IN {mode} MODE"))
                return await work(connection)
        except TimeoutError:
            raise errors.ReplayRefused(
                f"what had come meanwhile was not brought in within {HELD_SECONDS:g} s, and the workers wait no longer",
                cure="replay again, when less is written or the machine is less busy",
            ) from None
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) != _NOT_AVAILABLE:
                raise
            users = await _users(connection)
            if time.monotonic() > until:
                raise errors.ReplayRefused(
                    f"the tables of {SCHEMA} were in use for {PATIENCE_SECONDS:g} s, lastly by {users}",
                    cure="end that transaction, and replay again",
                ) from None
            log.info("the tables are in use; trying again", by=users)
        await asyncio.sleep(PAUSE_SECONDS)


async def _users(connection: AsyncConnection) -> str:
    async with connection.begin():
        rows = await connection.execute(text(_USERS), {"schema": SCHEMA})
        return ", ".join(row.words for row in rows) or "somebody"


async def exchange(connection: AsyncConnection) -> None:
    """Exchange the schemas, in a transaction that `held` has begun and the shadow of which is at the live offsets.

    Raises ReplayRefused where a migration has changed the live tables meanwhile.
    """
    await connection.execute(text("SET LOCAL synchronous_commit = on"))
    # A migration holds this for its whole transaction, so the columns are as it left them. It is not waited for.
    migrates = await connection.execute(text("SELECT NOT pg_try_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
    if migrates.scalar_one():
        raise errors.ReplayRefused(
            "the tables are being migrated", cure="replay again once `chaintrue migrate` is done"
        )
    if words := await shadow.deviation(connection, SHADOW, SCHEMA):
        raise errors.ReplayRefused(f"the tables were migrated meanwhile: {words}", cure="replay again")
    everything = ", ".join(f"{schema}.{table.name}" for schema in (SCHEMA, SHADOW) for table in shadow.tables())
    await connection.execute(text(f"LOCK TABLE {everything} IN ACCESS EXCLUSIVE MODE NOWAIT"))
    await connection.execute(text(f"ALTER SCHEMA {SCHEMA} RENAME TO {REPLACED}"))
    await connection.execute(text(f"ALTER SCHEMA {SHADOW} RENAME TO {SCHEMA}"))


async def drop_rest(engine: AsyncEngine) -> bool:
    """Drop the shadow and what it has replaced; says whether that could be done. If not, the next replay does it."""
    try:
        async with engine.begin() as connection:
            await connection.execute(_TIMEOUT, {"milliseconds": str(DROP_MILLISECONDS)})
            await shadow.drop(connection)
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != _NOT_AVAILABLE:
            raise
        return False
    return True
