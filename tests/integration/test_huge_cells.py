"""One cell of hundreds of megabytes, in each column that a finding quotes: the run ends with a report, in bounded memory."""

import json
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from sweeper import records, runs
from sweeper.model import Finding
from sweeper.report import Extent, Mode, Report, RunStatus
from sweeper.stepfi import loan_candidates
from tests.integration.mirror import Mirror, mirror
from tests.integration.run_parts import begun
from tests.integration.transaction_parts import App, asking, node, opened

HISTORY = "random-1.jsonl.gz"
MIB = 1024 * 1024
CELL = 40 * MIB
MOST_MEMORY = 20 * MIB


@pytest.fixture
async def world(database: str) -> AsyncIterator[Mirror]:
    async with mirror(database, HISTORY) as found:
        yield found


@pytest.fixture
async def app(database: str) -> AsyncIterator[App]:
    async with opened(database) as found:
        yield found


@contextmanager
def bounded_memory() -> Any:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY
    finally:
        tracemalloc.stop()


def check(finding: Finding) -> None:
    """It quotes the beginning, the length and the hash; nothing is written by values that were cut."""
    told = json.dumps(quoted(finding))
    assert len(told) < 20_000
    assert "md5" in told
    assert all(len(str(value)) < 10_000 for value in finding.guard.values())


def quoted(finding: Finding) -> list[Any]:
    columns = {name: [str(both.app), str(both.chain)] for name, both in finding.columns.items()}
    return [finding.words, finding.entity, columns, json.loads(json.dumps(finding.evidence, default=str))]


async def finished(world: Mirror, findings: list[Finding]) -> dict[str, Any]:
    """The report of a run that found this, as it is stored."""
    run_id = await begun(world.engine)
    moment = datetime.now(UTC)
    report = Report(
        run_id=run_id,
        mode=Mode.DRY,
        extent=Extent.FULL,
        status=RunStatus.COMPLETE,
        started_at=moment,
        finished_at=moment,
        watermark_ledger=1,
        compared={},
        spot_checks=Counter(),
        findings=findings,
    )
    await runs.finish(world.engine, report)
    return await records.report(world.engine, await records.find(world.engine, str(run_id)))


@pytest.mark.parametrize(
    ("table", "column", "drift_class"),
    [
        ("loans", "user_wallet", "forged_owner"),
        ("loans", "loan_id", "ambiguous_link"),
        ("loans", "status", "stale_status"),
        ("vendors", "wallet_address", None),
        ("vendors", "status", "stale_status"),
        ("reputation_cache", "wallet_address", "stale_value"),
        ("reputation_cache", "tier", "stale_value"),
        ("liquidity_positions", "provider_wallet", None),
    ],
)
async def test_a_cell_of_a_compared_table(world: Mirror, table: str, column: str, drift_class: str | None) -> None:
    await world.app.execute("ALTER TABLE vendors DROP CONSTRAINT vendors_status_check")
    for constraint in ("loans_loan_id_key", "reputation_cache_wallet_address_key", "merchants_wallet_address_key"):
        of = {"loans": "loans", "reputation": "reputation_cache", "merchants": "vendors"}[constraint.split("_")[0]]
        await world.app.execute(f"ALTER TABLE {of} DROP CONSTRAINT {constraint} CASCADE")  # no index takes such a key
    row_id = await world.app.fetchval(
        f"UPDATE {table} SET {column} = repeat('A', {CELL}) WHERE id = (SELECT id FROM {table} ORDER BY id LIMIT 1)"
        " RETURNING id::text"
    )
    with bounded_memory():
        found = [one async for one in world.subject(table).survey(await world.context())]
        report = await finished(world, found)
        loans = [one async for one in world.subject("loans").survey(await world.context())]
    assert len(json.dumps(report)) < MIB
    if (table, column) == ("vendors", "wallet_address"):  # read by the rules of its loans, too
        assert {one.drift_class for one in loans} == {"terms_mismatch"}
        assert all(len(json.dumps(quoted(one))) < 20_000 for one in loans)
    by_row = {one.row_id: one for one in found}
    if drift_class is None:  # nothing of the row itself is quoted: it names no entity of the chain
        assert row_id not in by_row
        return
    assert by_row[row_id].drift_class == drift_class
    check(by_row[row_id])
    assert not by_row[row_id].can_be_written


