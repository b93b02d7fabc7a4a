"""Repairs on a database that accepts no writes: by a setting of the role or the database, as a standby, or from one moment on."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from deploy import stack
from deploy.demo.app import schema
from deploy.stack.postgres_server import Postgres
from shared import errors
from shared.settings import RowSecurity
from sweeper import app_access, app_read_only, batches, recovery
from sweeper.app_access import secured
from sweeper.model import Outcome
from tests import app_role
from tests.integration import repair_parts
from tests.integration.repair_parts import App


@pytest.fixture
async def app(postgres: stack.Databases) -> AsyncIterator[App]:
    async with repair_parts.opened(postgres) as app:
        yield app


@asynccontextmanager
async def role(app: App, *settings: str) -> AsyncIterator[str]:
    """The address of a superuser of its own; `settings` are statements about it, with {role} and {database}."""
    name = f"role_{uuid.uuid4().hex[:12]}"
    await app_role.run(app.url, f"CREATE ROLE {name} LOGIN SUPERUSER PASSWORD 'watcher1234'")
    for statement in settings:
        named = statement.format(role=name, database=app.url.rpartition("/")[2])
        await app_role.run(app.url, f"SET transaction_read_only = off; {named}")
    try:
        yield app_role.address(app.url, name, "watcher1234")
    finally:
        await app_role.run(app.url, "SET transaction_read_only = off; DROP ROLE " + name)


async def reason_at(url: str) -> str | None:
    async with repair_parts.engine(url) as engine, app_access.transaction(engine) as connection:
        found = await app_read_only.look(connection)
    return None if found is None else str(found.args[0])


ROLE_ON = "ALTER ROLE {role} SET default_transaction_read_only = on"
ROLE_HERE_OFF = "ALTER ROLE {role} IN DATABASE {database} SET default_transaction_read_only = off"
ROLE_OFF = "ALTER ROLE {role} SET default_transaction_read_only TO 'false'"
DATABASE_ON = "ALTER DATABASE {database} SET default_transaction_read_only = 'yes'"


@pytest.mark.parametrize(
    ("settings", "by"),
    [
        ([], None),
        ([ROLE_ON], "the role"),
        ([DATABASE_ON], "the database"),
        ([DATABASE_ON, ROLE_ON], "the role"),
        ([ROLE_ON, ROLE_HERE_OFF], None),
        ([DATABASE_ON, ROLE_OFF], None),
    ],
    ids=["nothing", "role", "database", "both", "role, but not here", "database, but not the role"],
)
async def test_what_the_role_and_the_database_say_counts(app: App, settings: list[str], by: str | None) -> None:
    async with role(app, *settings) as url:
        reason = await reason_at(url)
        assert (None if reason is None else reason.rpartition("is on for ")[2]) == by
        async with repair_parts.engine(url) as engine:
            if by is None:
                async with app_access.writing(engine):
                    return
            with pytest.raises(errors.DatabaseReadOnly):
                async with app_access.writing(engine):
                    pytest.fail("a transaction that may write was opened")


async def test_the_options_of_the_address_count(app: App) -> None:
    connection = await asyncpg.connect(app.url, server_settings={"default_transaction_read_only": "on"})
    by = await connection.fetchval(f"SELECT {app_read_only.SQL}")
    await connection.close()
    assert by == "session"


async def test_a_session_that_is_older_than_the_setting_is_no_loophole(app: App) -> None:
    """A pooler hands out sessions that began before the database was made read-only, and that still have the old value."""
    connection = await asyncpg.connect(app.url)
    try:
        assert await connection.fetchval(f"SELECT {app_read_only.SQL}") is None
        name = app.url.rpartition("/")[2]
        await app_role.run(app.url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        assert await connection.fetchval("SHOW default_transaction_read_only") == "off"
        assert await connection.fetchval(f"SELECT {app_read_only.SQL}") == "database"
        await connection.execute(
            "SET default_transaction_read_only = off"
        )  # as whoever had the session before may have
        assert await connection.fetchval(f"SELECT {app_read_only.SQL}") == "database"
    finally:
        await connection.close()


async def test_no_row_is_tried_in_halves(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [await app.loan() for _ in range(8)]
    findings = [await app.finding(row, status="completed") for row in rows]
    tried: list[int] = []
    write = batches.write

    async def counted(*arguments: object, **options: object) -> object:
        tried.append(1)
        return await write(*arguments, **options)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(batches, "write", counted)
    run_id = await app.begin()
    before = await app.texts()
    async with role(app, ROLE_ON) as url, repair_parts.engine(url) as engine:
        app.context.app = secured(engine, RowSecurity.BYPASS)
        done = await app.repair(findings, run_id=run_id)
    assert {one.outcome for one in done} == {Outcome.FAILED}
    assert {one.evidence["reason"].partition(". Hint: ")[0] for one in done} == {
        "the application database is read-only: default_transaction_read_only is on for the role"
    }
    assert tried == []
    assert await app.texts() == before
    assert {change["outcome"] for change in await app.journal(run_id)} == {"failed"}


async def test_a_database_that_becomes_read_only_meanwhile(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL itself says 25006 then, in the middle of a batch; a trigger may be what was refused, so halves are tried."""
    await app.connection.execute("""
CREATE TABLE audit (at timestamptz);
CREATE FUNCTION demote() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  SET LOCAL transaction_read_only = on; INSERT INTO audit VALUES (now()); RETURN NEW; END $$;
CREATE TRIGGER demote BEFORE UPDATE ON loans FOR EACH ROW EXECUTE FUNCTION demote()""")
    tried: list[int] = []
    write = batches.write

    async def counted(connection: object, batch: batches.Batch, **options: object) -> object:
        tried.append(len(batch))
        return await write(connection, batch, **options)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(batches, "write", counted)
    done = await app.repair([await app.finding(await app.loan(), status="completed") for _ in range(8)])
    assert {one.outcome for one in done} == {Outcome.FAILED}
    assert tried.count(1) == 8
    assert len(tried) == 15
    assert all("read-only: it refused a write" in one.evidence["reason"] for one in done)


