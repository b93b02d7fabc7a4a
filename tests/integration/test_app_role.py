"""The role that `deploy/roles/stepfi.sql` makes: what the sweeps do it may do, all else it may not; by BYPASSRLS or policies."""

import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest
from pydantic import SecretStr

from deploy import application, stack
from deploy.demo.app import schema
from shared import database as databases
from shared import errors
from shared.settings import Database, RowSecurity
from shared.stepfi.settings import Settings
from sweeper import app_access, app_rights
from tests import app_role
from tests.postgres15 import postgres15

OLDER = """
ALTER TABLE vendors DROP COLUMN status;
ALTER TABLE transactions DROP COLUMN hash;
ALTER TABLE reputation_history DROP COLUMN ledger_sequence;
DROP TABLE default_detection_results;
DROP TABLE liquidity_positions;
"""
"""What the application of before did not have."""


@dataclass(frozen=True)
class App:
    """An application's database: the address of its superuser, and of the role."""

    owner: str
    role: str
    name: str

    async def rights(self, *, security: RowSecurity = RowSecurity.BYPASS) -> dict[str, app_rights.Rights]:
        settings = Database(url=SecretStr(self.role))
        async with (
            databases.connect(settings, section="app_database") as engine,
            app_access.transaction(app_access.secured(engine, security)) as connection,
        ):
            found = [await app_rights.read(connection, table) for table in schema.TABLES]
        return {one.table: one for one in found if one is not None}

    async def refusal(self, statement: str) -> str:
        connection = await asyncpg.connect(self.role)
        try:
            await connection.execute(statement)
        except asyncpg.PostgresError as error:
            return str(error)
        finally:
            await connection.close()
        return ""


def wanted() -> dict[str, app_rights.Needs]:
    return app_rights.needs(application.sweep(Settings()))


@pytest.fixture(scope="module")
async def server15() -> AsyncIterator[stack.Databases]:
    async with postgres15() as server:
        yield server


@pytest.fixture(params=["15", "18"])
def server(request: pytest.FixtureRequest) -> stack.Databases:
    chosen: stack.Databases = request.getfixturevalue("server15" if request.param == "15" else "postgres")
    return chosen


@pytest.fixture
async def app(server: stack.Databases) -> AsyncIterator[App]:
    name = f"app_{uuid.uuid4().hex[:12]}"
    url = await server.create_database(name)
    await schema.create(url)
    yield App(url, await app_role.create(url, name=name), name)
    await app_role.drop(url, name)
    await server.drop_database(name)


async def test_it_may_do_what_the_subjects_declare_and_nothing_else(app: App) -> None:
    found = await app.rights()
    for table, rights in found.items():
        need = wanted().get(table, app_rights.Needs(table=table, reads=frozenset()))
        assert (rights.updates, rights.inserts) == (need.updates & rights.columns, need.inserts & rights.columns), table
        assert need.reads <= rights.reads
        assert not rights.deletes
        assert not rights.truncates
        assert not rights.secured, "BYPASSRLS was granted"
    compared = {subject.table for subject in application.sweep(Settings())}
    assert {table for table, rights in found.items() if rights.reads == rights.columns} == compared
    assert found["users"].reads == {"id", "wallet_address"}
    assert found["default_detection_results"].reads == {"loan_id"}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE loans SET user_wallet = 'G'",
        "UPDATE loans SET amount = 1",
        "UPDATE users SET status = 'blocked'",
        "UPDATE vendors SET verified = true",
        "UPDATE reputation_history SET new_score = 1",
        "DELETE FROM loans",
        "DELETE FROM transactions",
        "TRUNCATE reputation_history",
        "INSERT INTO transactions (status, xdr, user_wallet, submitted_at) VALUES ('pending', '', '', now())",
        "INSERT INTO users (wallet_address) VALUES ('G')",
        "INSERT INTO loans (id, loan_id) VALUES (gen_random_uuid(), '1')",
        "SELECT username FROM users",
        "SELECT * FROM payment_index",
        "ALTER TABLE loans ADD COLUMN more int",
        "DROP TABLE loans",
        "CREATE TABLE public.more (n int)",
        "CREATE ROLE another",
    ],
)
async def test_all_else_is_refused(statement: str, app: App) -> None:
    assert "permission denied" in (said := await app.refusal(statement)) or "must be owner" in said, said


