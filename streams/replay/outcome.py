"""What a replay found, as values, and as the JSON that the command prints."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Found = Literal["live", "replay", "both"]
"""Which side has a row. Of `both`, its columns differ."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A column's value on either side, as PostgreSQL writes it; None is NULL, or a row that is not there."""

    live: str | None
    replay: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RowDifference:
    """A row that one side lacks (`found` says which one has it), or whose columns differ."""

    key: Mapping[str, str]
    found: Found
    columns: Mapping[str, Pair]


@dataclass(frozen=True, slots=True, kw_only=True)
class TableComparison:
    """One table. `rows` are the first of those that differ; the counts are of all."""

    table: str
    live_rows: int
    replay_rows: int
    identical: bool
    only_live: int = 0
    only_replay: int = 0
    changed: int = 0
    rows: tuple[RowDifference, ...] = ()

    @property
    def differing(self) -> int:
        return self.only_live + self.only_replay + self.changed


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The comparison at `offsets` (the offset due next, per partition), and whether the tables were exchanged.

    notes   what a person ought to know: what was not compared, what is left to be dropped
    """

    offsets: Mapping[int, int]
    records: int
    events: int
    seconds: float
    tables: tuple[TableComparison, ...]
    swapped: bool = False
    notes: tuple[str, ...] = ()

    @property
    def identical(self) -> bool:
        return all(table.identical for table in self.tables)

    @property
    def exit_code(self) -> int:
        """0 identical or exchanged, 2 different."""
        return 0 if self.identical or self.swapped else 2

    def to_json(self) -> dict[str, Any]:
        """The object that `chaintrue replay --json` prints."""
        return {
            "identical": self.identical,
            "swapped": self.swapped,
            "offsets": {str(partition): offset for partition, offset in sorted(self.offsets.items())},
            "records": self.records,
            "events": self.events,
            "seconds": round(self.seconds, 3),
            "tables": {table.table: _table_json(table) for table in self.tables},
            "notes": list(self.notes),
        }


def _table_json(table: TableComparison) -> dict[str, Any]:
    return {
        "identical": table.identical,
        "live_rows": table.live_rows,
        "replay_rows": table.replay_rows,
        "only_live": table.only_live,
        "only_replay": table.only_replay,
        "changed": table.changed,
        "rows": [
            {
                "key": dict(row.key),
                "found": row.found,
                "columns": {name: {"live": pair.live, "replay": pair.replay} for name, pair in row.columns.items()},
            }
            for row in table.rows
        ],
    }
