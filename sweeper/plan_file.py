"""A plan as a file: JSON that a person reads, narrows and hands to `chaintrue apply`.

It is narrowed by its selectors, or by deleting changes, and read strictly (`sweeper/plan_reading.py`). What a change says is
compared with what is found anew, so a value that was edited is never written.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from shared import errors, whole_file
from shared.settings import Policy
from sweeper import classes, row_images
from sweeper.model import Finding, Outcome, Value
from sweeper.report import json_value

VERSION = 1
Told = (
    Annotated[str, Field(strict=True)] | Annotated[bool, Field(strict=True)] | Annotated[int, Field(strict=True)] | None
)
"""Amounts and times are text, exactly as they would be stored; there is no float."""

Image = Mapping[str, Told]
"""Columns with their values."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Selector(_Part):
    """Lists that a change is held against; null is no list."""

    classes: list[str] | None = None
    tables: list[str] | None = None
    rows: list[str] | None = None
    entities: list[str] | None = None


class Select(Selector):
    """What is applied: what each list names (null: all), without what a list of `skip` names."""

    skip: Selector = Selector()


class Log(_Part):
    """Which log the tables were built of."""

    scope: str
    origin: str
    began_at: int | None


class MadeFor(_Part):
    """What has to be the same when the plan is applied. `tables`: a fingerprint of each of the application's tables."""

    network: str
    contracts: list[str]
    log: Log
    watermark_ledger: int
    tables: dict[str, str]


class Change(_Part):
    """One row to be written.

    expect   the values that the row has to hold still         set      what it is to hold
    insert   the whole of a missing row                        touch    columns that get the time of the writing
    """

    drift_class: str = Field(alias="class")
    table: str
    row_id: str | None
    entity: str | None
    chain_key: str | None
    policy: Policy
    words: str
    evidence: dict[str, Any] = {}
    expect: dict[str, Told] = {}
    set: dict[str, Told] = {}
    insert: dict[str, Told] | None = None
    touch: list[str] = []

    @model_validator(mode="after")
    def _is_one_thing(self) -> "Change":
        if bool(self.set) == (self.insert is not None):
            raise ValueError("a change either sets columns of a row or inserts one")
        if (self.row_id is None) == bool(self.set):
            raise ValueError("a change that sets columns names its row in row_id; one that inserts has none")
        return self

    @property
    def identity(self) -> tuple[str, str, str]:
        return self.table, self.row_id or "", self.entity or ""


class PlanFile(_Part):
    """All of it."""

    version: Literal[1]
    made_by: str
    run_id: UUID
    made_at: AwareDatetime
    made_for: MadeFor
    select: Select
    changes: list[Change]

    def selected(self) -> list[Change]:
        """The changes that are to be applied."""
        skip = self.select.skip
        return [one for one in self.changes if _within(self.select, one) and not _named(skip, one)]


def make(
    findings: Iterable[Finding], *, run_id: UUID, made_at: datetime, made_by: str, made_for: MadeFor, now: datetime
) -> PlanFile:
    """The plan of what may be written and was not. `now`: what the findings set times of writing to."""
    proposed = (change_of(one, now) for one in findings if one.outcome is Outcome.PROPOSED)
    changes = [change for change in proposed if change is not None]
    return PlanFile(
        version=VERSION,
        made_by=made_by,
        run_id=run_id,
        made_at=made_at,
        made_for=made_for,
        select=Select(
            classes=sorted({one.drift_class for one in changes}, key=list(classes.CLASSES).index),
            tables=sorted({one.table for one in changes}),
        ),
        changes=changes,
    )


def write(path: Path, plan: PlanFile) -> None:
    """The file whole or not at all, for its owner alone: it holds rows of the application."""
    body = json.dumps(plan.model_dump(mode="json", by_alias=True), indent=2, ensure_ascii=False)
    whole_file.write(path, f"{body}\n".encode(), mode=0o600)


def check_writable(path: Path) -> None:
    """Raise SettingError for a place where no file can be made, before a long sweep ends there."""
    folder = path.absolute().parent
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise errors.SettingError(
            f"--plan {path}: no file can be written there",
            cure="name a file in an existing directory that may be written",
        )


def _lists(selector: Selector, change: Change) -> Iterator[tuple[list[str] | None, str | None]]:
    yield selector.classes, change.drift_class
    yield selector.tables, change.table
    yield selector.rows, change.row_id
    yield selector.entities, change.entity


def _within(selector: Selector, change: Change) -> bool:
    return all(words is None or word in words for words, word in _lists(selector, change))


def _named(selector: Selector, change: Change) -> bool:
    return any(words is not None and word in words for words, word in _lists(selector, change))


def change_of(finding: Finding, now: datetime) -> Change | None:
    """The finding as a change; what it sets to `now` is a time of writing, which is chosen anew when it is written.

    None where there is nothing to write, but perhaps such a time.
    """
    written = finding.update or finding.insert or {}
    touch = sorted(name for name, value in written.items() if value == now and isinstance(value, datetime))
    values = {name: told(value) for name, value in sorted(written.items()) if name not in touch}
    if not values and finding.insert is None:
        return None
    return Change(
        drift_class=finding.drift_class,
        table=finding.table,
        row_id=finding.row_id,
        entity=finding.entity,
        chain_key=finding.chain_key,
        policy=finding.action,
        words=finding.words,
        evidence=json_value(finding.evidence),
        expect={name: told(value) for name, value in sorted(finding.guard.items())},
        set=values if finding.update else {},
        insert=None if finding.update else values,
        touch=touch,
    )


def told(value: Value) -> Told:
    """The value as a plan tells it."""
    return value if isinstance(value, bool | int) else row_images.value_text(value)


def finding_of(change: Change, *, outcome: Outcome = Outcome.PROPOSED) -> Finding:
    """The finding that the change was made of, as far as the plan tells: enough to look again, never to write."""
    return Finding(
        drift_class=change.drift_class,
        table=change.table,
        row_id=change.row_id,
        entity=change.entity,
        words=change.words,
        evidence=change.evidence,
        chain_key=change.chain_key,
        action=change.policy,
        outcome=outcome,
    )