async def test_an_older_application_gets_what_it_has(app: App) -> None:
    await app_role.run(app.owner, OLDER)
    again = App(app.owner, await app_role.create(app.owner, name=app.name), app.name)
    found = await again.rights()
    assert found["loans"].updates == wanted()["loans"].updates
    assert found["vendors"].updates == {"updated_at"}
    assert found["reputation_history"].inserts == wanted()["reputation_history"].inserts - {"ledger_sequence"}
    assert "liquidity_positions" not in found


async def test_rights_of_before_go_when_it_is_run_again(app: App) -> None:
    await app_role.run(app.owner, f"GRANT DELETE, UPDATE (amount) ON loans TO {app.name}")
    assert app_rights.beyond_needs((await app.rights())["loans"], wanted()["loans"]) == {
        "DELETE": (),
        "UPDATE": ("amount",),
    }
    again = App(app.owner, await app_role.create(app.owner, name=app.name, adds_rows=False), app.name)
    found = (await again.rights())["loans"]
    assert app_rights.beyond_needs(found, wanted()["loans"]) == {}
    assert not found.inserts


@pytest.fixture
async def hosted(server: stack.Databases) -> AsyncIterator[App]:
    """The tables belong to an owner who may make roles, but not let them past row-level security."""
    name = f"app_{uuid.uuid4().hex[:12]}"
    owner = f"owner_{name}"
    url = await server.create_database(name)
    await app_role.run(
        url,
        f"CREATE ROLE {owner} LOGIN CREATEROLE PASSWORD 'owns-it-all'; GRANT CREATE ON SCHEMA public TO {owner};"
        f"ALTER SCHEMA public OWNER TO {owner}",
    )
    by = app_role.address(url, owner, "owns-it-all")
    await schema.create(by)
    yield App(url, await app_role.create(url, name=name, by=by), name)
    await server.drop_database(name)
    await app_role.run(server.admin_url, f"DROP OWNED BY {name}, {owner}; DROP ROLE {name}, {owner}")


async def test_where_a_host_forbids_bypassrls_it_gets_policies(hosted: App) -> None:
    found = await hosted.rights(security=RowSecurity.POLICIES)
    need = wanted()
    assert found["loans"].secured
    for table, one in need.items():
        assert app_rights.shows(found[table], "SELECT") is True, table
        assert app_rights.shows(found[table], "UPDATE") is bool(one.updates), table
    settings = Database(url=SecretStr(hosted.role))
    async with databases.connect(settings, section="app_database") as engine:
        async with app_access.transaction(app_access.secured(engine, RowSecurity.POLICIES)) as connection:
            await app_rights.require_policies(connection, need, to_write=True)
        with pytest.raises(errors.SettingError, match="lacks a right: query would be affected by row-level security"):
            async with app_access.transaction(engine) as connection:
                await connection.exec_driver_sql("SELECT count(*) FROM loans")
    assert not await hosted.refusal("UPDATE loans SET status = 'active'")


async def test_policies_that_hide_all_rows_are_refused(hosted: App) -> None:
    await app_role.run(hosted.owner, f"DROP POLICY {hosted.name}_update ON vendors")
    settings = Database(url=SecretStr(hosted.role))
    async with databases.connect(settings, section="app_database") as engine:
        secured = app_access.secured(engine, RowSecurity.POLICIES)
        async with app_access.transaction(secured) as connection:
            await app_rights.require_policies(connection, wanted(), to_write=False)
        with pytest.raises(errors.SettingError, match=r"hides all rows of vendors .* no policy lets it UPDATE"):
            async with app_access.transaction(secured) as connection:
                await app_rights.require_policies(connection, wanted(), to_write=True)


async def test_a_role_that_may_bypass_after_all_loses_its_policies(hosted: App) -> None:
    await app_role.run(hosted.owner, f"ALTER ROLE {hosted.name} BYPASSRLS")
    again: Any = App(hosted.owner, await app_role.create(hosted.owner, name=hosted.name), hosted.name)
    found = await again.rights()
    assert not found["loans"].secured
    assert found["loans"].policies == ()
