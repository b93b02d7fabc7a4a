"""What a row of the application's transactions is found to be, and what of it may be written. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from sweeper.app_schema import AppTable
from sweeper.model import Answer, Both, Finding, Outcome, Row, Value
from sweeper.stepfi import envelopes, settlement_words, transaction_rows
from sweeper.stepfi.settlement import Fate, Pending, Verdict
from sweeper.stepfi.transaction_rows import Twins

TABLE = "transactions"
ORPHANED = "orphaned_pending_transaction"
STALE = "stale_status"
DUPLICATE = "duplicate_row"


@dataclass(frozen=True, slots=True)
class Case:
    """A row, what it says, and the other rows that say it of themselves."""

    row: Row
    pending: Pending
    twins: Twins | None

    @property
    def drift_class(self) -> str | None:
        """What the row is found to be, if its outcome is not what it says; None for one that is finished."""
        if self.twins is not None:
            return DUPLICATE
        if self.row["status"] == "pending":
            return ORPHANED
        return None if self.row["status"] in transaction_rows.FINISHED else STALE

    @property
    def rests_on(self) -> dict[str, Value]:
        """What of the row a verdict is about: what was asked of the chain, and since when it might have been included."""
        return {
            "hashes": " ".join(self.pending.asked),
            "unreadable": " ".join(self.pending.unreadable),
            "submitted_at": self.pending.submitted_at,
        }


def company(row: Row, pending: Pending, twins: Mapping[str, Twins]) -> Twins | None:
    """The rows that stand for a hash of this one, itself among them; None when it is the only one."""
    for held in (twins[tx_hash] for tx_hash in pending.hashes if tx_hash in twins):
        if not pending.is_stored:
            return Twins(held.count + 1, (*held.ids, str(row["id"])))
        if held.count > 1:
            return held
    return None


def entity(pending: Pending) -> str | None:
    """The transaction that the row stands for; None where nothing names it."""
    return f"transaction:{pending.hashes[0]}" if pending.hashes else None


def found(case: Case, fate: Fate, table: AppTable, *, now: datetime) -> Finding:
    """What the unfinished row is found to be. Only a row that is pending, and alone with its hash, is ever written."""
    status = case.row["status"]
    words, evidence = settlement_words.sentence(fate, said=status), settlement_words.evidence(case.pending, fate)
    update = _update(fate, table)
    finding = Finding(
        drift_class=case.drift_class or ORPHANED,
        table=TABLE,
        row_id=str(case.row["id"]),
        entity=entity(case.pending),
        words=words,
        columns=_columns(case.row, update),
        evidence=evidence,
        rests_on=case.rests_on,
        answer=fate.answer,
    )
    if finding.drift_class == ORPHANED:
        if not update:
            return replace(finding, outcome=Outcome.UNKNOWN)
        relied_on = dict.fromkeys(_relied_on(case, fate))
        return as_now(replace(finding, update=update, guard=relied_on), case, table, now=now)
    # That rows are several, or that a word is none, needs no answer of the chain.
    finding = replace(finding, answer=fate.answer if update else None)
    if finding.drift_class == STALE:
        return replace(finding, columns={"status": Both(status, update.get("status")), **finding.columns})
    return _among(case, replace(finding, words=f"{_several(case)}; {words}"))


def duplicate(case: Case) -> Finding:
    """A finished row that is not alone with its hash."""
    finding = Finding(
        drift_class=DUPLICATE,
        table=TABLE,
        row_id=str(case.row["id"]),
        entity=entity(case.pending),
        words=f"{_several(case)}.",
        rests_on=case.rests_on,
    )
    return _among(case, finding)


def _several(case: Case) -> str:
    return f"{case.twins.count if case.twins else 1} rows stand for the transaction of this one"


def _among(case: Case, finding: Finding) -> Finding:
    """Of rows with one hash none is picked silently: all are in the evidence."""
    twins = case.twins or Twins(1, ())
    return finding.with_evidence(rows=list(twins.ids), row_count=twins.count)


def _relied_on(case: Case, fate: Fate) -> tuple[str, ...]:
    """The columns that the outcome was read from; the envelope among them where no other tells the hash."""
    told = fate.told
    is_stored = told is not None and case.pending.is_stored and told.tx_hash in case.pending.hashes
    return transaction_rows.READ if is_stored else (*transaction_rows.READ, "xdr")


def _update(fate: Fate, table: AppTable) -> dict[str, Value]:
    """What the outcome makes of the row's columns; nothing where there is no outcome."""
    if fate.verdict not in (Verdict.SUCCESS, Verdict.FAILED):
        return {}
    failed = fate.verdict is Verdict.FAILED and fate.shown is not None
    failure = envelopes.failure(fate.shown.result_xdr) if failed and fate.shown is not None else None
    update: dict[str, Value] = {"status": fate.verdict.value}
    closed_at = settlement_words.instant(fate.closed_at)
    if table.has("completed_at") and closed_at is not None:
        update["completed_at"] = closed_at
    if table.has("error"):
        update["error"] = settlement_words.error(fate, failure)
    return update


def _touched(table: AppTable, now: datetime) -> dict[str, Value]:
    return {"updated_at": now} if table.has("updated_at") else {}


def _columns(row: Row, update: Mapping[str, Value]) -> dict[str, Both]:
    return {name: Both(row[name], value) for name, value in update.items() if row[name] != value}


def as_now(finding: Finding, case: Case, table: AppTable, *, now: datetime) -> Finding:
    """The finding with what the row holds now: what differs, what an update relies on, and the time of this look."""
    guard = {name: case.row[name] for name in finding.guard if table.has(name)}
    if not finding.update:
        wanted = {name: one.chain for name, one in finding.columns.items()}
        return replace(finding, columns={name: Both(case.row[name], value) for name, value in wanted.items()})
    wanted = {name: value for name, value in finding.update.items() if name != "updated_at"}
    return replace(finding, columns=_columns(case.row, wanted), guard=guard, update={**wanted, **_touched(table, now)})


def in_motion(finding: Finding, case: Case, drift_class: str) -> Finding:
    """What is left of the finding where the verdict was on other hashes, or another kind of row: nothing to write."""
    return replace(
        finding,
        drift_class=drift_class,
        entity=entity(case.pending),
        columns={},
        update={},
        guard={},
        rests_on=case.rests_on,
        answer=Answer.UNKNOWN,
        outcome=Outcome.UNKNOWN,
    )
