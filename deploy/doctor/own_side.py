"""Chaintrue's own database: reachable, new enough, migrated, with sessions of its own, and rights on what it keeps there."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

import migrations
from deploy.doctor.checks import Examination
from shared import chain_tables, database, pooler, recon_tables
from shared.stepfi.settings import Settings

OLDEST = 15
CHECK = "own database"
_VERSION = text("SELECT current_setting('server_version_num')::int / 10000")
_RIGHTS = text("""
SELECT has_schema_privilege(space.oid, 'USAGE') AS enters, has_schema_privilege(space.oid, 'CREATE') AS creates,
  (SELECT string_agg(one.relname, ', ' ORDER BY one.relname) FROM pg_class AS one
   WHERE one.relnamespace = space.oid AND one.relkind IN ('r', 'p') AND NOT (
     has_table_privilege(one.oid, 'SELECT') AND has_table_privilege(one.oid, 'INSERT')
     AND has_table_privilege(one.oid, 'UPDATE'))) AS closed,
  (SELECT pg_has_role(one.relowner, 'USAGE') FROM pg_class AS one
   WHERE one.relnamespace = space.oid AND one.relname = 'facts') AS owns_facts
FROM pg_namespace AS space WHERE space.nspname = :schema
""")


async def examine(found: Examination, settings: Settings) -> bool:
    """All of it; nothing more where it does not answer, which is told."""
    answers = False
    with found.looking(CHECK):
        async with database.connect(settings.database, section="database") as engine:
            await version(found, engine, check=CHECK)
            answers = True
            with found.looking("migrations"):
                await migrations.check(engine)
                found.well("migrations", "the own database has the tables of this version")
                await _rights(found, engine)
        with found.looking("own database: pooler"):
            await pooler.require_sessions(settings.database, section="database")
            found.well("own database: pooler", "connections keep their sessions, which the locks need")
    return answers


async def version(found: Examination, engine: AsyncEngine, *, check: str) -> None:
    """Whether the PostgreSQL behind the engine is new enough; also that it is reached."""
    async with engine.connect() as connection:
        major = int((await connection.execute(_VERSION)).scalar_one())
    if major >= OLDEST:
        found.well(check, f"PostgreSQL {major} answers")
    else:
        found.ill(
            check,
            f"this is PostgreSQL {major}",
            cure=f"upgrade it: PostgreSQL {OLDEST} is the oldest that chaintrue runs on",
        )


async def _rights(found: Examination, engine: AsyncEngine) -> None:
    cure = "let the role that runs `chaintrue migrate` be the one of CHAINTRUE_DATABASE__URL, or grant it the same"
    troubles = []
    async with engine.connect() as connection:
        for schema in (chain_tables.SCHEMA, recon_tables.SCHEMA):
            has = (await connection.execute(_RIGHTS, {"schema": schema})).one_or_none()
            if has is None or not has.enters:
                troubles.append(f"may not use the schema {schema}")
            elif has.closed:
                troubles.append(f"may not read and write {has.closed} of the schema {schema}")
            if has is not None and schema == chain_tables.SCHEMA and not (has.creates and has.owns_facts):
                troubles.append(f"may not make the partitions of {schema}.facts")
    if troubles:
        found.ill("own database: rights", f"the role {'; it '.join(troubles)}", cure=cure)
    else:
        found.well("own database: rights", "the role may write its tables and make their partitions")
