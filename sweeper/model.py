"""What a sweep speaks of: findings, and what became of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from uuid import UUID

from shared.settings import Policy

if TYPE_CHECKING:
    from sweeper.questions import Held

Value = str | int | bool | Decimal | datetime | UUID | None
Row = Mapping[str, Any]
Identity = tuple[str, str, str]
"""(table, row id, entity); the last two are empty where a finding has none."""
Place = tuple[str, str]
"""(table, the row's id or else the entity): what a row of `recon.drift` is known by."""

FLAPPING = "flapping"
"""Evidence of a row that was repaired again and again, and that somebody else writes back."""
NEEDS_SETTING = "needs_setting"
"""Evidence of a missing row that is inserted only once a setting allows it: the setting."""


class Outcome(StrEnum):
    """What became of a finding."""

    REPAIRED = "repaired"
    PROPOSED = "proposed"
    REPORTED = "reported"
    SKIPPED_CHANGED = "skipped_changed"
    UNKNOWN = "unknown"
    FAILED = "failed"


class Answer(StrEnum):
    """The chain's answer to a question; only the first two may cause a repair (I5)."""

    CONFIRMED = "confirmed"
    ABSENT = "absent"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Both:
    """One column on both sides, in the app's words and units."""

    app: Value
    chain: Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One row (or one missing row) that is not what the chain says.

    words    the explanation for a person
    update   the columns that a repair sets; empty when there is nothing that could be written
    guard    every observed value that the update relies on: it is written only where all of them still stand
    rests_on what else of the row was judged, beside the columns: with other values it is another difference
    insert   the whole row, of a missing row that could be written
    action   what policy allows; outcome: what was done
    contradicted_by  the entry that says otherwise than our own tables: these are to be mended first
    """

    drift_class: str
    table: str
    row_id: str | None
    entity: str | None
    words: str
    columns: Mapping[str, Both] = field(default_factory=dict)
    evidence: Mapping[str, Any] = field(default_factory=dict)
    update: Mapping[str, Value] = field(default_factory=dict)
    guard: Mapping[str, Value] = field(default_factory=dict)
    rests_on: Mapping[str, Value] = field(default_factory=dict)
    insert: Mapping[str, Value] | None = None
    chain_key: str | None = None
    answer: Answer | None = None
    contradicted_by: "Held | None" = None
    action: Policy = Policy.REPORT
    outcome: Outcome = Outcome.REPORTED

    @property
    def identity(self) -> Identity:
        """What makes it the same finding when the row is looked at again."""
        return self.table, self.row_id or "", self.entity or ""

    @property
    def place(self) -> Place:
        """What makes it about the same row (or the same missing one), whatever that row is found to be."""
        return self.table, self.row_id or self.entity or ""

    @property
    def can_be_written(self) -> bool:
        return bool(self.update) or self.insert is not None

    @property
    def left(self) -> tuple[str, ...]:
        """Of a row that was repaired the compared columns that were not written, and so differ still."""
        if self.outcome is not Outcome.REPAIRED or not self.update:
            return ()
        return tuple(name for name in self.columns if name not in self.update)

    @property
    def is_over(self) -> bool:
        """Whether the row was repaired, and all of it agrees now."""
        return self.outcome is Outcome.REPAIRED and not self.left

    def with_evidence(self, **more: Any) -> "Finding":
        """The finding with further evidence."""
        return replace(self, evidence={**self.evidence, **more})
