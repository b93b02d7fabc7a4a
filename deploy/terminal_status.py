"""`chaintrue status` for people."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from deploy.status import Status
from deploy.terminal import sentence, text
from sweeper.words import moment


def show(status: Status, *, console: Console) -> None:
    """The state as sentences and tables; what troubles it last, where the eye is."""
    body = status.body
    facts = Table.grid(padding=(0, 2))
    facts.add_row("Watermark", f"ledger {_known(body['watermark_ledger'])}{_closed(body, 'watermark')}")
    facts.add_row("Chain", f"ledger {_known(body['latest_ledger'])}{_closed(body, 'tip')}")
    facts.add_row("Age of the newest ledger", _with_unit(body["tip_age_seconds"], "s"))
    facts.add_row("Lag", f"{_with_unit(body['lag_ledgers'], 'ledgers')}, {_with_unit(body['lag_seconds'], 's')}")
    facts.add_row("Retention margin", _with_unit(body["retention_margin_ledgers"], "ledgers"))
    facts.add_row("Waiting observations", str(body["observations"]["waiting"]))
    facts.add_row("Undecodable events", str(body["undecodable_events"]))
    console.print(facts)
    _show_rows("Gaps", body["gaps"], ("from_ledger", "to_ledger", "state", "age_seconds", "reason"), console)
    _show_rows("Not known, for the events are lost", body["unknown"], ("what", "count"), console)
    _show_undecodable(body["undecodable"], console)
    _show_rows("RPC nodes", body["nodes"], ("node", "oldest_ledger", "latest_ledger", "trouble"), console)
    sweeps = [
        {
            **one,
            "started_at": f"{one['started_at'][:19]}Z",
            "drift": _drift(one["drift"]),
            "reason": one["reason"] or "",
        }
        for one in body["last_sweeps"]
    ]
    _show_rows("Last sweeps", sweeps, ("started_at", "mode", "extent", "status", "drift", "reason"), console)
    console.print()
    for trouble in status.degraded:
        console.print(f"[bold red]Degraded[/]: {sentence(trouble)}")
    if not status.degraded:
        console.print("[bold green]Healthy.[/]")


def _closed(body: Mapping[str, Any], side: str) -> str:
    """When the ledger closed; of a watermark it may be the nearest ledger below whose close is known."""
    closed_at, ledger = body[f"{side}_closed_at"], body.get(f"{side}_closed_ledger")
    if closed_at is None:
        return ""
    of = "" if ledger in (None, body["watermark_ledger"]) else f" after ledger {ledger} at"
    return f", closed{of} {moment(closed_at)}"


def _known(value: int | None) -> str:
    return "unknown" if value is None else str(value)


def _with_unit(value: int | None, unit: str) -> str:
    return "unknown" if value is None else f"{value} {unit}"


def _drift(counts: Mapping[str, int] | None) -> str:
    if counts is None:
        return "-"
    return "\n".join(f"{count} {name}" for name, count in sorted(counts.items())) or "none"


def _show_undecodable(groups: Sequence[Mapping[str, Any]], console: Console) -> None:
    rows = [
        {
            "contract": group["contract"] or "",
            "event": group["event"] or "",
            "reason": group["reason"],
            "count": group["count"],
            "ledgers": _ledgers(group["first_ledger"], group["last_ledger"]),
        }
        for group in groups
    ]
    _show_rows("Could not be decoded", rows, ("contract", "event", "reason", "count", "ledgers"), console)


def _ledgers(first: int, last: int) -> str:
    return str(first) if first == last else f"{first} to {last}"


def _show_rows(title: str, rows: Sequence[Mapping[str, Any]], columns: tuple[str, ...], console: Console) -> None:
    if not rows:
        return
    table = Table(*(name.replace("_", " ") for name in columns), title=title, title_justify="left")
    for row in rows:
        table.add_row(*(text(row[name]) for name in columns))
    console.print()
    console.print(table)
    for contracts in {tuple(row["contracts"]) for row in rows if "contracts" in row}:
        console.print(f"[dim]of the contracts {escape(', '.join(contracts))}[/]")
