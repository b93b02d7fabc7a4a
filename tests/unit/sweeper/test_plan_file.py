"""A plan as a file: what goes in comes out, exactly; what is not understood is refused with its place."""

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared import errors
from shared.settings import EngineSettings, Policy, Sweep
from sweeper import apply, classes, plan, plan_file, plan_origin, plan_reading
from sweeper.model import Answer, Finding, Outcome
from sweeper.plan_file import Log, MadeFor, PlanFile

NOW = datetime(2026, 8, 1, 12, 0, 0, 5, tzinfo=UTC)
FOR = MadeFor(
    network="Test",
    contracts=["CA", "CB"],
    log=Log(scope="stepfi", origin="0001", began_at=7),
    watermark_ledger=100,
    tables={"loans": "f1", "reputation_history": "f2"},
)

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)
values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    texts,
    st.decimals(allow_nan=False, allow_infinity=False, places=7),
    st.datetimes(timezones=st.just(UTC)),
    st.uuids(),
)
columns = st.dictionaries(st.text("abcdefghij_", min_size=1, max_size=8), values, min_size=1, max_size=6)


@st.composite
def findings(draw: st.DrawFn) -> Finding:
    written, is_insert = draw(columns), draw(st.booleans())
    written = written | ({"updated_at": NOW} if draw(st.booleans()) else {})
    if set(written) == {"updated_at"}:
        written = written | {"status": "x"}
    return Finding(
        drift_class=draw(st.sampled_from(list(classes.CLASSES))),
        table=draw(st.sampled_from(["loans", "reputation_history"])),
        row_id=None if is_insert else str(draw(st.uuids())),
        entity=draw(st.one_of(st.none(), texts)) if not is_insert else str(draw(st.uuids())),
        chain_key=draw(st.one_of(st.none(), texts)),
        words=draw(texts),
        evidence=draw(st.dictionaries(texts, values, max_size=3)),
        update={} if is_insert else written,
        insert=written if is_insert else None,
        guard={} if is_insert else draw(columns),
        action=draw(st.sampled_from([Policy.REPAIR, Policy.PROPOSE])),
        outcome=Outcome.PROPOSED,
    )


def made(*found: Finding) -> PlanFile:
    return plan_file.make(found, run_id=uuid4(), made_at=NOW, made_by="chaintrue 0", made_for=FOR, now=NOW)


def loan(**changes: Any) -> Finding:
    told: dict[str, Any] = {
        "drift_class": "stale_status",
        "table": "loans",
        "row_id": str(UUID(int=1)),
        "entity": "loan:1",
        "words": "…",
        "update": {"status": "completed", "remaining_balance": Decimal("0.10"), "updated_at": NOW},
        "guard": {"status": "active", "remaining_balance": Decimal("1.50"), "updated_at": NOW.replace(day=2)},
        "action": Policy.REPAIR,
        "outcome": Outcome.PROPOSED,
    }
    return Finding(**told | changes)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(found=st.lists(findings(), max_size=5, unique_by=lambda one: (one.table, one.row_id or one.entity)))
def test_what_is_written_is_read_and_still_agrees_with_what_is_found(found: list[Finding], tmp_path: Path) -> None:
    plan_ = made(*found)
    plan_file.write(tmp_path / "plan.json", plan_)
    read = plan_reading.read(tmp_path / "plan.json")
    assert read == plan_
    assert read.selected() == list(read.changes)
    assert [apply.difference(change, one, at=NOW) for change, one in zip(read.changes, found, strict=True)] == [
        None for _ in found
    ]


def test_amounts_and_times_are_text_and_times_of_writing_are_named_only() -> None:
    (change,) = made(loan()).changes
    assert change.set == {"status": "completed", "remaining_balance": "0.10"}
    assert change.touch == ["updated_at"]
    assert change.expect["remaining_balance"] == "1.50"


def test_only_what_may_be_written_and_was_not_is_in_it() -> None:
    settled = [loan(outcome=outcome) for outcome in Outcome if outcome is not Outcome.PROPOSED]
    assert made(*settled, loan(update={})).changes == []


