"""What was compared, and how much of it, as a table: the rows of each side, and whatever else a report says table by table."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sweeper import words
from sweeper.told import Told

_SHARES = ("share", "ratio", "coverage")
_SIDES = ("expected_rows", "app_rows")


@dataclass(frozen=True, slots=True)
class ComparedTable:
    """`further` names the columns behind the sides and the findings; each row has a cell for each of them."""

    further: list[str]
    rows: list[tuple[str, list[str]]]
    total: list[str]


def table(report: Told) -> ComparedTable:
    """The tables in the order of the report."""
    found = Counter(finding.table for finding in report.findings)
    whole = len(report.findings) == report.total
    details = {name: _details(name, report) for name in report.compared}
    further = list(dict.fromkeys(key for one in details.values() for key in one))
    rows = [
        (
            name,
            [
                *(number(one.get(side)) for side in _SIDES),
                _differ(found[name], one.get("app_rows") or 0) if whole else "",
                *(shown(key, details[name].get(key)) for key in further),
            ],
        )
        for name, one in report.compared.items()
    ]
    sums = [sum(one.get(side) or 0 for one in report.compared.values()) for side in _SIDES]
    total = [*map(number, sums), _differ(report.total, sums[1]), *("" for _ in further)]
    return ComparedTable(further, rows, total)


def told_by_table(name: str, report: Told) -> bool:
    """Whether what the report says under this name is said table by table, so that it is a column here."""
    said = report.more.get(name)
    return isinstance(said, Mapping) and bool(said) and set(said) <= set(report.compared)


def _details(name: str, report: Told) -> dict[str, Any]:
    found: dict[str, Any] = {key: value for key, value in report.compared[name].items() if key not in _SIDES}
    for key, said in report.more.items():
        if told_by_table(key, report) and name in said:
            of_table = said[name]
            if key == "spot_coverage":
                of_table = {"asked in this round": _round(of_table)}
            found |= of_table if isinstance(of_table, Mapping) else {key: of_table}
    return found


def _round(spots: Mapping[str, Any]) -> str:
    """How far the spot checks are: each round asks the chain about every entity once."""
    share, checked, of = (spots.get(name) or 0 for name in ("share", "checked", "of"))
    return f"{percent(share)} ({checked:,} of {of:,}; round {spots.get('round', '?')})"


def _differ(found: int, rows: int) -> str:
    if not found:
        return "0"
    return f"{found:,} ({percent(found / rows)})" if rows else f"{found:,}"


def percent(share: float) -> str:
    """A share to three digits, and never 0 % or 100 % for what is not."""
    if 0 < share < 0.0001:
        return "< 0.01 %"
    if 0.9999 < share < 1:
        return "> 99.99 %"
    return f"{share * 100:.3g} %"


def number(of: Any) -> str:
    """A count; an empty cell where there is none."""
    return "" if of is None else f"{of:,}"


def shown(name: str, of: Any) -> str:
    """A value of a name that this version does not know."""
    if of is None:
        return ""
    if isinstance(of, bool):
        return words.value(of)
    if isinstance(of, int | float) and any(part in name for part in _SHARES) and 0 <= of <= 1:
        return percent(of)
    if isinstance(of, int | float):
        return number(round(of, 3))
    return words.moment(of) if name.endswith(("_at", "_since")) else words.value(of)
