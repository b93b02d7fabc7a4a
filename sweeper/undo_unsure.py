"""What an undo says of changes of which nobody knows whether they were written: their rows are named, and left.

Such a change was recorded as unknown, or what became of it could not be looked at yet. Without the hash of the row as the run
left it, nothing tells whose the values on it are. Only a row that holds all that it held before is none of the undo's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from shared.settings import Policy
from sweeper import journal, recovery
from sweeper.context import Context
from sweeper.journal import INTENDED, Change
from sweeper.model import Both, Finding, Outcome


@dataclass(frozen=True, slots=True)
class Unsure:
    """`findings`: one for each row that is left so; `as_before`: how many rows are as they were before the run."""

    findings: Sequence[Finding]
    as_before: int

    @property
    def notes(self) -> list[str]:
        if not self.findings:
            return []
        return [f"of {len(self.findings)} changes it is not known whether that run wrote them: their rows are left"]


async def changes(context: Context, undone: UUID) -> Unsure:
    """The run's changes whose fate is not known, by what their rows say now."""
    findings: list[Finding] = []
    as_before = 0
    for outcome in (Outcome.UNKNOWN.value, INTENDED):
        async for page in journal.changes(context.chain, undone, outcome=outcome):
            seen, _ = await recovery.look(context, page)
            for change in page:
                if (done := seen.get(change.number)) is not None and done.outcome is Outcome.FAILED:
                    as_before += 1
                else:
                    findings.append(_finding(change, undone))
    return Unsure(findings, as_before)


def _finding(change: Change, undone: UUID) -> Finding:
    """Both sides as of an undo: on the app's what was there before the run, on the chain's what the run meant to write."""
    what = "insert this row" if change.is_insert else f"set {', '.join(sorted(change.after))}"
    return Finding(
        drift_class=change.drift_class,
        table=change.table_name,
        row_id=change.row_id or None,
        entity=change.entity,
        words=f"Run {str(undone)[:8]} was to {what}; whether it did is not known, so the row is left as it is.",
        columns={name: Both(change.before.get(name), value) for name, value in sorted(change.after.items())},
        evidence={"recorded": change.outcome},
        action=Policy.REPAIR,
        outcome=Outcome.UNKNOWN,
    )