@pytest.mark.parametrize(
    "change",
    [
        {"drift_class": "stale_value"},
        {"entity": "loan:2"},
        {"update": {"status": "defaulted", "remaining_balance": Decimal("0.10"), "updated_at": NOW}},
        {"update": {"status": "completed", "remaining_balance": Decimal("0.1000001"), "updated_at": NOW}},
        {"update": {"status": "completed", "updated_at": NOW}},
        {"update": {"status": "completed", "remaining_balance": Decimal("0.10")}},
        {"guard": {"status": "pending", "remaining_balance": Decimal("1.50"), "updated_at": NOW.replace(day=2)}},
        {"guard": {"status": "active", "remaining_balance": Decimal("1.50"), "updated_at": NOW.replace(day=3)}},
        {"guard": {"status": "active", "remaining_balance": None, "updated_at": NOW.replace(day=2)}},
    ],
)
def test_what_is_found_otherwise_is_not_what_was_reviewed(change: dict[str, Any]) -> None:
    (planned,) = made(loan()).changes
    assert apply.difference(planned, loan(), at=NOW) is None
    assert apply.difference(planned, loan(**change), at=NOW) is not None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"drift_class": "forged_owner", "guard": {}}, "it is forged_owner by now, and was stale_status"),
        ({"drift_class": "terms_mismatch"}, "it is terms_mismatch by now"),
        ({"entity": None, "drift_class": "ambiguous_link"}, "it is ambiguous_link by now"),
        ({"entity": "loan:2"}, "the row is now that of loan:2"),
        ({}, "nothing of it may be written any more"),
    ],
)
def test_a_finding_that_nothing_can_be_written_for_is_another_one(change: dict[str, Any], words: str) -> None:
    (planned,) = made(loan()).changes
    why = apply.difference(planned, loan(**{"update": {}, **change}), at=NOW)
    assert why is not None
    assert words in why


def test_a_time_of_writing_alone_is_nothing_to_write() -> None:
    for update in ({}, {"updated_at": NOW}):
        assert plan_file.change_of(loan(update=update), NOW) is None
    assert made(loan(update={"updated_at": NOW})).changes == []


def test_what_the_chain_cannot_say_stays_unknown() -> None:
    (planned,) = made(loan()).changes
    assert apply.difference(planned, loan(update={}, answer=Answer.UNKNOWN), at=NOW) is None
    decided = plan.review([loan(answer=Answer.UNKNOWN)], settings=Sweep())
    assert [one.outcome for one in decided.findings] == [Outcome.UNKNOWN]
    assert decided.to_write == ()


SELECTIONS: list[tuple[dict[str, Any], list[int]]] = [
    ({}, [0, 1, 2]),
    ({"classes": ["stale_value"]}, [1]),
    ({"classes": []}, []),
    ({"tables": ["loans"]}, [0, 1, 2]),
    ({"tables": ["reputation_history"]}, []),
    ({"rows": [str(UUID(int=1)), str(UUID(int=3))]}, [0, 2]),
    ({"entities": ["loan:2"], "classes": ["stale_status"]}, []),
    ({"skip": {"rows": [str(UUID(int=1))]}}, [1, 2]),
    ({"skip": {"classes": ["stale_status"], "entities": ["loan:2"]}}, []),
]


@pytest.mark.parametrize(("select", "numbers"), SELECTIONS)
def test_selectors_narrow(tmp_path: Path, select: dict[str, Any], numbers: list[int]) -> None:
    found = [
        loan(),
        loan(row_id=str(UUID(int=2)), entity="loan:2", drift_class="stale_value"),
        loan(row_id=str(UUID(int=3)), entity="loan:3"),
    ]
    read = plan_reading.read(edited(tmp_path, made(*found), lambda told: told.update(select=select)))
    assert read.selected() == [read.changes[number] for number in numbers]


def edited(tmp_path: Path, plan_: PlanFile, edit: Callable[[dict[str, Any]], object]) -> Path:
    path = tmp_path / "plan.json"
    plan_file.write(path, plan_)
    told = json.loads(path.read_text())
    edit(told)
    path.write_text(json.dumps(told))
    return path


