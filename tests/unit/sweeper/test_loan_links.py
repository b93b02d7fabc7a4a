"""Which provisional row is which loan: a link counts only where it is unique in both directions."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.stepfi.loan_links import Link, LinkKind, Links, matches, resolve

AT = datetime(2026, 8, 1, 12, 0, 0, 250_000, tzinfo=UTC)
WINDOW = timedelta(hours=1)
ROW = {
    "user_wallet": "GB",
    "vendor_wallet": "GV",
    "amount": Decimal("100.00"),
    "guarantee": Decimal("20.00"),
    "created_at": AT,
}
LOAN = {
    "borrower": "GB",
    "vendor": "GV",
    "amount": Decimal("100.0000000"),
    "guarantee": Decimal("20.0000000"),
    "created_at": AT + timedelta(seconds=5),
}


def fits(row: dict[str, Any], loan: dict[str, Any], *, tolerance: str = "0") -> bool:
    return matches({**ROW, **row}, {**LOAN, **loan}, window=WINDOW, tolerance=Decimal(tolerance))


class TestMatches:
    def test_wallet_vendor_amounts_and_time_agree(self) -> None:
        assert fits({}, {})

    @pytest.mark.parametrize(
        ("row", "loan"),
        [
            ({"user_wallet": "GX"}, {}),
            ({"vendor_wallet": "GX"}, {}),
            ({"vendor_wallet": None}, {}),
            ({"vendor_wallet": None}, {"vendor": None}),
            ({"amount": Decimal("100.01")}, {}),
            ({"guarantee": Decimal("20.01")}, {}),
            ({}, {"amount": Decimal("0.001"), "guarantee": Decimal("0.0002")}),  # another scale: not ours to guess
            ({}, {"created_at": AT - timedelta(microseconds=1)}),
            ({}, {"created_at": AT + WINDOW + timedelta(microseconds=1)}),
        ],
    )
    def test_whatever_differs_it_is_another_loan(self, row: dict[str, Any], loan: dict[str, Any]) -> None:
        assert not fits(row, loan)

    def test_the_window_has_both_its_ends(self) -> None:
        assert fits({}, {"created_at": AT})
        assert fits({}, {"created_at": AT + WINDOW})

    def test_the_tolerance_is_of_each_amount(self) -> None:
        assert fits({"amount": Decimal("100.01"), "guarantee": Decimal("19.99")}, {}, tolerance="0.01")
        assert not fits({"amount": Decimal("100.02")}, {}, tolerance="0.01")

    def test_a_moment_is_the_same_in_every_time_zone(self) -> None:
        west = timezone(timedelta(hours=-8))
        assert fits({"created_at": AT.astimezone(west)}, {"created_at": AT})
        assert fits({}, {"created_at": (AT + WINDOW).astimezone(west)})


def kinds(links: Links) -> dict[str, str]:
    return {row: link.kind.value for row, link in links.of_row.items()}


class TestResolve:
    def test_one_row_and_one_loan(self) -> None:
        for by_hash, by_terms in (({"r": ["1"]}, {}), ({}, {"r": ["1"]})):
            links = resolve(by_hash=by_hash, by_terms=by_terms, with_row=frozenset())
            assert (kinds(links), links.of_row["r"].key, links.claimed) == ({"r": "unique"}, "1", {"1"})

    def test_what_is_not_known_speaks_against_terms_and_against_no_hash(self) -> None:
        unknown = {"r": ("loan 5",), "s": ("loan 5",), "none": ("loan 5",)}
        links = resolve(by_hash={"r": ["1"]}, by_terms={"s": ["2"]}, with_row=frozenset(), unknown=unknown)
        assert {row: link.unknown for row, link in links.of_row.items()} == {"r": (), "s": ("loan 5",)}

    def test_a_hash_outweighs_the_terms_of_its_row(self) -> None:
        links = resolve(by_hash={"r": ["1"]}, by_terms={"r": ["1", "2"]}, with_row=frozenset())
        assert (links.of_row["r"].by, links.of_row["r"].key) == ("transaction hash", "1")
        assert links.claimed == {"1"}  # loan 2 is missing: nothing else speaks for it

    def test_two_loans_for_one_row(self) -> None:
        links = resolve(by_hash={}, by_terms={"r": ["2", "1"]}, with_row=frozenset())
        assert links.of_row["r"] == Link(kind=LinkKind.AMBIGUOUS, by="terms", candidates=("1", "2"))
        assert (links.of_row["r"].key, links.claimed) == (None, {"1", "2"})

    def test_two_rows_for_one_loan(self) -> None:
        links = resolve(by_hash={}, by_terms={"r": ["1"], "s": ["1"]}, with_row=frozenset())
        assert kinds(links) == {"r": "ambiguous", "s": "ambiguous"}
        assert (links.of_row["r"].rivals, links.of_row["s"].rivals) == (("s",), ("r",))

    def test_nothing_is_linked_by_being_the_only_one_left(self) -> None:
        """s is surely 2, so r could only be 1: but that is a guess about s."""
        links = resolve(by_hash={}, by_terms={"r": ["1", "2"], "s": ["2"]}, with_row=frozenset())
        assert kinds(links) == {"r": "ambiguous", "s": "ambiguous"}

    def test_nor_by_a_loan_that_has_its_row_already(self) -> None:
        links = resolve(by_hash={}, by_terms={"r": ["1", "2"]}, with_row={"2"})
        assert (kinds(links), links.claimed) == ({"r": "ambiguous"}, {"1"})

    def test_a_loan_that_a_hash_speaks_for_is_not_another_row_s_by_terms(self) -> None:
        links = resolve(by_hash={"r": ["1"]}, by_terms={"s": ["1"]}, with_row=frozenset())
        assert kinds(links) == {"r": "unique", "s": "ambiguous"}
        assert (links.of_row["s"].rivals, links.of_row["r"].rivals) == (("r",), ())

    def test_two_envelopes_that_name_one_row_or_two_rows_of_one_envelope(self) -> None:
        assert kinds(resolve(by_hash={"r": ["1", "2"]}, by_terms={}, with_row=frozenset())) == {"r": "ambiguous"}
        both = resolve(by_hash={"r": ["1"], "s": ["1"]}, by_terms={}, with_row=frozenset())
        assert kinds(both) == {"r": "ambiguous", "s": "ambiguous"}

    def test_loans_that_all_have_rows_make_it_a_duplicate(self) -> None:
        links = resolve(by_hash={"h": ["3"]}, by_terms={"r": ["1"], "s": ["1", "2"]}, with_row={"1", "2", "3"})
        assert kinds(links) == {"h": "taken", "r": "taken", "s": "taken"}
        assert links.claimed == frozenset()

    def test_a_row_without_candidates_has_no_link(self) -> None:
        assert resolve(by_hash={"r": []}, by_terms={"r": ["1"], "s": []}, with_row=frozenset()).of_row.keys() == {"r"}


rows, loans = st.sampled_from("rstuv"), st.sampled_from("12345")
candidates = st.dictionaries(rows, st.lists(loans, max_size=4), max_size=5)
worlds = st.fixed_dictionaries({"by_hash": candidates, "by_terms": candidates, "with_row": st.sets(loans, max_size=3)})


def speaks(world: dict[str, Any], row: str) -> set[str]:
    """The loans that count for a row: those of a hash, where one names the row."""
    return set(world["by_hash"].get(row) or world["by_terms"].get(row) or ())


@given(worlds)
def test_no_row_is_linked_twice_and_no_loan(world: dict[str, Any]) -> None:
    linked = [link.key for link in resolve(**world).of_row.values() if link.key is not None]
    assert len(linked) == len(set(linked))


@given(worlds)
def test_a_link_is_unique_in_both_directions(world: dict[str, Any]) -> None:
    links = resolve(**world)
    for row, link in links.of_row.items():
        if link.key is None:
            continue
        assert speaks(world, row) == {link.key}
        others = [other for other in "rstuv" if other != row and link.key in speaks(world, other)]
        # Whoever else it might be has only terms to say so, and is not linked to it.
        assert link.by == "transaction hash" or not others
        assert all(not world["by_hash"].get(other) for other in others)
        assert all(links.of_row[other].key is None for other in others)
        assert link.key not in world["with_row"]


@given(worlds)
def test_every_row_that_something_speaks_for_is_accounted_for(world: dict[str, Any]) -> None:
    links = resolve(**world)
    assert links.of_row.keys() == {row for row in "rstuv" if speaks(world, row)}
    named = {loan for link in links.of_row.values() for loan in link.candidates}
    assert links.claimed == named - world["with_row"]
    for row, link in links.of_row.items():
        assert set(link.candidates) == speaks(world, row)
        assert row not in link.rivals
        assert (link.kind is LinkKind.TAKEN) == (speaks(world, row) <= world["with_row"])


@given(worlds, st.randoms(use_true_random=False))
def test_the_order_in_which_things_were_read_is_of_no_account(world: dict[str, Any], chance: Any) -> None:
    def shuffled(told: dict[str, list[str]]) -> dict[str, list[str]]:
        names = list(told)
        chance.shuffle(names)
        return {name: chance.sample(told[name], len(told[name])) for name in names}

    other = {**world, "by_hash": shuffled(world["by_hash"]), "by_terms": shuffled(world["by_terms"])}
    assert resolve(**other) == resolve(**world)


@given(worlds)
def test_rows_and_loans_are_alike(world: dict[str, Any]) -> None:
    """By terms alone, turning rows into loans and loans into rows links the same pairs."""
    by_terms = {row: found for row, found in world["by_terms"].items() if found}
    turned: dict[str, list[str]] = {}
    for row, found in by_terms.items():
        for loan in found:
            turned.setdefault(loan, []).append(row)
    there = resolve(by_hash={}, by_terms=by_terms, with_row=frozenset()).of_row
    back = resolve(by_hash={}, by_terms=turned, with_row=frozenset()).of_row
    pairs = {(row, link.key) for row, link in there.items() if link.key}
    assert pairs == {(link.key, loan) for loan, link in back.items() if link.key}


@given(worlds, rows, loans)
def test_more_evidence_against_it_never_makes_a_link(world: dict[str, Any], row: str, loan: str) -> None:
    """One more candidate by terms may take links away; it gives none but to a row that had no candidate."""
    more = {**world["by_terms"], row: [*world["by_terms"].get(row, ()), loan]}
    before, after = resolve(**world), resolve(**{**world, "by_terms": more})
    for name, link in after.of_row.items():
        if link.key is not None and not (name == row and not speaks(world, row)):
            assert before.of_row[name].key == link.key
