"""What of a gap the nodes still hold, and what a page proves of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import frames, position
from shared.coverage import Range
from shared.rpc.answers import EventPage, Reach
from streams import filler, second_look
from streams.filler import Hole
from streams.indexer import Scope

CONTRACT = "CAKNWUFCM4ZB3W73TPZCYWBEJUCT4HLWLEGHYZFONSTXMGOMTWFNUZLG"
SCOPE = Scope(network="Test", name="scope", contracts=(CONTRACT, "other"), partition=0)


def hole(after: int, through: int) -> Hole:
    return Hole(range=Range(position.end_of(after), position.end_of(through)), contracts=(CONTRACT,))


def event(ledger: int) -> frames.Event:
    return frames.Event(
        id=f"{ledger << 32 | 1 << 12:019d}-{0:010d}",
        type="contract",
        contract=CONTRACT,
        tx_hash="ab" * 32,
        closed_at="2026-08-20T10:10:22Z",
        topics=(),
        value="AAAAAQ==",
    )


def page(*events: frames.Event, cursor: str) -> EventPage:
    return EventPage(
        events=events,
        cursor=cursor,
        latest_ledger=100,
        oldest_ledger=1,
        latest_close_time=1,
        oldest_close_time=0,
        node="node",
    )


@pytest.mark.parametrize(
    ("oldest", "lost", "held"),
    [
        (5, None, hole(10, 20)),
        (11, None, hole(10, 20)),
        (15, hole(10, 14), hole(14, 20)),
        (21, hole(10, 20), None),
        (90, hole(10, 20), None),
    ],
)
def test_a_hole_is_split_at_the_oldest_ledger(oldest: int, lost: Hole | None, held: Hole | None):
    assert filler.split(hole(10, 20), oldest=oldest) == (lost, held)


@given(st.integers(0, 40), st.integers(1, 40), st.integers(1, 90))
def test_the_parts_of_a_hole_are_the_hole(after: int, length: int, oldest: int):
    whole = hole(after, after + length)
    parts = [part.range for part in filler.split(whole, oldest=oldest) if part is not None]
    assert parts[0].after == whole.range.after
    assert parts[-1].through == whole.range.through
    assert len(parts) == 1 or parts[0].through == parts[1].after
    assert all(part.after < part.through for part in parts)


def test_of_a_hole_that_begins_within_a_ledger_the_rest_of_it_is_lost_with_it():
    inside = Hole(range=Range(event(10).id, position.end_of(20)), contracts=(CONTRACT,))
    lost, held = filler.split(inside, oldest=11)
    assert lost is not None
    assert lost.range == Range(event(10).id, position.end_of(10))
    assert held == hole(10, 20)


def test_a_page_proves_the_hole_up_to_its_cursor():
    frame = filler.frame_of(page(event(12), cursor=position.end_of(15)), hole(10, 20), SCOPE)
    assert (frame.kind, frame.after, frame.through) == ("fill", position.end_of(10), position.end_of(15))
    assert frame.contracts == (CONTRACT,)
    assert frame.events == (event(12),)


def test_what_lies_behind_the_hole_is_left_out():
    frame = filler.frame_of(page(event(12), event(25), cursor=position.end_of(30)), hole(10, 20), SCOPE)
    assert frame.through == position.end_of(20)
    assert frame.events == (event(12),)


class Shrinking:
    """Nodes of which the second look tells that they hold the ledgers after all."""

    def __init__(self, *oldest: int) -> None:
        self._oldest = list(oldest)

    async def reach(self, *, anew: bool = False) -> Reach:
        assert anew
        oldest = self._oldest.pop(0) if len(self._oldest) > 1 else self._oldest[0]
        return Reach(oldest_ledger=oldest, latest_ledger=100, silent=())


@pytest.mark.parametrize(("oldest", "lost"), [((30,), True), ((30, 5), False), ((5,), False)])
async def test_what_is_to_be_closed_is_looked_for_twice_more(
    oldest: tuple[int, ...], lost: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(second_look, "PAUSE_SECONDS", 0.0)
    assert await filler.is_lost([hole(10, 20)], Shrinking(*oldest)) is lost
