"""The migrations give exactly the declared tables, once, whoever runs them."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from pydantic import SecretStr
from sqlalchemy import Connection, MetaData, text
from sqlalchemy.ext.asyncio import AsyncEngine

import migrations
import shared.stepfi.tables  # noqa: F401 - declares the application's tables
from shared import chain_tables, errors, recon_tables
from shared import database as databases
from shared.settings import Database


@pytest.fixture
async def engine(database: str) -> AsyncIterator[AsyncEngine]:
    async with databases.connect(Database(url=SecretStr(database)), section="database") as engine:
        yield engine


def _differences(connection: Connection) -> list[object]:
    return [one for metadata in (chain_tables.metadata, recon_tables.metadata) for one in _of(connection, metadata)]


def _of(connection: Connection, metadata: MetaData) -> list[object]:
    def ours(name: str | None, kind: str, _: object) -> bool:
        return kind != "schema" or name == metadata.schema

    options = {
        "include_schemas": True,
        "include_name": ours,
        "compare_type": True,
        "version_table_schema": recon_tables.SCHEMA,
    }
    context = MigrationContext.configure(connection, opts=options)
    return list(compare_metadata(context, metadata))


async def test_head_gives_the_declared_tables(engine: AsyncEngine) -> None:
    await migrations.upgrade(engine)
    async with engine.connect() as connection:
        assert await connection.run_sync(_differences) == []


async def test_two_at_once_are_one(engine: AsyncEngine) -> None:
    first, second = await asyncio.gather(migrations.upgrade(engine), migrations.upgrade(engine))
    assert first == second
    await migrations.check(engine)


async def test_a_database_without_tables_is_refused(engine: AsyncEngine) -> None:
    with pytest.raises(errors.NotMigrated, match="chaintrue migrate"):
        await migrations.check(engine)


async def test_a_database_of_another_version_is_refused(engine: AsyncEngine) -> None:
    await migrations.upgrade(engine)
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE recon.alembic_version SET version_num = '0000'"))
    with pytest.raises(errors.NotMigrated, match="revision 0000"):
        await migrations.check(engine)
