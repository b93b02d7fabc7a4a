"""Matching hashes against a plain comparison of dictionaries; spilling, breaking off and going on; canaries."""

import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared import errors
from sweeper.digest import canary, match, scan, spill
from sweeper.digest.match import Unequal
from sweeper.digest.spec import NOTHING, Kind
from sweeper.digest.spill import Manifest, SideProgress, Spill

NAME = "0123456789abcdef0123456789abcdef"
small = st.integers(0, 6)
TOP = np.uint64(1 << 61)
NO_KEY = (NOTHING, NOTHING)
"""The hashes of a row that has nothing to be compared; a key may have the hash 0, and a row as well."""


def app_records(rows: list[tuple[int, int]]) -> Any:
    """(key, row) pairs, with ids that tell their place."""
    records = np.empty(len(rows), scan.stored(with_id=True))
    for number, (key, row) in enumerate(rows):
        records[number] = (np.void(uuid.UUID(int=number).bytes), np.uint64(key) * TOP, row)
    return records


def chain_records(rows: list[tuple[int, int]]) -> Any:
    records = np.empty(len(rows), scan.stored(with_id=False))
    for number, (key, row) in enumerate(rows):
        records[number] = (np.uint64(key) * TOP, row)
    return records


def numbers(ids: Any) -> set[int]:
    return {uuid.UUID(bytes=bytes(one)).int for one in ids}


