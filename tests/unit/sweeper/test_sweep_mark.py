"""A run that went on with the hashes of an earlier one leaves no mark: its own watermark is not what they are of."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from shared.coverage_store import Watermark
from shared.settings import Sweep
from sweeper import changed, recovery, sweep
from sweeper.context import Compared
from sweeper.report import Extent, Mode
from sweeper.session import Run, Session


async def swept(monkeypatch: pytest.MonkeyPatch, *, resumed: list[str], not_reread: Sequence[str] = ()) -> Run:
    """What accumulated of a run that found nothing, and whose survey went on with these scans."""
    run = Run(mode=Mode.DRY, extent=Extent.FULL)
    compared = {"loans": Compared(expected_rows=1, app_rows=1)}
    context = SimpleNamespace(
        watermark=Watermark(7, 1, 7),
        resumed=[],
        not_reread=list(not_reread),
        compared=compared,
        chain_was_asked=True,
        late_entries={},
    )

    async def nothing(*_: Any, **__: Any) -> list[Any]:
        return []

    async def mark(*_: Any) -> dict[str, object]:
        return {"position": "here"}

    async def survey(_: Session) -> tuple[dict[str, Any], bool]:
        context.resumed += resumed
        return {}, True

    monkeypatch.setattr(recovery, "settle", nothing)
    monkeypatch.setattr(changed, "mark", mark)
    monkeypatch.setattr(sweep, "_survey", survey)
    monkeypatch.setattr(sweep, "_spot_check", nothing)
    monkeypatch.setattr(sweep, "_settle", nothing)
    settings = SimpleNamespace(sweep=Sweep())
    session = SimpleNamespace(run=run, context=context, settings=settings, chosen=[])
    assert await sweep._sweep(cast("Session", session)) == []
    return run


async def test_one_that_read_all_itself_leaves_its_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    run = await swept(monkeypatch, resumed=[])
    assert (run.mark, run.notes) == ({"position": "here"}, [])


async def test_one_that_went_on_with_another_leaves_none_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    run = await swept(monkeypatch, resumed=["loans", "vendors"])
    assert run.mark is None
    (note,) = run.notes
    assert note.startswith("loans, vendors: the scan of an earlier run was gone on with")


async def test_one_that_did_not_read_all_written_rows_again_leaves_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drift in a row that moved out of the scan would stay unseen by every sweep of what changed."""
    run = await swept(monkeypatch, resumed=[], not_reread=["loans"])
    assert run.mark is None
    (note,) = run.notes
    assert note.startswith("loans: so many rows were written during the scan")
