"""Where the stream resumes: at the end of the chain of frames, or at its first break."""

from collections.abc import Sequence
from typing import Any

import pytest

from shared import frames, position
from streams.resume import Link, Standing, newest, standing_of

A, B = "A", "B"
SCOPE: dict[str, Any] = {"network": "Test", "scope": "scope"}


def origin(ledger: int, *contracts: str) -> frames.Origin:
    return frames.Origin(**SCOPE, contracts=contracts or (A,), through=position.end_of(ledger))


def live(after: int, through: int, *contracts: str) -> frames.Page:
    ends: dict[str, Any] = {"after": position.end_of(after), "through": position.end_of(through)}
    return frames.Page(**SCOPE, **ends, kind="live", contracts=contracts or (A,))


def fill(after: int, through: int, *contracts: str) -> frames.Page:
    ends: dict[str, Any] = {"after": position.end_of(after), "through": position.end_of(through)}
    return frames.Page(**SCOPE, **ends, kind="fill", contracts=contracts or (A,))


def gap(after: int, through: int) -> frames.Gap:
    return frames.Gap(**SCOPE, after=position.end_of(after), through=position.end_of(through), reason="lost")


def closed(after: int, through: int) -> frames.Closed:
    return frames.Closed(**SCOPE, after=position.end_of(after), through=position.end_of(through), ledger=90)


@pytest.mark.parametrize(
    ("links", "ledger"),
    [
        ([origin(10)], 10),
        ([origin(10), live(10, 20), live(20, 30)], 30),
        # gaps carry on, however often they were noted
        ([origin(10), gap(10, 20), gap(20, 25)], 25),
        ([origin(10), gap(10, 20), gap(10, 30)], 30),
        ([origin(10), gap(2, 5), gap(50, 60)], 10),
        ([live(0, 10), gap(10, 20), live(20, 30)], 30),
        # a break: the first piece of a page, one in the middle, a whole page, a gap record
        ([origin(10), live(20, 30)], 10),
        ([origin(10), live(10, 20), live(25, 30), live(30, 40)], 20),
        ([live(5, 20), live(25, 30), live(30, 40), live(45, 50)], 20),
        ([live(5, 20), live(25, 30), gap(30, 40)], 20),
        # overlaps and repetitions are none, and neither is what a late writer adds
        ([origin(10), live(10, 20), live(15, 30), live(10, 20), live(30, 40)], 40),
        ([origin(10), live(20, 30), live(10, 20), live(30, 40)], 40),
        # what was filled or superseded since is no break any more; neither carries beyond the stream's own frames
        ([live(5, 20), live(25, 30), fill(20, 22), fill(22, 25)], 30),
        ([live(5, 20), live(25, 30), closed(20, 25)], 30),
        ([live(5, 20), live(25, 30), fill(20, 24)], 24),
        ([live(5, 20), fill(15, 40)], 20),
        # two indexers that began at the same moment: the first origin is the one that counts
        ([origin(10), origin(20), live(20, 30)], 10),
        # a gap that claims more than the chain has, withdrawn by an origin that says where the stream goes on
        ([live(0, 10), gap(10, 900), origin(10)], 10),
        ([live(0, 10), gap(10, 900), origin(10), live(10, 20)], 20),
        ([live(0, 10), gap(10, 900), closed(10, 900), origin(10), live(10, 20)], 20),
        ([live(0, 10), gap(10, 900), gap(900, 950), origin(10), live(10, 20), gap(20, 25)], 25),
        ([live(0, 10), gap(10, 15), gap(15, 900), origin(15), live(15, 20)], 20),
        ([live(0, 10), gap(10, 900), origin(15), live(15, 20)], 20),
        # and what was lost of it all the same is a break, which is read again
        ([live(0, 10), gap(10, 20), live(20, 30), gap(30, 900), origin(10), live(30, 40)], 10),
    ],
)
def test_it_resumes_where_the_chain_ends(links: Sequence[Link], ledger: int):
    assert standing_of(links).through == position.end_of(ledger)


def test_what_was_read_before_a_contract_was_added_is_no_break_of_that_contract():
    links: list[Link] = [live(0, 10), gap(10, 20), live(20, 30), origin(30, A, B), live(30, 40, A, B)]
    assert standing_of(links) == Standing(contracts=(A, B), through=position.end_of(40))


def test_a_fill_of_one_contract_does_not_close_a_break_of_another():
    links = [live(0, 10, A, B), live(20, 30, A, B), fill(10, 20, B)]
    assert standing_of(links).through == position.end_of(10)
    assert standing_of([*links, fill(10, 20, A)]).through == position.end_of(30)
    assert newest(links) == position.end_of(30)


def test_frames_that_name_no_contract_are_of_all():
    pages = [
        frames.Page(**SCOPE, kind="live", after=position.end_of(n), through=position.end_of(n + 1)) for n in (1, 3)
    ]
    assert standing_of(pages) == Standing(contracts=(), through=position.end_of(2))
    assert standing_of([origin(1), *pages]).through == position.end_of(2)
