"""Old entries that were observed late may count; entries that changed beyond the watermark may not."""

from collections.abc import AsyncIterator

import pytest

from deploy import stack
from shared import position
from sweeper import ahead
from tests.integration.mirror import Mirror, history, mirror

NAME = "random-1.jsonl.gz"


@pytest.fixture(scope="module")
async def world(postgres: stack.Databases) -> AsyncIterator[Mirror]:
    """Events up to a ledger, all entries as of some hundred ledgers later, in which a loan was changed."""
    told = history(NAME)
    ledgers = sorted({position.ledger_of(one.id) for one in told.events()})
    middle = ledgers[len(ledgers) // 2]
    async with mirror(await postgres.create_database("ahead"), NAME, until=middle) as found:
        await found.write(told.observation(ledgers[len(ledgers) // 2 + 200]))
        yield found


@pytest.mark.parametrize("table", ["loans", "reputation_cache", "vendors"])
async def test_only_what_changed_behind_the_watermark_is_ahead(world: Mirror, table: str) -> None:
    context, subject = await world.context(), world.subject(table)
    column = {"loans": "status", "reputation_cache": "tier", "vendors": "status"}[table]
    word = {"loans": "cancelled", "reputation_cache": "gold", "vendors": "suspended"}[table]
    await world.app.execute(f"UPDATE {table} SET {column} = '{word}'")
    findings = [one async for one in subject.survey(context)]
    watermark = context.watermark.ledger
    beyond = [one for one in findings if ahead.rests_beyond(one, watermark)]
    late = await ahead.find(context, findings, watermark=watermark)
    modified = await _modified(world, [key for one in beyond for key in subject.fact_keys(one)])
    changed = {
        one.identity
        for one in beyond
        if max((modified.get(key, 0) for key in subject.fact_keys(one)), default=0) > watermark
    }
    assert beyond, "the observation lies behind the watermark"
    assert late == changed
    if table != "reputation_cache":  # all scores stand in one entry
        assert 0 < len(late) < len(beyond)


async def _modified(world: Mirror, keys: list[str]) -> dict[str, int]:
    rows = await world.app.fetch(
        "SELECT DISTINCT ON (key) key, CAST(body ->> 'lastModifiedLedgerSeq' AS bigint) AS ledger FROM chain.facts "
        "WHERE key = ANY($1) AND kind = 'observed' AND body ->> 'lastModifiedLedgerSeq' IS NOT NULL "
        "ORDER BY key, position DESC",
        keys,
    )
    return {row["key"]: row["ledger"] for row in rows}
