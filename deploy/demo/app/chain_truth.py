"""What the chain held at a ledger: a recorded history decoded with stellar-sdk.

This is the oracle. It shares nothing with the reader and the fold that are under test: state is the last recorded value of
each ledger entry; events are asked only for what no entry holds (when, in which transaction, and a provider's movements).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from stellar_sdk import Address, scval, xdr

from deploy.demo.app import chain, recording

VENDOR_STATUSES = ("pending", "approved", "suspended", "rejected")
"""Words of the vendor registry's U32 status."""

_KEYED = frozenset({"creditline", "pool", "vendors"})
"""The contracts some of whose entries are read by key."""
_HEARD = frozenset({"creditline", "pool", "reputation"})
"""The contracts some of whose events are read."""


@dataclass(frozen=True)
class _Entry:
    """The last value of a ledger entry, with the line that wrote it."""

    data: xdr.ContractDataEntry
    written_at: datetime


@dataclass(frozen=True)
class _Event:
    contract: str
    topics: list[Any]
    value: Any
    id: str
    transaction_hash: str
    ledger: int
    closed_at: datetime


def truth_at(history: Path, ledger: int | None = None) -> chain.ChainTruth:
    """The truth as of the end of `ledger` (default: of the history's last transaction).

    Raises errors.Undecodable for a file that is no recording, ValueError for a ledger before its start.
    """
    recorded = recording.read(history, ledger)
    contracts: dict[str, str] = dict(recorded.header["contracts"])
    entries = _entries(recorded)
    events = list(_events(recorded))
    keyed = {name: list(_keyed(entries, contract)) for name, contract in contracts.items() if name in _KEYED}
    scores = _instance(entries, contracts["reputation"]).get("SCORES", {})
    return chain.ChainTruth(
        passphrase=recorded.header["networkPassphrase"],
        contracts=contracts,
        start_ledger=recorded.header["startLedger"],
        started_at=recording.instant(recorded.header["startClosedAt"]),
        ledger=recorded.ledger,
        closed_at=recorded.closed_at,
        loan_counter=_instance(entries, contracts["creditline"]).get("LOANCNT", 0),
        loans=_loans(keyed["creditline"], [event for event in events if event.contract == contracts["creditline"]]),
        providers=_providers(keyed["pool"], [event for event in events if event.contract == contracts["pool"]]),
        scores={address.address: score for address, score in scores.items()},
        score_changes=tuple(
            _score_change(event)
            for event in events
            if event.contract == contracts["reputation"] and event.topics[0] == "SCORECHGD"
        ),
        vendors={
            key[1].address: chain.Vendor(
                name=_text(value["name"]),
                status=VENDOR_STATUSES[value["status"]],
                registered_at=value["registration_date"],
            )
            for key, value, _ in keyed["vendors"]
            if key[0] == "Vendor"
        },
        transactions={line["txHash"]: _transaction(line) for line in recorded.transactions},
    )


def _entries(recorded: recording.Recording) -> list[_Entry]:
    last: dict[str, tuple[str, datetime]] = {}
    for entry in recorded.header["genesisEntries"]:
        last[entry["key"]] = (entry["xdr"], recording.instant(recorded.header["startClosedAt"]))
    for line in recorded.transactions:
        for entry in line["entries"]:
            if entry["change"] != "ttl" or entry["key"] not in last:
                last[entry["key"]] = (entry["xdr"], recording.instant(line["closedAt"]))
    decoded = ((xdr.LedgerEntryData.from_xdr(value), written_at) for value, written_at in last.values())
    return [_Entry(data.contract_data, written_at) for data, written_at in decoded if data.contract_data is not None]


def _keyed(entries: list[_Entry], contract: str) -> Iterator[tuple[list[Any], Any, datetime]]:
    """Key, value and time of a contract's entries whose key is a Vec."""
    for entry in entries:
        if entry.data.key.vec is not None and _owner(entry) == contract:
            key = [scval.to_native(part) for part in entry.data.key.vec.sc_vec]
            yield key, scval.to_native(entry.data.val), entry.written_at


def _instance(entries: list[_Entry], contract: str) -> dict[str, Any]:
    """A contract's instance storage, of its symbol keys."""
    for entry in entries:
        if entry.data.val.instance is not None and _owner(entry) == contract:
            storage = entry.data.val.instance.storage
            pairs = storage.sc_map if storage is not None else ()
            return {
                scval.from_symbol(pair.key): scval.to_native(pair.val)
                for pair in pairs
                if pair.key.type == xdr.SCValType.SCV_SYMBOL
            }
    return {}


def _owner(entry: _Entry) -> str:
    return str(Address.from_xdr_sc_address(entry.data.contract).address)


