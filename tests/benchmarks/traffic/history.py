"""The traffic as a recorded history, which the localnet plays: JSON lines, as `tests/vectors/README.md` describes them."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from shared import frames
from tests.benchmarks.traffic import chain, entries
from tests.benchmarks.traffic.chain import Ledger, Traffic, Transaction

ENTRY_LIFE = 500_000
"""Ledgers that an entry has to live."""


def write(path: Path, traffic: Traffic, *, ledgers: int) -> None:
    """So many ledgers, with all entries that their transactions left."""
    with path.open("wb") as file:
        file.write(orjson.dumps(_header(traffic)) + b"\n")
        for ledger in islice(traffic.ledgers(), ledgers):
            file.writelines(orjson.dumps(line) + b"\n" for line in _transactions(traffic, ledger))


def _header(traffic: Traffic) -> dict[str, Any]:
    return {
        "kind": "header",
        "scenario": f"benchmark {traffic.seed}",
        "contracts": {role.value: address for role, address in traffic.contracts.items()},
        "accounts": {},
        "networkPassphrase": chain.NETWORK,
        "protocol": 23,
        "startLedger": chain.FIRST_LEDGER,
        "startClosedAt": chain.FIRST_CLOSE,
        "genesisEntries": [_entry(written, chain.FIRST_LEDGER - 1) for written in traffic.instances()],
    }


def _transactions(traffic: Traffic, ledger: Ledger) -> Iterator[dict[str, Any]]:
    """An entry stands with each transaction that touched it, as the whole ledger left it."""
    for one in ledger.transactions:
        yield {
            "kind": "tx",
            "ledger": ledger.number,
            "txOrder": one.order,
            "closedAt": ledger.closed_at,
            "txHash": one.hash,
            "status": "SUCCESS",
            "events": [_event(event, one, ledger) for event in one.events],
            "entries": [_entry(written, ledger.number) for written in sorted(map(traffic.entry, one.touched))],
        }


def _event(event: frames.Event, transaction: Transaction, ledger: Ledger) -> dict[str, Any]:
    return frames.event_to_wire(event) | {
        "ledger": ledger.number,
        "operationIndex": 0,
        "transactionIndex": transaction.order,
        "inSuccessfulContractCall": True,
    }


def _entry(written: entries.Written, ledger: int) -> dict[str, Any]:
    key, xdr = written
    return {
        "key": key,
        "xdr": xdr,
        "lastModifiedLedgerSeq": ledger,
        "liveUntilLedgerSeq": ledger + ENTRY_LIFE,
        "change": "updated",
    }