async def test_a_standby_is_read_and_never_written_to(app: App, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A server of its own, stopped and begun again as a standby."""
    directory = Path(tmp_path_factory.mktemp("standby"))
    for path in (directory, *directory.parents[:3]):
        path.chmod(path.stat().st_mode | 0o755)
    row = repair_parts.loan_row()
    async with Postgres(directory=directory, fsync=False, ready_seconds=60) as primary:
        url = await primary.create_database("app")
        await schema.create(url)
        connection = await asyncpg.connect(url)
        await repair_parts.insert(connection, "loans", row)
        await connection.close()
    (directory / "postgresql" / "standby.signal").touch(mode=0o644)
    async with Postgres(directory=directory, fsync=False, ready_seconds=60) as standby:
        url = standby.url("app")
        await app.connection.close()
        app.connection = await asyncpg.connect(url)
        assert await app.connection.fetchval("SELECT pg_is_in_recovery()")
        reason = "the application database is read-only: the server is a standby (in recovery)"
        assert await reason_at(url) == reason
        async with repair_parts.engine(url) as engine:
            app.context.app = secured(engine, RowSecurity.BYPASS)
            run_id = await app.begin()
            (done,) = await app.repair([await app.finding(str(row["id"]), status="completed")], run_id=run_id)
            assert done.outcome is Outcome.FAILED
            assert done.evidence["reason"].startswith(reason)
            (change,) = await app.journal(run_id)
            assert (change["outcome"], change["reason"]) == ("failed", done.evidence["reason"])
            assert (await app.row(str(row["id"])))["status"] == "active"
            assert await recovery.settle(app.context) == []
