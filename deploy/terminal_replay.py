"""What a replay found, for people."""

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from deploy.terminal import sentence, text
from streams.replay.outcome import Outcome, Pair, RowDifference, TableComparison

SHOWN_ROWS = 20
"""Rows of a table that are shown; the JSON has more of them."""
SHOWN_CHARACTERS = 60
"""Of a value: a fact's body can be long."""


def show(outcome: Outcome, *, console: Console) -> None:
    """The tables that differ, the rows of each, and what it comes to, last, where the eye is."""
    differing = [table for table in outcome.tables if not table.identical]
    for table in differing:
        console.print(_rows(table))
    if differing:
        console.print(_summary(differing))
    pace = outcome.events / outcome.seconds if outcome.seconds else 0
    console.print(
        f"{outcome.records:,} records with {outcome.events:,} events replayed in {outcome.seconds:,.1f} s"
        f" ({pace:,.0f} events/s), up to {_offsets(outcome.offsets)}."
    )
    for note in outcome.notes:
        console.print(sentence(note))
    console.print(_verdict(outcome, len(differing)))


def _verdict(outcome: Outcome, differing: int) -> str:
    if outcome.identical:
        end = "; the tables were exchanged" if outcome.swapped else ""
        return f"[bold green]Identical[/]: all {len(outcome.tables)} tables{end}."
    if outcome.swapped:
        return f"[bold green]Exchanged[/]: {differing} of {len(outcome.tables)} tables differed, and are now as the log says."
    return (
        f"[bold red]Different[/]: {differing} of {len(outcome.tables)} tables."
        " `chaintrue replay --swap` puts what the log says in their place."
    )


def _offsets(offsets: Mapping[int, int]) -> str:
    if not offsets:
        return "nothing: no record was applied yet"
    return ", ".join(f"offset {offset:,} of partition {partition}" for partition, offset in sorted(offsets.items()))


def _summary(tables: Sequence[TableComparison]) -> Table:
    shown = Table("table", "live rows", "replay rows", "only live", "only replay", "changed")
    for one in tables:
        counts = (one.live_rows, one.replay_rows, one.only_live, one.only_replay, one.changed)
        shown.add_row(one.table, *(f"{count:,}" for count in counts))
    return shown


def _rows(table: TableComparison) -> Table:
    shown = Table("row", "column", "live", "replay", title=table.table, title_justify="left")
    for row in table.rows[:SHOWN_ROWS]:
        for name, pair in _told(row):
            shown.add_row(*name, *pair)
    if (left := table.differing - min(len(table.rows), SHOWN_ROWS)) > 0:
        shown.caption = f"and {left:,} more; --json has up to a thousand"
    return shown


def _told(row: RowDifference) -> list[tuple[tuple[str, str], tuple[str, str]]]:
    """Lines of (row, column) and (live, replay): one a column that differs, or one that says which side has the row."""
    name = " ".join(text(value) for value in row.key.values())
    if row.found != "both":
        return [((name, ""), ("there", "missing") if row.found == "live" else ("missing", "there"))]
    columns = [(column, _pair(pair)) for column, pair in row.columns.items()]
    return [((name if number == 0 else "", column), pair) for number, (column, pair) in enumerate(columns)]


def _pair(pair: Pair) -> tuple[str, str]:
    return _value(pair.live), _value(pair.replay)


def _value(value: str | None) -> str:
    shown = value if value is None or len(value) <= SHOWN_CHARACTERS else f"{value[:SHOWN_CHARACTERS]}…"
    return escape("''") if shown == "" else text(shown)