WRONG: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "unknown key": (lambda told: told.update(sellect={}), "sellect: there is no such key"),
    "unknown key in a change": (lambda told: told["changes"][0].update(sets={}), "changes[0].sets"),
    "no version": (lambda told: told.pop("version"), "version: null"),
    "another version": (lambda told: told.update(version=2), "version: 2"),
    "a version that is a word": (lambda told: told.update(version="1"), "version"),
    "a missing part": (lambda told: told.pop("made_for"), "made_for"),
    "a float": (
        lambda told: told["changes"][0]["set"].update(remaining_balance=0.1),
        "changes[0].set.remaining_balance",
    ),
    "an object as value": (lambda told: told["changes"][0]["set"].update(status={}), "changes[0].set.status"),
    "another policy": (lambda told: told["changes"][0].update(policy="always"), "changes[0].policy"),
    "no zone": (lambda told: told.update(made_at="2026-08-01T00:00:00"), "made_at"),
    "nothing to write": (lambda told: told["changes"][0].update(set={}), "changes[0]"),
    "both": (lambda told: told["changes"][0].update(insert={"a": "b"}), "changes[0]"),
    "no row": (lambda told: told["changes"][0].update(row_id=None), "changes[0]"),
    "no class": (lambda told: told["changes"][0].update({"class": "stale"}), "changes[0].class"),
    "a row twice": (lambda told: told["changes"].append(told["changes"][0]), "changes[0] is of the same row"),
    "class of a list": (lambda told: told["select"].update(classes=["stale"]), "select.classes[0]"),
    "table of a list": (lambda told: told["select"].update(tables=["loans", "lones"]), "select.tables[1]"),
    "row to skip": (lambda told: told["select"]["skip"].update(rows=["x"]), "select.skip.rows[0]"),
    "entity to skip": (lambda told: told["select"]["skip"].update(entities=["loan:9"]), "select.skip.entities[0]"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_not_understood_is_refused_with_its_place(tmp_path: Path, name: str) -> None:
    edit, words = WRONG[name]
    with pytest.raises(errors.PlanRefused) as refused:
        plan_reading.read(edited(tmp_path, made(loan()), edit))
    assert words in str(refused.value)
    assert refused.value.cure


@pytest.mark.parametrize(
    "body", ["", "null", "[]", "{", '"x"', "1", "[" * 100_000, '{"version": 1, "version": 1}', "\udcff"]
)
def test_what_is_no_plan_at_all_is_refused(tmp_path: Path, body: str) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(body.encode("utf-8", "surrogateescape"))
    with pytest.raises(errors.PlanRefused):
        plan_reading.read(path)


def test_a_file_that_was_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    plan_file.write(path, made(loan()))
    whole = path.read_bytes().rstrip()
    for end in range(0, len(whole), 7):
        path.write_bytes(whole[:end])
        with pytest.raises(errors.PlanRefused):
            plan_reading.read(path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.PlanRefused, match="cannot be read"):
        plan_reading.read(tmp_path / "none.json")


@pytest.mark.timeout(10)
def test_a_pipe_and_a_device_are_refused_unread(tmp_path: Path) -> None:
    """Their size is 0 whatever comes out of them, so nothing would end the reading."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero"), Path("/dev/null")):
        with pytest.raises(errors.PlanRefused, match="not a regular file"):
            plan_reading.read(path)


def test_a_file_beyond_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_reading, "MAX_BYTES", 100)
    path = tmp_path / "plan.json"
    path.write_bytes(b" " * 101)
    with pytest.raises(errors.PlanRefused, match="larger than 100 bytes"):
        plan_reading.read(path)


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "plan.json"
    path.write_text("old")
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        plan_file.write(path, made(loan()))
    assert [one.name for one in tmp_path.iterdir()] == ["plan.json"]
    assert path.read_text() == "old"


def settings_of(**sweep: Any) -> EngineSettings:
    return EngineSettings.model_validate({"network": {"passphrase": "Test"}, "sweep": sweep})


def test_a_plan_holds_where_and_when_it_was_made() -> None:
    plan_origin.check_before(made(loan()), settings_of(), contracts=["CB", "CA"], now=NOW)
    plan_origin.check(made(loan()), FOR, tables=["loans"])
    later = FOR.model_copy(update={"watermark_ledger": 101, "tables": {"loans": "f1", "reputation_history": "other"}})
    plan_origin.check(made(loan()), later, tables=["loans"])


@pytest.mark.parametrize(
    ("contracts", "now", "passphrase", "words"),
    [
        (["CA"], NOW, "Test", "contracts"),
        (["CA", "CB"], NOW.replace(day=9), "Test", "PLAN_MAX_AGE"),
        (["CA", "CB"], NOW.replace(hour=11), "Test", "to come"),
        (["CA", "CB"], NOW, "Public", "network"),
    ],
)
def test_a_plan_for_elsewhere_is_refused(contracts: list[str], now: datetime, passphrase: str, words: str) -> None:
    here = EngineSettings.model_validate({"network": {"passphrase": passphrase}})
    with pytest.raises(errors.PlanRefused, match=words):
        plan_origin.check_before(made(loan()), here, contracts=contracts, now=now)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"watermark_ledger": 99}, "older than the plan"),
        ({"log": Log(scope="stepfi", origin="0001", began_at=8)}, "another log"),
        ({"log": Log(scope="stepfi", origin="0002", began_at=7)}, "another log"),
        ({"tables": {"loans": "f9"}}, "table loans"),
        ({"tables": {}}, "table loans"),
    ],
)
def test_a_plan_for_other_databases_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(errors.PlanRefused, match=words):
        plan_origin.check(made(loan()), FOR.model_copy(update=change), tables=["loans"])


def test_a_reviewed_plan_writes_proposals_but_no_more_than_one_run_may() -> None:
    found = [loan(), loan(row_id="b", drift_class="missing_row"), loan(row_id="c", drift_class="forged_owner")]
    decided = plan.review(found, settings=Sweep(max_repairs=2))
    assert [one.row_id for one in decided.to_write] == [found[0].row_id, "b"]
    assert decided.findings[2].outcome is Outcome.REPORTED
    assert plan.review(found, settings=Sweep(max_repairs=1)).to_write == ()
    assert "MAX_REPAIRS" in plan.review(found, settings=Sweep(max_repairs=1)).refused[0]
