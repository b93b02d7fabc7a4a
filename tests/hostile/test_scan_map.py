"""The map of scores is one entry: who is in it, who left, who came back, and who was never seen."""

import pytest
from sqlalchemy import text

from shared import position
from sweeper import ahead
from sweeper.context import Since
from sweeper.model import Finding
from tests.integration.mirror import Mirror

STRANGER = "G" + "B" * 55
"""An address that our tables hold nothing of."""


@pytest.fixture(autouse=True)
async def stranger(world: Mirror) -> None:
    for statement in (
        "UPDATE users SET wallet_address = $1 WHERE id = (SELECT user_id FROM reputation_cache ORDER BY id LIMIT 1)",
        "UPDATE reputation_cache SET wallet_address = $1, score = 80, tier = 'silver'"
        " WHERE id = (SELECT id FROM reputation_cache ORDER BY id LIMIT 1)",
    ):
        await world.app.execute(statement, STRANGER)


async def changed(world: Mirror, since: str) -> dict[str | None, Finding]:
    context, subject = await world.context(), world.subject("reputation_cache")
    found = {one.entity: one async for one in subject.survey_changed(context, Since(position=since))}
    assert context.canaries["reputation_cache"]
    return found


async def map_at(world: Mirror) -> str:
    found: str = await world.app.fetchval("SELECT max(position) FROM chain.reputation_maps")
    return found


async def test_whom_only_a_full_sweep_could_see_once_the_map_was_read(world: Mirror) -> None:
    """Before the map was read a stranger's score was no finding, and a sweep of then left a mark."""
    at = await map_at(world)
    before = position.end_of(position.ledger_of(at) - 1)
    assert await changed(world, position.end_of(position.ledger_of(at) + 1)) == {}
    found = await changed(world, before)
    assert found[f"user:{STRANGER}"].update["score"] == 0


async def test_a_stranger_is_judged_as_of_the_map(world: Mirror) -> None:
    """What says that the chain knows no such user is the map: a map of beyond the watermark does not count yet."""
    at = await map_at(world)
    found = (await changed(world, position.START))[f"user:{STRANGER}"]
    assert found.evidence["known_at"] == at
    context, ledger = await world.context(), position.ledger_of(at)
    assert not ahead.rests_beyond(found, ledger)
    assert ahead.rests_beyond(found, ledger - 1)
    modified = await world.app.fetchval(
        "SELECT max(CAST(body ->> 'lastModifiedLedgerSeq' AS bigint)) FROM chain.facts WHERE position = $1"
        " AND key IN (SELECT key FROM chain.reputation_maps)",
        at,
    )
    assert modified < ledger
    assert await ahead.find(context, [found], watermark=modified) == set()
    assert await ahead.find(context, [found], watermark=modified - 1) == {found.identity}


async def test_who_left_the_map_and_came_back(world: Mirror) -> None:
    wallet, score = await world.app.fetchrow(
        "SELECT wallet_address, score FROM reputation_cache WHERE score > 0 AND wallet_address <> $1 ORDER BY id LIMIT 1",
        STRANGER,
    )
    ledger = position.ledger_of(await map_at(world))
    last, left, back = (position.end_of(ledger + ledgers) for ledgers in (1_000, 2_000, 3_000))
    async with world.engine.begin() as connection:
        await connection.execute(text("UPDATE chain.reputation_maps SET position = :left"), {"left": left})
        others = text("UPDATE chain.scores SET position = :left WHERE user_address <> :user")
        await connection.execute(others, {"left": left, "user": wallet})
    gone = (await changed(world, last))[f"user:{wallet}"]
    assert (gone.columns["score"].app, gone.columns["score"].chain, gone.can_be_written) == (score, 0, True)
    await world.app.execute("UPDATE reputation_cache SET score = 0, tier = 'poor' WHERE wallet_address = $1", wallet)
    assert f"user:{wallet}" not in await changed(world, last)
    async with world.engine.begin() as connection:
        again = text("UPDATE chain.scores SET position = :back WHERE user_address = :user")
        await connection.execute(again, {"back": back, "user": wallet})
    returned = (await changed(world, left))[f"user:{wallet}"]
    assert (returned.columns["score"].app, returned.columns["score"].chain) == (0, score)
    assert returned.evidence["known_at"] == back
