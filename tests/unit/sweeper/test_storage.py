"""What is left of a finding whose values do not fit: columns that belong together stay together. Properties and cases."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from itertools import chain, combinations

import pytest

from shared.stepfi.settings import Stepfi
from sweeper.app_schema import AppTable
from sweeper.model import Both, Finding, Outcome, Value
from sweeper.stepfi.subjects import subjects
from sweeper.storage import EVIDENCE, Refusal, fitted

NOW = datetime(2026, 8, 1, tzinfo=UTC)
STORAGE = {one.table: one.storage for one in subjects(Stepfi())}
LOANS = AppTable(
    "loans",
    dict.fromkeys(
        ("id", "loan_id", "status", "remaining_balance", "completed_at", "defaulted_at", "vendor_id", "updated_at"),
        "text",
    ),
)
STATUS: Mapping[str, Value] = {
    "status": "completed",
    "completed_at": NOW,
    "remaining_balance": Decimal("0.0000333"),
    "vendor_id": "v",
    "updated_at": NOW,
}
LINK: Mapping[str, Value] = {"loan_id": "12", **STATUS}
SCORE: Mapping[str, Value] = {"score": 70, "tier": "bronze", "last_synced_at": NOW, "updated_at": NOW}
NO = Refusal(why="it does not fit", hint="alter it")


def finding(update: Mapping[str, Value], *, table: str = "loans", insert: Mapping[str, Value] | None = None) -> Finding:
    columns = {name: Both(None, value) for name, value in update.items() if name != "updated_at"}
    return Finding(
        drift_class="stale_status", table=table, row_id="1", entity="loan:12", words="They differ.", columns=columns,
        update=update, guard=dict.fromkeys(update), insert=insert,
    )  # fmt: skip


def kept(update: Mapping[str, Value], refused: set[str], *, table: AppTable = LOANS) -> set[str]:
    refusals = {name: {value: NO} for name, value in update.items() if name in refused}
    return set(fitted(finding(update, table=table.name), table, STORAGE[table.name], refusals).update)


@pytest.mark.parametrize(
    ("update", "refused", "expected"),
    [
        (STATUS, set(), set(STATUS)),
        (STATUS, {"remaining_balance"}, {"status", "completed_at", "vendor_id", "updated_at"}),
        (STATUS, {"updated_at"}, set(STATUS) - {"updated_at"}),
        (STATUS, {"completed_at"}, {"remaining_balance", "vendor_id", "updated_at"}),
        (STATUS, {"status"}, {"remaining_balance", "vendor_id", "updated_at"}),
        ({"completed_at": NOW, "vendor_id": "v", "updated_at": NOW}, {"completed_at"}, {"vendor_id", "updated_at"}),
        ({"remaining_balance": Decimal(1), "updated_at": NOW}, {"remaining_balance"}, set()),
        (LINK, {"remaining_balance"}, set()),
        (LINK, {"updated_at"}, set(LINK) - {"updated_at"}),
    ],
)
def test_what_is_still_written_of_a_loan(update: Mapping[str, Value], refused: set[str], expected: set[str]) -> None:
    assert kept(update, refused) == expected


@pytest.mark.parametrize(
    "refused",
    [set(some) for some in chain(*(combinations(sorted(SCORE), n) for n in range(5)))],
    ids=lambda refused: ",".join(sorted(refused)),
)
def test_a_score_is_written_whole_or_not_at_all(refused: set[str]) -> None:
    table = AppTable("reputation_cache", dict.fromkeys(SCORE, "text"))
    written = kept(SCORE, refused, table=table)
    assert written == (set() if refused - {"updated_at"} else set(SCORE) - refused)


@pytest.mark.parametrize(
    "refused",
    [set(some) for some in chain(*(combinations(sorted(LINK), n) for n in range(7)))],
    ids=lambda refused: ",".join(sorted(refused)),
)
def test_no_group_is_written_in_part(refused: set[str]) -> None:
    for update in (STATUS, LINK):
        written = kept(update, refused)
        assert not written & refused
        assert written != {"updated_at"}
        for leader, others in STORAGE["loans"].together.items():
            members = ({leader} | others) & update.keys()
            assert leader not in update or leader not in written or members <= written


def test_a_part_that_is_left_out_is_named_and_the_rest_is_a_repair() -> None:
    refusals = {"remaining_balance": {STATUS["remaining_balance"]: NO}}
    one = fitted(finding(STATUS), LOANS, STORAGE["loans"], refusals)
    assert replace(one, outcome=Outcome.REPAIRED).left == ("remaining_balance",)
    assert one.words == "They differ. A repair leaves remaining_balance alone: it does not fit. Hint: alter it."
    assert one.evidence == {EVIDENCE: {"remaining_balance": "it does not fit. Hint: alter it."}}


def test_what_cannot_be_written_at_all_has_its_reason() -> None:
    update: Mapping[str, Value] = {"status": "completed", "completed_at": NOW, "updated_at": NOW}
    one = fitted(finding(update), LOANS, STORAGE["loans"], {"completed_at": {NOW: NO}})
    assert not one.can_be_written
    assert one.evidence["reason"] == "it does not fit. Hint: alter it."
    assert set(one.columns) == {"status", "completed_at"}


def test_a_generated_or_not_null_column_is_refused_without_being_asked() -> None:
    table = replace(LOANS, fixed={"remaining_balance": "generated"}, not_null=frozenset({"completed_at"}))
    update = {"status": "active", "completed_at": None, "remaining_balance": Decimal(1), "vendor_id": "v"}
    one = fitted(finding(update), table, STORAGE["loans"], {})
    assert set(one.update) == {"vendor_id"}
    assert set(one.evidence[EVIDENCE]) == {"completed_at", "remaining_balance"}
    assert "DROP NOT NULL" in one.evidence[EVIDENCE]["completed_at"]


@pytest.mark.parametrize(
    ("changes", "refused", "inserted"),
    [
        ({}, set(), set(STATUS)),
        ({}, {"remaining_balance"}, None),
        ({}, {"updated_at"}, set(STATUS) - {"updated_at"}),
        ({"must_be_set": frozenset({"updated_at"})}, {"updated_at"}, None),
        ({"must_be_set": frozenset({"branch"})}, set(), None),
        ({"must_be_set": frozenset({"branch"}), "fills_rows": True}, set(), set(STATUS)),
        ({"fixed": {"updated_at": "generated"}}, set(), set(STATUS) - {"updated_at"}),
        ({"fixed": {"remaining_balance": "generated"}}, set(), None),
    ],
)
def test_a_missing_row_is_inserted_whole_or_not_at_all(
    changes: dict[str, object], refused: set[str], inserted: set[str] | None
) -> None:
    table = replace(LOANS, **changes)  # type: ignore[arg-type]  # of the fields that a case names
    refusals = {name: {value: NO} for name, value in STATUS.items() if name in refused}
    one = fitted(finding({}, insert=STATUS), table, STORAGE["loans"], refusals)
    assert (None if one.insert is None else set(one.insert)) == inserted
    assert ("reason" in one.evidence) == (inserted is None)


def test_every_column_that_belongs_to_others_is_one_that_is_written() -> None:
    for one in subjects(Stepfi()):
        declared = {*one.storage.together, *chain(*one.storage.together.values()), *one.storage.amounts}
        assert declared | one.storage.examples.keys() <= one.writes | one.inserts
        assert "updated_at" not in {*one.storage.together, *chain(*one.storage.together.values())}
