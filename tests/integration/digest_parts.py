"""What the tests of digests share: what the rules find when they look at every row, and what the digests say."""

from typing import Any

import pytest

from sweeper.comparison import Comparison
from sweeper.context import Context
from sweeper.digest import diff, match, sides
from sweeper.digest.diff import Difference
from sweeper.digest.hashing import Hashing
from sweeper.model import Finding

HISTORY = "random-1.jsonl.gz"
TABLES = ("loans", "vendors", "reputation_cache", "reputation_history", "liquidity_positions")


async def difference(context: Context, subject: Comparison[Any], **options: Any) -> Difference:
    return await sides.difference(context, subject, **options)


def ids(difference: Difference) -> set[str]:
    return {*match.texts(difference.differing), *match.texts(difference.app_only)}


async def all_findings(context: Context, subject: Comparison[Any]) -> dict[tuple[str, str, str], Finding]:
    """Return what the rules find in every row and every entity, whatever their hashes are."""
    around = await subject.surroundings(context, alone=None)
    async with context.app.connect() as connection:
        rows = await connection.exec_driver_sql(f"SELECT id::text FROM {subject.table}")
        every = [row[0] for row in rows]
    async with context.chain.connect() as connection:
        keys = await connection.exec_driver_sql(
            f"SELECT entity.key FROM {subject.expected_table} AS entity WHERE {subject.key_condition}"
        )
        entities = [row[0] for row in keys]
    findings = await subject._look_at_rows(context, every, around) + await subject._look_at_entities(
        context, entities, around
    )
    return {finding.identity: finding for finding in findings}


async def surveyed(context: Context, subject: Comparison[Any]) -> dict[tuple[str, str, str], Finding]:
    return {finding.identity: finding async for finding in subject.survey(context)}


def use_portable_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the two databases disagree on PostgreSQL's own hash functions."""

    async def disagree(*_: Any) -> Hashing:
        fresh = Hashing.fresh()
        return Hashing(seed=fresh.seed, name=fresh.name, native=False)

    monkeypatch.setattr(diff, "_agreed", disagree)