async def test_a_row_beside_it_is_still_repaired(world: Mirror) -> None:
    loans = [str(row["id"]) for row in await world.app.fetch("SELECT id FROM loans WHERE status = 'completed' LIMIT 2")]
    await world.app.execute("UPDATE loans SET status = 'active' WHERE id = $1", loans[0])
    await world.app.execute(f"UPDATE loans SET status = repeat('A', {CELL}) WHERE id = $1", loans[1])
    found = {one.row_id: one async for one in world.subject("loans").survey(await world.context())}
    assert found[loans[0]].update["status"] == "completed"
    assert (found[loans[1]].update, found[loans[1]].evidence["too_long"]) == ({}, ["status"])


async def test_the_largest_cell_that_a_report_could_not_hold(world: Mirror) -> None:
    """With all of it quoted no run ended: PostgreSQL takes no string of JSON beyond 255 MiB."""
    await world.app.execute(
        f"UPDATE loans SET user_wallet = repeat('A', {270 * MIB}) WHERE id = (SELECT id FROM loans ORDER BY id LIMIT 1)"
    )
    with bounded_memory():
        found = [one async for one in world.subject("loans").survey(await world.context())]
        report = await finished(world, found)
    [finding] = report["findings"]
    assert f"[{270 * MIB} bytes, md5 " in finding["columns"]["user_wallet"]["app"]


@pytest.mark.parametrize("column", ["loan_id", "user_wallet"])
async def test_a_provisional_row_costs_its_links_no_memory(world: Mirror, column: str) -> None:
    await world.app.execute("ALTER TABLE loans DROP CONSTRAINT loans_loan_id_key CASCADE")
    first = "SELECT id FROM loans ORDER BY id LIMIT 1"
    await world.app.execute(f"UPDATE loans SET loan_id = 'pending-1-a' WHERE id = ({first})")
    await world.app.execute(f"UPDATE loans SET {column} = {column} || repeat('A', {CELL}) WHERE id = ({first})")
    with bounded_memory():
        await loan_candidates.read_links(await world.context(), world.settings, among=None)


async def test_many_values_of_middling_length(world: Mirror) -> None:
    await world.app.execute("UPDATE loans SET user_wallet = repeat(md5(id::text), 3200)")
    count = await world.app.fetchval("SELECT count(*) FROM loans")
    with bounded_memory():
        found = [one async for one in world.subject("loans").survey(await world.context())]
        report = await finished(world, found)
    assert report["drift"] == {"forged_owner": count}
    assert len(report["findings"]) == count
    assert len({one["columns"]["user_wallet"]["app"] for one in report["findings"]}) == count


@pytest.mark.parametrize("column", ["transaction_hash", "hash", "xdr", "status", "error"])
async def test_a_cell_of_a_pending_transaction(app: App, column: str) -> None:
    for index in ("transactions_hash_unique", "transactions_transaction_hash_unique"):
        await app.connection.execute(f"DROP INDEX {index}")
    planned = await app.inject("pending_though_succeeded")
    row_id = planned["pending_though_succeeded"].row_id
    await app.connection.execute(
        f"UPDATE transactions SET {column} = repeat('A', {CELL}) WHERE id = CAST($1 AS uuid)", row_id
    )
    async with node() as net, asking(net) as client:
        context = await app.context(client)
        with bounded_memory():
            [finding] = [one for one in await app.survey(context) if one.row_id == row_id]
            [again] = await app.subject.look_again(context, [finding])
    assert again.identity == finding.identity
    assert len(json.dumps(quoted(finding))) < 20_000
    if column in ("status", "error"):
        check(finding)
    if column in ("hash", "error"):
        assert finding.evidence["too_long"] == again.evidence["too_long"] == [column]
    if column == "xdr":  # the stored hash says what to ask for
        assert finding.update["status"] == "success"
    else:
        assert not finding.can_be_written