@given(st.lists(st.tuples(small, small)), st.lists(st.tuples(small, small)))
def test_a_row_needs_a_look_unless_it_alone_says_what_the_entity_says(
    app: list[tuple[int, int]], chain: list[tuple[int, int]]
) -> None:
    found = match.unequal(app_records(app), chain_records(chain))
    expected: dict[int, set[int]] = {}
    for key, row in chain:
        expected.setdefault(key, set()).add(row)
    twice = Counter(key for key, _ in chain)
    shared = Counter(pair[0] for pair in app if pair != NO_KEY)
    differing = {
        number
        for number, (key, row) in enumerate(app)
        if (key, row) != NO_KEY and key in expected and (expected[key] != {row} or shared[key] > 1 or twice[key] > 1)
    }
    assert numbers(found.differing) == differing
    assert numbers(found.app_only) == {
        n for n, (key, row) in enumerate(app) if (key, row) != NO_KEY and key not in expected
    }
    assert numbers(found.app_twins) == {n for n in numbers(found.app_only) if shared[app[n][0]] > 1}
    named = {pair[0] for pair in app if pair != NO_KEY}
    assert {int(one // TOP) for one in found.chain_only} == expected.keys() - named
    several = {key for key, rows_of_key in expected.items() if len(rows_of_key) > 1}
    assert [int(one // TOP) for one in found.shared] == sorted(several & named)


def test_ids_are_read_as_they_are_written() -> None:
    texts = [str(uuid.UUID(int=number)) for number in (0, 7, (1 << 128) - 1)]
    assert match.texts(match.ids(texts)) == texts
    assert len(match.ids([])) == 0


@settings(max_examples=50)  # it writes files
@given(st.lists(st.tuples(small, small)), st.sampled_from([1, 2, 4, 8]), st.integers(1, 4))
def test_spilled_records_come_back_in_their_buckets(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int]], buckets: int, pieces: int
) -> None:
    kept = spilled(tmp_path_factory.mktemp("scan"), buckets=buckets)
    try:
        for start in range(0, len(rows), pieces):
            kept.add("app", app_records(rows[start : start + pieces]), next_page=start)
        found = [app for app, _ in kept.buckets()]
        assert kept.progress("app").rows == len(rows)
    finally:
        kept.close()
    assert sorted(record.tobytes()[16:] for part in found for record in part) == sorted(
        record.tobytes()[16:] for record in app_records(rows)
    )
    for number, part in enumerate(found):
        assert {int(key) * buckets >> 64 for key in part["key"]} <= {number}


def spilled(directory: Path, *, buckets: int = 2, started_at: float | None = None) -> Spill:
    import time

    sides = {side: SideProgress(lengths=[0] * buckets) for side in spill.SIDES}
    began = time.time() if started_at is None else started_at
    manifest = Manifest(fingerprint="f", started_at=began, seed=1, name=NAME, native=True, buckets=buckets, sides=sides)
    return Spill(directory, manifest)


class TestGoingOn:
    def test_a_scan_goes_on_behind_its_last_whole_piece(self, tmp_path: Path) -> None:
        kept = spilled(tmp_path)
        kept.add("app", app_records([(1, 1), (7, 2)]), next_page=10)
        kept.close()
        with (tmp_path / "app-000").open("ab") as file:
            file.write(b"half a piece")  # the process died before its manifest said so
        again = Spill.resumed(tmp_path, fingerprint="f", max_age_seconds=60)
        assert again is not None
        assert (again.progress("app").next_page, again.progress("app").rows) == (10, 2)
        again.add("app", app_records([(2, 5)]), next_page=None)
        found = [app for app, _ in again.buckets()]
        again.close()
        assert sorted(int(row) for part in found for row in part["row"]) == [1, 2, 5]

    @pytest.mark.parametrize(
        ("fingerprint", "age", "what"),
        [("other", 0, "other statements"), ("f", 61, "too old"), ("f", -10, "a clock that was set back")],
    )
    def test_what_is_of_another_scan_is_removed(self, tmp_path: Path, fingerprint: str, age: float, what: str) -> None:
        import time

        kept = spilled(tmp_path, started_at=time.time() - age)
        kept.add("app", app_records([(1, 1)]), next_page=10)
        kept.close()
        (tmp_path / "of-somebody-else").write_text("stays")
        assert Spill.resumed(tmp_path, fingerprint=fingerprint, max_age_seconds=60) is None, what
        assert [path.name for path in tmp_path.iterdir()] == ["of-somebody-else"]

    @pytest.mark.parametrize("lost", ["cut", "gone"])
    def test_hashes_that_the_disk_lost_make_it_begin_anew(self, tmp_path: Path, lost: str) -> None:
        """Filled up with zeros they would be rows without a key, of which nobody asks."""
        kept = spilled(tmp_path)
        kept.add("app", app_records([(1, 1), (1, 2)]), next_page=10)
        kept.close()
        path = tmp_path / "app-000"
        if lost == "cut":
            path.write_bytes(path.read_bytes()[:-32])
        else:
            path.unlink()
        assert Spill.resumed(tmp_path, fingerprint="f", max_age_seconds=60) is None

    @pytest.mark.parametrize("text", ["", "{", '{"fingerprint": "f"}'])
    def test_a_manifest_that_cannot_be_read_is_none(self, tmp_path: Path, text: str) -> None:
        (tmp_path / spill.MANIFEST).write_text(text)
        assert Spill.resumed(tmp_path, fingerprint="f", max_age_seconds=60) is None


def test_a_full_disk_is_told_with_its_place_and_no_part_is_taken_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = spilled(tmp_path, buckets=1)
    taken: list[int] = []

    def full(_: int, data: Any) -> int:
        if taken:
            raise OSError(28, "No space left on device")
        taken.append(len(data) // 2)
        return taken[0]

    monkeypatch.setattr("os.write", full)
    with pytest.raises(errors.SettingError, match=f"{tmp_path} \\(No space left") as caught:
        kept.add("app", app_records([(1, 1), (1, 2)]), next_page=10)
    monkeypatch.undo()
    assert "SWEEP__SCAN_DIRECTORY" in str(caught.value)
    assert kept.progress("app").rows == 0
    kept.close()


def test_buckets_stay_small_until_there_are_too_many() -> None:
    assert [spill.buckets_for(rows) for rows in (0, 250_000, 250_001, 5_000_000, 10**9)] == [1, 1, 2, 32, 256]


class TestParsing:
    def test_what_stands_at_one_place_is_one_row(self) -> None:
        keys, rows = bytes(7) + b"\x09" + bytes(7) + b"\x0a", b"\xff" * 8 + bytes(8)
        found = scan.parse((bytes(range(32)), keys, rows), with_id=True)
        assert [(int(one["key"]), int(one["row"])) for one in found] == [(9, (1 << 64) - 1), (10, 0)]
        assert [bytes(one) for one in found["id"]] == [bytes(range(16)), bytes(range(16, 32))]

    def test_no_rows_are_none(self) -> None:
        assert len(scan.parse((None, None), with_id=False)) == 0

    def test_values_that_are_null_are_no_rows(self) -> None:
        with pytest.raises(errors.ChaintrueError, match="not whole rows"):
            scan.parse((bytes(16), bytes(8)), with_id=False)


class TestCanaries:
    """All four have to be where they belong, and nothing else is taken out with them."""

    HASHES = (11, 12, 13, -14)

    def unequal(self, differing: list[int], app_only: list[int], chain_only: list[int]) -> Unequal:
        ids = [one.id for one in canary.flock(NAME)] + [uuid.UUID(int=7)]
        keys = [*self.HASHES, 99]
        return Unequal(
            differing=np.array([np.void(ids[n].bytes) for n in differing], "V16"),
            app_only=np.array([np.void(ids[n].bytes) for n in app_only], "V16"),
            chain_only=np.array([keys[n] for n in chain_only], np.int64).view(np.uint64),
            shared=np.array([keys[0], keys[4]], np.int64).view(np.uint64),
            app_twins=np.empty(0, "V16"),
        )

    def test_they_are_found_and_taken_out(self) -> None:
        sifted = canary.sift(self.unequal([1, 4], [4, 2], [4, 3]), canary.flock(NAME), self.HASHES)
        assert sifted.found
        assert (numbers(sifted.rest.differing), numbers(sifted.rest.app_only)) == ({7}, {7})
        assert sifted.rest.chain_only.tolist() == [99]
        assert sifted.rest.shared.tolist() == [99]

    @pytest.mark.parametrize(
        ("differing", "app_only", "chain_only", "what"),
        [
            ([], [2], [3], "drift is not seen"),
            ([1], [], [3], "rows without an entity are not seen"),
            ([1], [2], [], "entities without a row are not seen"),
            ([0, 1], [2], [3], "what is equal differs"),
            ([1], [0, 2], [0, 3], "keys are hashed in two ways"),
            ([1, 2], [2], [3], "one is seen twice"),
        ],
    )
    def test_any_that_is_not_where_it_belongs_spoils_the_scan(
        self, differing: list[int], app_only: list[int], chain_only: list[int], what: str
    ) -> None:
        unequal = self.unequal(differing, app_only, chain_only)
        assert not canary.sift(unequal, canary.flock(NAME), self.HASHES).found, what

    def test_databases_that_hash_in_two_ways_spoil_the_scan(self) -> None:
        assert not canary.sift(self.unequal([1], [2], [3]), canary.flock(NAME), ()).found

    def test_drifted_values_differ_from_true_ones(self) -> None:
        for kind in Kind:
            assert canary.value(kind, wrong=True) != canary.value(kind, wrong=False)

    def test_every_side_has_as_many_as_are_counted_off(self) -> None:
        flock = canary.flock(NAME)
        assert (sum(one.on_app for one in flock), sum(one.on_chain for one in flock)) == (
            canary.ON_APP,
            canary.ON_CHAIN,
        )