def _events(recorded: recording.Recording) -> Iterator[_Event]:
    """The events with a topic of the contracts whose events are read; other contracts may say what they like."""
    read = {contract for name, contract in recorded.header["contracts"].items() if name in _HEARD}
    for line in recorded.transactions:
        for event in line["events"]:
            if event["type"] == "contract" and event.get("contractId") in read and event.get("topic"):
                yield _Event(
                    contract=event["contractId"],
                    topics=[scval.to_native(topic) for topic in event["topic"]],
                    value=scval.to_native(event["value"]),
                    id=event["id"],
                    transaction_hash=event["txHash"],
                    ledger=event["ledger"],
                    closed_at=recording.instant(line["closedAt"]),
                )


def _loans(entries: list[tuple[list[Any], Any, datetime]], events: list[_Event]) -> dict[int, chain.Loan]:
    creations: dict[int, chain.Creation] = {}
    ends: dict[str, dict[int, datetime]] = {"completed": {}, "defaulted": {}, "cancelled": {}}
    for event in events:
        match event.topics[0], event.topics[1:], event.value:
            case "LOANCRTD" | "LOANRQST" as name, _, [loan_id, *_]:
                creations[loan_id] = chain.Creation(
                    event=name,
                    event_id=event.id,
                    transaction_hash=event.transaction_hash,
                    ledger=event.ledger,
                    closed_at=event.closed_at,
                )
            case "LOANRPD", [_, loan_id], [_, _, True, _]:
                ends["completed"][loan_id] = event.closed_at
            case "INSTPAID", [loan_id], [_, _, 0, _]:
                ends["completed"][loan_id] = event.closed_at
            case "LOANDFLT", [_, loan_id], _:
                ends["defaulted"][loan_id] = event.closed_at
            case "LOANCNCL", [_, loan_id], _:
                ends["cancelled"][loan_id] = event.closed_at
    return {
        value["loan_id"]: _loan(value, creations[value["loan_id"]], ends, written_at)
        for key, value, written_at in entries
        if key[0] == "Loan"
    }


def _loan(
    value: dict[str, Any], creation: chain.Creation, ends: dict[str, dict[int, datetime]], written_at: datetime
) -> chain.Loan:
    loan_id = value["loan_id"]
    fields = {
        **value,
        "borrower": value["borrower"].address,
        "vendor": value["vendor"].address,
        "loan_type": value["loan_type"][0],
        "status": value["status"][0],
        "repayment_schedule": tuple(chain.Installment(**installment) for installment in value["repayment_schedule"]),
    }
    return chain.Loan(
        **fields,
        creation=creation,
        last_written_at=written_at,
        completed_at=ends["completed"].get(loan_id),
        defaulted_at=ends["defaulted"].get(loan_id),
        cancelled_at=ends["cancelled"].get(loan_id),
    )


def _providers(entries: list[tuple[list[Any], Any, datetime]], events: list[_Event]) -> dict[str, chain.Provider]:
    movements: dict[str, list[chain.Movement]] = {}
    for event in events:
        if event.topics[0] not in {"LQDEPST", "LQWTHDR"}:
            continue
        first, second = event.value
        amount, shares = (first, second) if event.topics[0] == "LQDEPST" else (second, -first)
        movements.setdefault(event.topics[1].address, []).append(
            chain.Movement(
                event_id=event.id,
                transaction_hash=event.transaction_hash,
                closed_at=event.closed_at,
                amount=amount,
                shares=shares,
            )
        )
    shares_held = {key[1].address: value for key, value, _ in entries if key[0] == "LPSHRS"}
    return {
        address: chain.Provider(shares=shares_held.get(address, 0), cost=cost(moved), movements=tuple(moved))
        for address, moved in movements.items()
    }


def cost(movements: Sequence[chain.Movement]) -> int:
    """Deposits less withdrawals, each of which takes floor(cost x shares burned / shares held) off the cost."""
    total = held = 0
    for movement in movements:
        if movement.shares < 0:
            total -= total * -movement.shares // held
        else:
            total += movement.amount
        held += movement.shares
    return total


def _score_change(event: _Event) -> chain.ScoreChange:
    old, new, reason = event.value
    return chain.ScoreChange(
        event_id=event.id,
        wallet=event.topics[1].address,
        old=old,
        new=new,
        reason=reason,
        transaction_hash=event.transaction_hash,
        ledger=event.ledger,
        closed_at=event.closed_at,
    )


def _transaction(line: recording.Line) -> chain.Transaction:
    error = line.get("error")
    return chain.Transaction(
        hash=line["txHash"],
        inner_hash=line.get("innerTxHash"),
        succeeded=line["status"] == "SUCCESS",
        error=None if error is None else str(error.get("name") or error.get("type")),
        source=line["source"],
        contract=line["contract"],
        contract_id=line["contractId"],
        function=line["function"],
        args_xdr=tuple(line["args_xdr"] or ()),
        envelope_xdr=line.get("envelopeXdr"),
        ledger=line["ledger"],
        closed_at=recording.instant(line["closedAt"]),
    )


def _text(value: str | bytes) -> str:
    """An ScString: the SDK gives bytes where the value is no UTF-8."""
    return value if isinstance(value, str) else value.decode("utf-8", "replace")
