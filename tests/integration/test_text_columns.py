"""Words in columns of other text types are judged like plain text: enums, padded char(n), domains."""

from collections.abc import AsyncIterator

import pytest

from deploy import stack
from sweeper.model import Finding
from tests.integration.mirror import Mirror, mirror

NAME = "random-1.jsonl.gz"
STATUSES = "'pending', 'active', 'completed', 'defaulted', 'under_review', 'rejected', 'cancelled'"
TYPES = {
    "enum": (
        "DROP INDEX loans_defaulted_at_idx",
        f"CREATE TYPE loan_status AS ENUM ({STATUSES})",
        "ALTER TABLE loans ALTER status TYPE loan_status USING status::loan_status",
        "CREATE TYPE tier AS ENUM ('gold', 'silver', 'bronze', 'poor')",
        "ALTER TABLE reputation_cache ALTER tier DROP DEFAULT, ALTER tier TYPE tier USING tier::tier",
        "CREATE TYPE vendor_status AS ENUM ('pending', 'approved', 'suspended', 'rejected')",
        "ALTER TABLE vendors DROP CONSTRAINT vendors_status_check, ALTER status DROP DEFAULT, "
        "ALTER status TYPE vendor_status USING status::vendor_status",
    ),
    "char": (
        "DROP INDEX loans_defaulted_at_idx",
        "ALTER TABLE loans ALTER status TYPE char(16), ALTER user_wallet TYPE char(60)",
        "ALTER TABLE reputation_cache ALTER tier TYPE char(12)",
        "ALTER TABLE vendors DROP CONSTRAINT vendors_status_check, ALTER status TYPE char(20)",
    ),
    "domain": (
        "CREATE DOMAIN word AS varchar(40) CHECK (VALUE <> '')",
        "ALTER TABLE loans ALTER status TYPE word",
        "ALTER TABLE vendors ALTER status TYPE word",
    ),
}
DRIFT = (
    "UPDATE loans SET status = 'completed' WHERE loan_id IN ('1', '2', '3')",
    "UPDATE loans SET status = 'pending', completed_at = NULL, defaulted_at = NULL WHERE loan_id IN ('4', '5')",
    "UPDATE reputation_cache SET tier = 'gold'",
    "UPDATE vendors SET status = 'suspended'",
)


@pytest.fixture
async def world(postgres: stack.Databases) -> AsyncIterator[Mirror]:
    async with mirror(await postgres.create_database("text_columns"), NAME) as found:
        yield found
    await postgres.drop_database("text_columns")


async def drifted(world: Mirror) -> dict[tuple[str, str | None], tuple[str, dict[str, object]]]:
    found: list[Finding] = []
    for table in ("loans", "reputation_cache", "vendors"):
        found += [one async for one in world.subject(table).survey(await world.context())]
    return {
        (one.table, one.row_id): (one.drift_class, {name: both.app for name, both in one.columns.items()})
        for one in found
    }


@pytest.mark.parametrize("kind", TYPES)
async def test_the_findings_are_those_of_plain_text(world: Mirror, kind: str) -> None:
    for statement in DRIFT:
        await world.app.execute(statement)
    plain = await drifted(world)
    assert {drift_class for drift_class, _ in plain.values()} >= {"stale_status", "stale_value"}
    for statement in TYPES[kind]:
        await world.app.execute(statement)
    assert await drifted(world) == plain
