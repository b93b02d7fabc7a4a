"""The demo checks itself: what the sweep found against what was injected. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import zip_longest

from deploy.demo.app.scene import Expected
from sweeper.model import Finding

Key = tuple[str, str, str]


def differences(expected: Iterable[Expected], found: Sequence[Finding], *, repaired: bool) -> list[str]:
    """What was injected and not found, found and not injected, or is not as it should be; [] when all is well."""
    wanted: dict[Key, list[Expected]] = defaultdict(list)
    for one in expected:
        wanted[_key(one)].append(one)
    seen: dict[Key, list[Finding]] = defaultdict(list)
    for finding in found:
        seen[_key(finding)].append(finding)
    lines: list[str] = []
    for key in sorted(wanted.keys() | seen.keys()):
        name = " ".join(key)
        for due, had in zip_longest(wanted.get(key, ()), seen.get(key, ())):
            if had is None:
                lines.append(f"not found: {name}")
            elif due is None:
                lines.append(f"not injected: {name}")
            else:
                lines += [f"{name}: {words}" for words in _unlike(due, had, repaired=repaired)]
    return lines


def _key(one: Expected | Finding) -> Key:
    return one.drift_class, one.table, one.row_id or one.entity or ""


def _unlike(due: Expected, had: Finding, *, repaired: bool) -> list[str]:
    """In what the finding is not the expected one."""
    lines = []
    outcome = due.outcome if repaired or due.outcome not in ("repaired", "failed") else "proposed"
    if had.outcome.value != outcome:
        lines.append(f"{had.outcome.value}, where {outcome} was due")
    if due.columns is not None:
        columns = frozenset(had.columns)
        if not (columns >= due.columns if due.table == "transactions" else columns == due.columns):
            lines.append(f"columns {', '.join(sorted(columns))}, where {', '.join(sorted(due.columns))} were due")
    return lines
