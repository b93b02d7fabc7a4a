"""The recorded histories in tests/vectors, as their lines and as the XDR that they hold."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

VECTORS = Path(__file__).parent / "vectors"
HISTORIES = ("story-small.jsonl", "story-real.jsonl.gz", "random-1.jsonl.gz", "random-archive-6.jsonl.gz")


def lines(name: str) -> Iterator[dict[str, Any]]:
    """The objects of a JSON-lines file, packed or not."""
    path = VECTORS / name
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        for line in file:
            yield json.loads(line)


def event_values(name: str) -> Iterator[str]:
    """Every topic and value of every event, base64 ScVals in the order of the history."""
    for line in lines(name):
        for event in line.get("events", ()):
            yield from event.get("topic", ())
            yield event["value"]


def entries(name: str) -> Iterator[tuple[str, str]]:
    """(key, xdr) of every ledger entry, those before the first transaction included."""
    for line in lines(name):
        for entry in (*line.get("genesisEntries", ()), *line.get("entries", ())):
            yield entry["key"], entry["xdr"]
