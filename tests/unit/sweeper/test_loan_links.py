"""Which provisional row is which loan: a link counts only where it is unique in both directions, and nothing may still come."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.stepfi.loan_links import BOTH, HASH, POSSIBLE, TERMS, Evidence, Link, LinkKind, Links, resolve

NOW = datetime(2026, 8, 1, 12, tzinfo=UTC)
CLOSED = NOW - timedelta(seconds=1)


def decided(
    *,
    by_hash: Mapping[str, Collection[str]] | None = None,
    by_terms: Mapping[str, Collection[str]] | None = None,
    near: Mapping[str, Collection[str]] | None = None,
    contradicted: Mapping[str, Collection[str]] | None = None,
    unknown: Mapping[str, tuple[str, ...]] | None = None,
    still_open: Collection[str] = (),
    with_row: Collection[str] = (),
    watermark_at: datetime | None = NOW,
) -> Links:
    """The links of rows of which each kind of evidence names loans."""
    parts = [by_hash or {}, by_terms or {}, near or {}, contradicted or {}, unknown or {}]
    evidence = {
        row: Evidence(
            hashed=frozenset(parts[0].get(row, ())),
            terms=frozenset(parts[1].get(row, ())),
            near=dict.fromkeys(parts[2].get(row, ()), ("why",)),
            contradicted=tuple(parts[3].get(row, ())),
            unknown=tuple(parts[4].get(row, ())),
            closes_at=NOW if row in still_open else CLOSED,
        )
        for row in dict.fromkeys(row for part in parts for row in part)
    }
    return resolve(evidence, with_row=frozenset(with_row), watermark_at=watermark_at)


def kinds(links: Links) -> dict[str, str]:
    return {row: link.kind.value for row, link in links.of_row.items()}


class TestProofs:
    @pytest.mark.parametrize("by", ["by_hash", "by_terms"])
    def test_one_row_and_one_loan(self, by: str) -> None:
        proofs: Any = {by: {"r": ["1"]}}
        links = decided(**proofs)
        assert (kinds(links), links.of_row["r"].key, links.claimed) == ({"r": "unique"}, "1", {"1"})
        assert links.of_row["r"].is_proven

    def test_two_loans_for_one_row(self) -> None:
        links = decided(by_terms={"r": ["2", "1"]})
        assert (links.of_row["r"].candidates, links.of_row["r"].key, links.claimed) == (("1", "2"), None, {"1", "2"})
        assert kinds(links) == {"r": "ambiguous"}

    def test_two_rows_for_one_loan(self) -> None:
        links = decided(by_terms={"r": ["1"], "s": ["1"]})
        assert kinds(links) == {"r": "ambiguous", "s": "ambiguous"}
        assert (links.of_row["r"].rivals, links.of_row["s"].rivals, links.claimed) == (("s",), ("r",), {"1"})

    def test_a_row_that_is_not_proven_takes_no_loan_away(self) -> None:
        """s fits loan 2 alone, but r may be loan 2 as well, so neither is proven."""
        assert kinds(decided(by_terms={"r": ["1", "2"], "s": ["2"]})) == {"r": "ambiguous", "s": "ambiguous"}

    def test_a_loan_that_has_its_row_is_no_candidate(self) -> None:
        links = decided(by_terms={"r": ["1", "2"]}, with_row={"2"})
        assert (kinds(links), links.of_row["r"].key, links.claimed) == ({"r": "unique"}, "1", {"1"})

    def test_nor_is_one_that_another_row_is_proven_to_be(self) -> None:
        links = decided(by_hash={"s": ["2"]}, by_terms={"r": ["1", "2"]})
        assert (kinds(links), links.of_row["r"].key, links.claimed) == ({"s": "unique", "r": "unique"}, "1", {"1", "2"})

    def test_a_proof_that_is_still_open_takes_no_loan_away(self) -> None:
        links = decided(by_hash={"s": ["2"]}, by_terms={"r": ["1", "2"]}, still_open={"s"})
        assert (kinds(links)["r"], links.claimed) == ("ambiguous", {"1", "2"})

    def test_a_row_all_of_whose_loans_are_other_rows_is_a_duplicate(self) -> None:
        links = decided(by_hash={"h": ["3"]}, by_terms={"r": ["1"], "s": ["1", "2"]}, with_row={"1", "2", "3"})
        assert (kinds(links), links.claimed) == ({"h": "taken", "r": "taken", "s": "taken"}, frozenset())
        proven = decided(by_hash={"r": ["1"]}, by_terms={"r": ["1"], "s": ["1"]})
        assert (kinds(proven), proven.of_row["s"].rivals, proven.of_row["r"].rivals) == (
            {"r": "unique", "s": "taken"},
            ("r",),
            (),
        )

    def test_a_duplicate_weakens_no_other_row(self) -> None:
        links = decided(by_terms={"r": ["1"], "s": ["2"]}, near={"r": ["2"]}, with_row={"1"})
        assert (kinds(links), links.of_row["s"].key) == ({"r": "taken", "s": "unique"}, "2")

    def test_a_row_that_nothing_speaks_for_has_no_link(self) -> None:
        assert decided(by_hash={"r": []}, by_terms={"s": []}).of_row == {}


class TestHashes:
    def test_a_hash_decides_between_equal_terms(self) -> None:
        links = decided(by_hash={"r": ["1"]}, by_terms={"r": ["1", "2"]})
        assert (links.of_row["r"].by, links.of_row["r"].key) == (HASH, "1")
        assert links.claimed == {"1"}  # loan 2 is missing: the row is proven to be another

    def test_a_hash_against_the_terms_is_ambiguous(self) -> None:
        links = decided(by_hash={"r": ["1"]}, by_terms={"r": ["2"]})
        assert (kinds(links), links.of_row["r"].by, links.of_row["r"].candidates) == (
            {"r": "ambiguous"},
            BOTH,
            ("1", "2"),
        )
        assert links.claimed == {"1", "2"}

    @pytest.mark.parametrize("taken", ["1", "2"])
    def test_against_terms_of_which_the_loan_has_a_row_it_stands(self, taken: str) -> None:
        links = decided(by_hash={"r": ["1"]}, by_terms={"r": ["2"]}, with_row={taken})
        assert kinds(links) == {"r": "ambiguous" if taken == "1" else "unique"}

    def test_against_terms_of_which_the_loan_is_proven_to_be_another_row_it_stands(self) -> None:
        links = decided(by_hash={"r": ["1"], "s": ["2"]}, by_terms={"r": ["2"], "s": ["2"]})
        assert {row: (link.kind.value, link.key) for row, link in links.of_row.items()} == {
            "r": ("unique", "1"),
            "s": ("unique", "2"),
        }

    def test_a_hash_without_the_terms_against_another_row_with_them_is_ambiguous(self) -> None:
        links = decided(by_hash={"r": ["1"]}, by_terms={"s": ["1"]})
        assert (kinds(links), links.claimed) == ({"r": "ambiguous", "s": "ambiguous"}, {"1"})
        assert (links.of_row["r"].by, links.of_row["r"].rivals) == (BOTH, ("s",))
        # A row that has other loans to be, or is proven to be another, is no conflict.
        assert kinds(decided(by_hash={"r": ["1"]}, by_terms={"s": ["1", "2"]}))["r"] == "unique"
        links = decided(by_hash={"r": ["1"], "s": ["2"]}, by_terms={"s": ["1", "2"]}, with_row=())
        assert {row: link.key for row, link in links.of_row.items()} == {"r": "1", "s": "2"}

    def test_a_hash_of_a_loan_that_has_its_row_against_terms_that_are_left_over_is_ambiguous(self) -> None:
        links = decided(by_hash={"r": ["1"]}, by_terms={"r": ["1", "2"]}, with_row={"1"})
        assert (kinds(links), links.of_row["r"].candidates) == ({"r": "ambiguous"}, ("1", "2"))
        assert links.claimed == {"2"}

    def test_two_envelopes_that_name_one_row_or_two_rows_of_one_envelope(self) -> None:
        assert kinds(decided(by_hash={"r": ["1", "2"]})) == {"r": "ambiguous"}
        assert kinds(decided(by_hash={"r": ["1", "2"]}, with_row={"2"})) == {"r": "ambiguous"}
        assert kinds(decided(by_hash={"r": ["1"], "s": ["1"]})) == {"r": "ambiguous", "s": "ambiguous"}

    def test_what_is_not_known_speaks_against_terms_and_against_no_hash(self) -> None:
        links = decided(by_hash={"r": ["1"]}, by_terms={"s": ["2"]}, unknown={"r": ("loan 5",), "s": ("loan 5",)})
        assert {row: link.unknown for row, link in links.of_row.items()} == {"r": (), "s": ("loan 5",)}
        assert [links.of_row[row].is_proven for row in "rs"] == [True, False]


class TestWindow:
    @pytest.mark.parametrize("by", ["by_hash", "by_terms"])
    @pytest.mark.parametrize("watermark_at", [NOW, NOW - timedelta(minutes=1), None])
    def test_until_it_closes_nothing_is_proven_and_everything_is_claimed(self, by: str, watermark_at: Any) -> None:
        proofs: Any = {by: {"r": ["1"]}}
        links = decided(**proofs, near={"r": ["2"]}, still_open={"r"}, watermark_at=watermark_at)
        link = links.of_row["r"]
        assert (link.kind, link.key, link.is_open, link.is_proven) == (LinkKind.UNIQUE, "1", True, False)
        assert (link.closes_at, links.claimed) == (NOW, {"1", "2"})

    def test_a_row_without_a_time_never_closes(self) -> None:
        links = resolve({"r": Evidence(hashed={"1"})}, with_row=frozenset(), watermark_at=NOW)
        assert (links.of_row["r"].is_open, links.of_row["r"].closes_at) == (True, None)


class TestNear:
    def test_a_possible_match_is_ambiguous_and_claims_its_loan(self) -> None:
        links = decided(near={"r": ["2", "1"]}, contradicted={"r": ["3"]})
        link = links.of_row["r"]
        assert (link.kind, link.by, link.candidates, dict(link.near)) == (
            *(LinkKind.AMBIGUOUS, POSSIBLE, ("1", "2")),
            {"1": ("why",), "2": ("why",)},
        )
        assert (links.claimed, link.loans) == ({"1", "2"}, {"1", "2", "3"})

    def test_it_weakens_no_proof(self) -> None:
        links = decided(by_terms={"r": ["1"]}, near={"r": ["2"], "s": ["1", "2"]})
        assert (links.of_row["r"].key, links.of_row["r"].is_proven) == ("1", True)
        # Loan 1 is another row's; loan 2 is left over for s, and no longer for r.
        assert (links.of_row["s"].candidates, links.claimed) == (("2",), {"1", "2"})

    def test_loans_that_other_rows_are_are_no_candidates(self) -> None:
        links = decided(by_terms={"r": ["1"]}, near={"s": ["1"]}, with_row={"3"})
        assert kinds(links) == {"r": "unique"}
        assert kinds(decided(near={"s": ["1", "2"]}, with_row={"1", "2"})) == {}

    def test_rows_that_may_be_the_same_loan_name_each_other(self) -> None:
        links = decided(by_terms={"q": ["1", "2"]}, near={"r": ["1"], "s": ["1"]})
        assert links.of_row["r"].rivals == ("q", "s")

    def test_a_contradicted_loan_is_no_candidate_and_not_claimed(self) -> None:
        links = decided(contradicted={"r": ["1"]})
        assert (kinds(links), links.of_row["r"].contradicted, links.claimed) == ({"r": "none"}, ("1",), frozenset())
        assert decided(contradicted={"r": ["1"]}, with_row={"1"}).of_row == {}
        assert decided(contradicted={"r": ["1"]}, by_terms={"s": ["1"]}).of_row.keys() == {"s"}

    def test_a_duplicate_still_claims_what_it_may_be_instead(self) -> None:
        links = decided(by_terms={"r": ["1"]}, near={"r": ["2"]}, with_row={"1"})
        assert (kinds(links), links.claimed) == ({"r": "taken"}, {"2"})


rows, loans = st.sampled_from("rstuv"), st.sampled_from("12345")
candidates = st.dictionaries(rows, st.lists(loans, max_size=3, unique=True), max_size=5)
worlds = st.fixed_dictionaries(
    {
        "by_hash": st.dictionaries(rows, st.lists(loans, max_size=2, unique=True), max_size=3),
        "by_terms": candidates,
        "near": candidates,
        "contradicted": candidates,
        "unknown": st.dictionaries(rows, st.just(("loan 9",)), max_size=1),
        "still_open": st.sets(rows, max_size=2),
        "with_row": st.sets(loans, max_size=3),
    }
)
World = dict[str, Any]


def proofs(world: World, row: str) -> set[str]:
    return {*world["by_hash"].get(row, ()), *world["by_terms"].get(row, ())}


@given(worlds)
def test_no_loan_is_proven_to_be_two_rows_and_none_that_has_a_row(world: World) -> None:
    linked = [link.key for link in decided(**world).of_row.values() if link.is_proven]
    assert len(linked) == len(set(linked))
    assert not set(linked) & world["with_row"]


@given(worlds)
def test_a_link_is_unique_in_both_directions(world: World) -> None:
    links = decided(**world)
    for row, link in links.of_row.items():
        if not link.is_proven:
            continue
        assert link.key in proofs(world, row)
        assert row not in world["still_open"]
        for other, its in links.of_row.items():
            if other != row and link.key in proofs(world, other):
                # Another row that something connects with the loan is another loan's, or has terms alone against a hash.
                assert its.is_proven or (link.by == HASH and link.key not in world["by_hash"].get(other, ()))
        if link.by == TERMS:
            taken = {one.key for name, one in links.of_row.items() if name != row and one.is_proven}
            assert {*world["by_terms"][row]} - world["with_row"] - taken == {link.key}


@given(worlds)
def test_a_loan_that_some_row_may_be_is_never_missing(world: World) -> None:
    links = decided(**world)
    proven = {row: link.key for row, link in links.of_row.items() if link.is_proven}
    for row in "rstuv":
        maybe = {*proofs(world, row), *world["near"].get(row, ())}
        for loan in maybe - world["with_row"]:
            assert loan in links.claimed or row in proven
    assert not links.claimed & world["with_row"]


@given(worlds, rows, loans)
def test_a_possible_match_changes_no_proof(world: World, row: str, loan: str) -> None:
    more = {**world, "near": {**world["near"], row: [*world["near"].get(row, ()), loan]}}
    before, after = decided(**world), decided(**more)
    assert _proven(before) == _proven(after)
    assert before.claimed <= after.claimed


@given(worlds, st.randoms(use_true_random=False))
def test_the_order_in_which_things_were_read_is_of_no_account(world: World, chance: Any) -> None:
    def shuffled(part: Mapping[str, list[str]]) -> dict[str, list[str]]:
        names = list(part)
        chance.shuffle(names)
        return {name: chance.sample(part[name], len(part[name])) for name in names}

    names = ("by_hash", "by_terms", "near", "contradicted")
    assert decided(**world | {name: shuffled(world[name]) for name in names}) == decided(**world)


@given(worlds, rows, loans)
def test_more_equal_terms_of_a_row_that_is_not_proven_make_no_link(world: World, row: str, loan: str) -> None:
    """Only a proven row takes its loan away from the others, which may prove one of them."""
    more = {**world["by_terms"], row: [*world["by_terms"].get(row, ()), loan]}
    before, after = _proven(decided(**world)), _proven(decided(**{**world, "by_terms": more}))
    # A row whose terms were those of one loan alone was in conflict with a hash that leads there, and is no longer.
    was_of_one = len({*world["by_terms"].get(row, ())} - world["with_row"]) == 1
    if row not in after and not (was_of_one and world["by_hash"]):
        assert after.items() <= before.items()


def _proven(links: Links) -> dict[str, str | None]:
    return {row: link.key for row, link in links.of_row.items() if link.is_proven}


def test_a_link_says_nothing_by_default() -> None:
    assert (Link(kind=LinkKind.NONE).key, Link(kind=LinkKind.NONE).is_proven) == (None, False)
