"""A scan that goes on with the hashes of an earlier run: what changed on either side in the meantime is seen all the same."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from sweeper.digest import diff
from tests.integration.digest_parts import surveyed
from tests.integration.mirror import Mirror


async def broken_off(world: Mirror, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both sides were read, and the process ended before they were compared."""

    def stopped(*_: Any) -> None:
        raise OSError("it was stopped")

    with monkeypatch.context() as broken:
        broken.setattr(diff, "_matched", stopped)
        with pytest.raises(OSError, match="it was stopped"):
            await surveyed(await world.context(scan_directory=directory), world.subject("loans"))


@pytest.mark.parametrize("side", ["chain", "app"])
async def test_what_changed_since_is_seen(
    world: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: str
) -> None:
    await world.app.execute("UPDATE loans SET status = 'defaulted' WHERE loan_id = (SELECT max(loan_id) FROM loans)")
    kept = {one.entity for one in (await surveyed(await world.context(), world.subject("loans"))).values()}
    await broken_off(world, tmp_path, monkeypatch)
    loan = await world.app.fetchval(
        "SELECT loan_id FROM loans WHERE status = 'active' AND loan_id < (SELECT max(loan_id) FROM loans) ORDER BY id LIMIT 1"
    )
    if side == "chain":
        async with world.engine.begin() as connection:
            moved = text("UPDATE chain.loans SET status = 'Defaulted', remaining_balance = 0 WHERE loan_id = :loan")
            assert (await connection.execute(moved, {"loan": int(loan)})).rowcount == 1
    else:
        await world.app.execute("UPDATE loans SET status = 'completed' WHERE loan_id = $1", loan)
    context = await world.context(scan_directory=tmp_path)
    found = {one.entity for one in (await surveyed(context, world.subject("loans"))).values()}
    assert context.resumed == ["loans"]
    assert context.canaries["loans"]
    assert found == kept | {f"loan:{loan}"}
    assert context.compared["loans"].expected_rows == await world.app.fetchval("SELECT count(*) FROM chain.loans")
