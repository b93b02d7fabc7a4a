"""Recorded histories as the frames that an indexer and an observer would have written."""

import gzip
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from shared import frames, position
from shared.stepfi.settings import Stepfi
from streams.stepfi.application import StepfiStream
from tests import recordings

SCOPE = "stepfi"


def application(header: dict[str, Any]) -> StepfiStream:
    """StepFi with the contracts of a recording."""
    contracts = header["contracts"]
    return StepfiStream(
        Stepfi(
            creditline=contracts["creditline"],
            liquidity_pool=contracts["pool"],
            reputation=contracts["reputation"],
            vendor_registry=contracts["vendors"],
            parameters=contracts["parameters"],
            vouching=contracts["vouching"],
        )
    )


class History:
    """One recording: events of the contracts, and the entries as of any of its ledgers."""

    def __init__(self, name: str) -> None:
        lines = list(recordings.lines(name))
        self.header = lines[0]
        self.transactions = [line for line in lines[1:] if line["kind"] == "tx"]
        self.application = application(self.header)
        self.network: str = self.header["networkPassphrase"]
        self.start: int = self.header["startLedger"]
        self.last: int = self.transactions[-1]["ledger"]

    def events(self) -> list[frames.Event]:
        """All events of the scope's contracts, in order."""
        return [
            frames.event_from_wire(event)
            for line in self.transactions
            for event in line.get("events", ())
            if event["contractId"] in self.application.roles
        ]

    def origin(self) -> frames.Origin:
        return frames.Origin(
            network=self.network,
            scope=SCOPE,
            contracts=self.application.contracts,
            through=position.end_of(self.start - 1),
        )

    def page(self, events: Iterable[frames.Event], *, after: str, through: str) -> frames.Page:
        return frames.Page(
            network=self.network, scope=SCOPE, kind="live", after=after, through=through, events=tuple(events)
        )

    def observation(self, ledger: int) -> frames.Observation:
        """All entries of the contracts as they stood at the end of the ledger."""
        newest: dict[str, frames.Entry] = {}
        for line in self.transactions:
            if line["ledger"] > ledger:
                break
            for entry in line.get("entries", ()):
                wire = {"liveUntilLedgerSeq": None} | entry
                newest[entry["key"]] = frames.entry_from_wire(wire)
        return frames.Observation(
            network=self.network, scope=SCOPE, latest_ledger=ledger, entries=tuple(newest.values())
        )


def expected(name: str) -> dict[str, Any]:
    """What the contracts' own getters said at the end of the recording."""
    folder = Path(__file__).parent / "vectors"
    stem = name.removesuffix(".gz").removesuffix(".jsonl")
    plain = folder / f"{stem}.expected.json"
    data = plain.read_bytes() if plain.exists() else gzip.decompress((folder / f"{stem}.expected.json.gz").read_bytes())
    value: dict[str, Any] = json.loads(data)
    return value
