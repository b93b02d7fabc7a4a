"""Read a recorded history: one JSON object a line, a header and then the transactions in order, perhaps gzipped."""

import gzip
import json
import zlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shared import errors

Line = dict[str, Any]
"""One line as JSON has it: the members are those that the recording's format names."""

SECONDS_PER_LEDGER = 5


@dataclass(frozen=True, kw_only=True)
class Recording:
    """The header and the transactions up to a ledger, and when every ledger closed."""

    header: Line
    transactions: tuple[Line, ...]
    ledger: int
    closed_at: datetime


def read(history: Path, ledger: int | None = None) -> Recording:
    """The history at `history` up to and with `ledger` (default: its last transaction's).

    Raises errors.Undecodable for a file that is no recording, ValueError for a ledger before its start.
    """
    lines = _lines(history)
    header = next(lines, None)
    if header is None or header.get("kind") != "header":
        raise errors.Undecodable(f"{history}: the first line is not the header of a recorded history")
    times = {int(header["startLedger"]): int(header["startClosedAt"])}
    transactions: list[Line] = []
    for line in lines:
        times[int(line["ledger"])] = int(line["closedAt"])
        if line["kind"] == "tx":
            transactions.append(line)
    last = transactions[-1]["ledger"] if transactions else header["startLedger"]
    at = int(last) if ledger is None else ledger
    return Recording(
        header=header,
        transactions=tuple(line for line in transactions if line["ledger"] <= at),
        ledger=at,
        closed_at=instant(_close_time(times, at)),
    )


def instant(seconds: int) -> datetime:
    """A close time (unix seconds) in UTC."""
    return datetime.fromtimestamp(seconds, UTC)


def _close_time(times: dict[int, int], ledger: int) -> int:
    """Ledgers that are not listed close evenly between their listed neighbours, and every five seconds after the last."""
    listed = sorted(times)
    after = bisect_right(listed, ledger)
    if after == 0:
        raise ValueError(f"ledger {ledger} is before the history's first, {listed[0]}")
    left = listed[after - 1]
    if after == len(listed):
        return times[left] + SECONDS_PER_LEDGER * (ledger - left)
    right = listed[after]
    return times[left] + (times[right] - times[left]) * (ledger - left) // (right - left)


def _lines(history: Path) -> Iterator[Line]:
    with history.open("rb") as raw, gzip.open(raw) if history.suffix == ".gz" else raw as file:
        for number, text in enumerate(_whole(history, file), start=1):
            try:
                line = json.loads(text)
            except ValueError as error:
                raise errors.Undecodable(f"{history}: line {number} is not JSON: {error}") from None
            if not isinstance(line, dict) or "kind" not in line:
                raise errors.Undecodable(f"{history}: line {number} is not a line of a recorded history")
            yield line


def _whole(history: Path, file: Iterable[bytes]) -> Iterator[bytes]:
    try:
        yield from file
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise errors.Undecodable(f"{history} cannot be unpacked: {error}") from None
