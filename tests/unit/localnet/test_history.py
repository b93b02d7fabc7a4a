"""A recording is read leanly, and refused when it is none."""

import gzip
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from deploy.localnet import history, xdrtext
from shared import errors
from tests.recordings import VECTORS, lines

HEADER = next(lines("story-small.jsonl"))
TRANSACTION = {
    "kind": "other",
    "ledger": 3_400_005,
    "txOrder": 1,
    "closedAt": 1_783_209_626,
    "txHash": "ab" * 32,
    "status": "SUCCESS",
}


Record = dict[str, Any]


def write(path: Path, *records: Record) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.mark.parametrize(
    ("records", "told"),
    [
        ([], "is not a recorded history"),
        ([{"kind": "tx"}], "is not a recorded history"),
        ([HEADER, {**TRANSACTION, "txHash": "xy"}], "is not a recorded history"),
        ([HEADER, TRANSACTION, TRANSACTION], "not in chain order"),
        ([HEADER, {**TRANSACTION, "ledger": 3_399_999}], "not in chain order"),
        ([HEADER, {**TRANSACTION, "events": [{"id": "1"}]}], "invalid event id"),
    ],
)
def test_what_is_no_recording_is_refused(records, told, tmp_path):
    with pytest.raises(errors.SettingError, match=told):
        history.History(write(tmp_path / "wrong.jsonl", *records))


def test_a_packed_file_that_is_cut_is_refused(tmp_path):
    path = tmp_path / "cut.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(HEADER).encode())[:-20])
    with pytest.raises(errors.SettingError):
        history.History(path)


def test_a_recording_without_transactions_is_one(tmp_path):
    with history.History(write(tmp_path / "empty.jsonl", HEADER)) as recording:
        assert recording.first_ledger == recording.last_ledger == HEADER["startLedger"]
        assert recording.closed_at(HEADER["startLedger"] + 3) == HEADER["startClosedAt"] + 15
        assert recording.transactions(HEADER["startLedger"]) == []


def test_close_times_are_interpolated_in_whole_seconds(tmp_path):
    with history.History(write(tmp_path / "gap.jsonl", HEADER, TRANSACTION)) as recording:
        start = HEADER["startClosedAt"]
        assert [recording.closed_at(3_400_000 + n) - start for n in range(8)] == [0, 5, 10, 15, 20, 26, 31, 36]


def test_an_entry_is_the_newest_written_by_then():
    with history.History(VECTORS / "random-1.jsonl.gz") as recording:
        newest = {entry["key"]: entry for entry in next(lines("random-1.jsonl.gz"))["genesisEntries"]}
        ledger = 0
        for line in lines("random-1.jsonl.gz"):
            if line["kind"] == "tx" and line["n"] <= 700:
                newest |= {entry["key"]: entry for entry in line["entries"]}
                ledger = line["ledger"]
            elif line["kind"] == "tx" and line["ledger"] == ledger:
                newest |= {entry["key"]: entry for entry in line["entries"]}
        for key, entry in newest.items():
            assert recording.entry(xdrtext.canonical_key(key), ledger) == entry


def test_a_long_recording_takes_little_memory(tmp_path):
    """Transactions stay in their file; what is kept of each is an index of some hundred bytes."""
    count, entry = 5_000, {"key": "AAAA", "xdr": "A" * 8_000, "lastModifiedLedgerSeq": 1}
    numbered = (
        {**TRANSACTION, "ledger": 3_400_001 + number, "txHash": f"{number:064x}", "entries": [entry]}
        for number in range(count)
    )
    path = write(tmp_path / "long.jsonl", HEADER, *numbered)
    tracemalloc.start()
    try:
        with history.History(path) as recording:
            taken, _peak = tracemalloc.get_traced_memory()
            assert recording.transactions(3_400_000 + count)[0]["txHash"] == f"{count - 1:064x}"
    finally:
        tracemalloc.stop()
    assert taken < count * 600
