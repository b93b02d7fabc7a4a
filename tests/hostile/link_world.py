"""A mirrored history for attacks on links, put back after each test: making one takes seconds, there are many attacks."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from deploy import stack
from sweeper.model import Finding
from tests.integration.mirror import Mirror, mirror
from tests.integration.test_loan_links_near import HISTORY, Target, found, missing, of, provisional

KEPT = ("loans", "vendors", "transactions", "chain.loans")
# What an older or hand-made application may lack.
LOOSE = (
    "ALTER TABLE loans ALTER loan_id DROP NOT NULL, ALTER created_at DROP NOT NULL, ALTER user_wallet DROP NOT NULL",
    "ALTER TABLE loans DROP CONSTRAINT loans_merchant_id_fkey, DROP CONSTRAINT loans_loan_id_key CASCADE",
)


@asynccontextmanager
async def mirrored(postgres: stack.Databases) -> AsyncIterator[Mirror]:
    """A mirrored history in an application that forbids little."""
    name = f"hostile_{uuid.uuid4().hex}"
    async with mirror(await postgres.create_database(name), HISTORY) as made:
        for statement in LOOSE:
            await made.app.execute(statement)
        for table in KEPT:
            await made.app.execute(f"CREATE TABLE kept_{table.replace('.', '_')} AS TABLE {table}")
        yield made
    await postgres.drop_database(name)


async def put_back(world: Mirror) -> None:
    """Both databases as they were."""
    await world.app.execute(f"TRUNCATE {', '.join(KEPT)} CASCADE")
    for table in KEPT:
        await world.app.execute(f"INSERT INTO {table} SELECT * FROM kept_{table.replace('.', '_')}")


async def control(world: Mirror) -> Target:
    """A row that is proven by its terms; whatever the attack, it is still linked."""
    return await provisional(world, number=1)


def is_linked(findings: list[Finding], target: Target) -> bool:
    """Whether the row is proven to be its loan, and would be written so."""
    kind, row = of(findings, target)
    linked = kind == "unresolved_provisional_id" and row is not None and row.answer is None
    return linked and row is not None and row.update.get("loan_id") == str(target.loan)


async def outcome(world: Mirror, target: Target, linked: Target | None, **settings: Any) -> tuple[str | None, bool]:
    """The class of the target's row, which is not written, and whether its loan is missing; the control is linked."""
    findings = await found(world, **settings)
    if linked is not None:
        assert is_linked(findings, linked)
        assert linked.entity not in missing(findings)
    kind, row = of(findings, target)
    assert row is None or not row.update
    return kind, target.entity in missing(findings)
