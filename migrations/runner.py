"""Running the migrations from the command, and refusing to work on a database that lacks them."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

from shared import errors, recon_tables
from shared.database import MIGRATION_LOCK

VERSION_SCHEMA = recon_tables.SCHEMA
"""Alembic's version table lives beside the reports: the schema `chain` is exchanged as a whole by a replay."""


def _config(connection: Connection | None = None) -> Config:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("path_separator", "os")
    return config


async def upgrade(engine: AsyncEngine) -> str:
    """Bring the database to head; returns the revision. Safe to run again, and by two processes at once.

    Raises NotMigrated for a database that a newer version has migrated.
    """
    async with engine.begin() as connection:
        # Two `migrate` at once: the second one waits, then finds nothing to do.
        await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        await connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {VERSION_SCHEMA}"))
        if (found := await connection.run_sync(_revision)) is not None:
            _refuse_newer(found)
        await connection.run_sync(lambda sync: command.upgrade(_config(sync), "head"))
    return _head()


async def check(engine: AsyncEngine) -> None:
    """Raise NotMigrated unless the database is at head."""
    async with engine.connect() as connection:
        found = await connection.run_sync(_revision)
    if found is not None:
        _refuse_newer(found)
    if found != _head():
        state = (
            "has no tables of chaintrue" if found is None else f"is at revision {found}, this version needs {_head()}"
        )
        raise errors.NotMigrated(f"the database of CHAINTRUE_DATABASE__URL {state}", cure="run `chaintrue migrate`")


def _refuse_newer(found: str) -> None:
    """A revision that this version does not know was made by a newer one, which alone may touch its tables."""
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if found not in known:
        raise errors.NotMigrated(
            f"the database of CHAINTRUE_DATABASE__URL is at revision {found}, which this version does not know",
            cure="install the version of chaintrue that migrated it, or a newer one",
        )


def _head() -> str:
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:
        raise errors.NotMigrated("this installation of chaintrue has no migrations", cure="install it anew")
    return head


def _revision(connection: Connection) -> str | None:
    context = MigrationContext.configure(connection, opts={"version_table_schema": VERSION_SCHEMA})
    return context.get_current_revision()
