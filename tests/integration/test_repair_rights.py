"""Repairs by a role that may not do all of them: what is forbidden is left undone and named, and the rest is written."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from deploy import stack
from shared import errors
from shared.settings import RowSecurity
from sweeper import app_access, batches
from sweeper.model import Finding
from tests import app_role
from tests.integration import repair_parts
from tests.integration.repair_parts import App


@pytest.fixture
async def app(postgres: stack.Databases) -> AsyncIterator[App]:
    async with repair_parts.opened(postgres) as app:
        yield app


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each statement was to write."""
    tried: list[int] = []
    write = batches.write

    async def counted(connection: Any, batch: batches.Batch, **options: Any) -> Any:
        tried.append(len(batch))
        return await write(connection, batch, **options)

    monkeypatch.setattr(batches, "write", counted)
    return tried


@asynccontextmanager
async def written_by(app: App, url: str, *, security: RowSecurity = RowSecurity.BYPASS) -> AsyncIterator[None]:
    """The run reaches the application by this address."""
    async with repair_parts.engine(url) as engine:
        app.context.app = app_access.secured(engine, security)
        yield


def missing(number: int) -> Finding:
    row = {name: value for name, value in repair_parts.loan_row().items() if name != "id"} | {"loan_id": str(number)}
    return Finding(drift_class="missing_row", table="loans", row_id=None, entity=f"loan:{number}", words="", insert=row)


def outcomes(findings: list[Finding]) -> list[str]:
    return [one.outcome.value for one in findings]


async def test_rows_that_the_role_may_not_add_stop_no_update(app: App, writes: list[int]) -> None:
    """None of them can be added, so they are not tried in halves."""
    name = f"role_{uuid.uuid4().hex[:12]}"
    url = await app_role.create(app.url, name=name, adds_rows=False)
    run_id = await app.begin()
    findings = [*(missing(number) for number in range(60)), await app.finding(await app.loan(), status="completed")]
    async with written_by(app, url):
        done = await app.repair(findings, run_id=run_id)
    await app_role.drop(app.url, name)
    assert outcomes(done) == ["failed"] * 60 + ["repaired"]
    assert writes == [60, 1]
    reason = done[0].evidence["reason"]
    assert "lacks a right: permission denied for table loans" in reason
    assert "cure: run the application's script in deploy/roles" in reason
    recorded = {change["kind"]: (change["outcome"], change["reason"]) for change in await app.journal(run_id)}
    assert recorded == {"insert": ("failed", reason), "update": ("repaired", None)}


async def test_a_column_that_the_role_may_not_set_fails_alone(app: App, writes: list[int]) -> None:
    name = f"role_{uuid.uuid4().hex[:12]}"
    url = await app_role.create(app.url, name=name)
    rows = [await app.loan() for _ in range(4)]
    findings = [await app.finding(row_id, status="completed") for row_id in rows[:2]]
    findings += [await app.finding(row_id, reservation_id="x") for row_id in rows[2:]]
    async with written_by(app, url):
        done = await app.repair(findings)
    await app_role.drop(app.url, name)
    assert outcomes(done) == ["repaired", "repaired", "failed", "failed"]
    assert sorted(writes) == [2, 2]


async def test_a_policy_that_refuses_one_row_fails_that_row_alone(app: App) -> None:
    name = f"role_{uuid.uuid4().hex[:12]}"
    url = await app_role.create(app.url, name=name)
    await app_role.run(
        app.url,
        f"""
ALTER ROLE {name} NOBYPASSRLS; ALTER TABLE loans ENABLE ROW LEVEL SECURITY;
CREATE POLICY free ON loans TO {name} USING (true) WITH CHECK (true);
CREATE POLICY narrow ON loans AS RESTRICTIVE FOR UPDATE TO {name} USING (true) WITH CHECK (status <> 'defaulted')""",
    )
    words = ["completed", "completed", "defaulted", "completed", "completed"]
    findings = [await app.finding(await app.loan(), status=word) for word in words]
    async with written_by(app, url, security=RowSecurity.POLICIES):
        done = await app.repair(findings)
    await app_role.drop(app.url, name)
    assert outcomes(done) == ["failed" if word == "defaulted" else "repaired" for word in words]
    assert "row-level security policy" in done[2].evidence["reason"]


async def test_a_trigger_that_forbids_one_row_fails_that_row_alone(app: App) -> None:
    await app.connection.execute("""
CREATE FUNCTION forbid() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF NEW.status = 'defaulted' THEN RAISE EXCEPTION 'not by you' USING ERRCODE = '42501'; END IF; RETURN NEW; END $$;
CREATE TRIGGER forbid BEFORE UPDATE ON loans FOR EACH ROW EXECUTE FUNCTION forbid()""")
    words = ["completed", "defaulted", "completed"]
    done = await app.repair([await app.finding(await app.loan(), status=word) for word in words])
    assert outcomes(done) == ["repaired", "failed", "repaired"]
    assert "not by you" in done[1].evidence["reason"]


async def test_a_read_that_is_forbidden_ends_the_run(app: App) -> None:
    """What cannot be read is not known to be unchanged, whatever could still be written."""
    name = f"role_{uuid.uuid4().hex[:12]}"
    url = await app_role.create(app.url, name=name)
    await app_role.run(app.url, f"REVOKE SELECT ON loans FROM {name}")
    async with written_by(app, url):
        with pytest.raises(errors.RightMissing, match="permission denied"):
            async with app_access.transaction(app.context.app) as connection:
                await connection.exec_driver_sql("SELECT count(*) FROM loans")
    await app_role.drop(app.url, name)
