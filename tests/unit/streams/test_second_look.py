"""What cannot be undone is believed after two looks in a row that agree."""

from collections.abc import Sequence

import pytest

from shared import errors
from shared.rpc.answers import Reach
from streams import second_look

URL, OTHER = "https://one.example", "https://other.example"


def reach(oldest: int, latest: int, *, silent: tuple[str, ...] = (), foreign: tuple[str, ...] = ()) -> Reach:
    return Reach(oldest_ledger=oldest, latest_ledger=latest, silent=silent, foreign=foreign)


class Nodes:
    """Gives one look after the other; the last one again and again."""

    def __init__(self, looks: Sequence[Reach]) -> None:
        self.looks = list(looks)
        self.asked = 0

    async def reach(self, *, anew: bool = False) -> Reach:
        assert anew
        self.asked += 1
        return self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]


@pytest.fixture(autouse=True)
def short_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second_look, "PAUSE_SECONDS", 0.0)


OURS, STRAY = reach(100, 200), reach(57_879_040, 58_000_000)


@pytest.mark.parametrize(
    ("looks", "asked"),
    [
        ([OURS], 2),
        ([OURS, reach(101, 201)], 2),  # it went on, and forgot a ledger
        ([OURS, reach(100, 199), OURS], 2),  # another backend of the same node
        ([STRAY, OURS], 3),
        ([OURS, STRAY, OURS], 4),
        ([reach(150, 200), reach(100, 200)], 3),  # the one that holds more did not count in the first look
        ([OURS, reach(150, 200, silent=(URL,)), OURS], 4),
        ([OURS, reach(150, 200, foreign=(OTHER,)), OURS], 4),
    ],
)
async def test_the_look_that_is_confirmed_counts(looks: Sequence[Reach], asked: int):
    nodes = Nodes(looks)
    found = await second_look.reach(nodes)
    assert nodes.asked == asked
    assert (found.silent, found.foreign) == ((), ())
    assert found.latest_ledger < 300


async def test_looks_that_never_agree_are_an_error():
    nodes = Nodes([OURS, STRAY] * second_look.LOOKS)
    with pytest.raises(errors.RpcContradiction, match="other ledgers each time"):
        await second_look.reach(nodes)
    assert nodes.asked == second_look.LOOKS
