"""Which missing rows may be inserted: where no unique index keeps the key, two writers could each add a row for one entity.

Chaintrue's own inserts wait for each other (`sweeper/insert_locks.py`); nothing makes the application wait. So a table without
such an index gets inserts only where the settings name it. Pure.
"""

from collections.abc import Sequence

from shared.settings import environment_name
from sweeper.app_schema import AppTable
from sweeper.context import Context
from sweeper.model import NEEDS_SETTING, Finding

SETTING = environment_name("sweep", "insert_without_unique_key")


def mark(context: Context, findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings; those whose insert is not allowed carry NEEDS_SETTING in their evidence, and the reason."""
    return [_marked(finding) if _is_refused(context, finding) else finding for finding in findings]


def is_unique(table: AppTable, key: str) -> bool:
    """Return whether a unique index on exactly the key keeps a second row out."""
    return (key,) in table.unique


def _is_refused(context: Context, finding: Finding) -> bool:
    if finding.insert is None or finding.table in context.settings.insert_without_unique_key:
        return False
    return not is_unique(context.tables[finding.table], context.subjects[finding.table].row_key)


def _marked(finding: Finding) -> Finding:
    reason = (
        f"no unique index on {finding.table} keeps a second row of this key out, so nothing is inserted. Hint: add one, or "
        f"name the table in {SETTING}"
    )
    return finding.with_evidence(**{NEEDS_SETTING: SETTING, "reason": reason})
