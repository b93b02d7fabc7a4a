"""The application's transactions: rows that are still pending, held against what became of them on chain.

Finished rows are looked at for duplicates alone, and none is ever missing: the application deletes them after a week. A status
that the application does not know is reported, with what the chain says; only `pending` is ever finished by a repair.
"""

import secrets
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar
from uuid import UUID

from sweeper import app_access
from sweeper.app_schema import AppTable
from sweeper.context import Compared, Context, Since
from sweeper.model import Answer, Both, Finding, Outcome, Row, Value
from sweeper.stepfi import envelopes, settlement, settlement_words, transaction_rows
from sweeper.stepfi.inquiry import Inquiry
from sweeper.stepfi.settlement import Fate, Pending, Verdict
from sweeper.stepfi.transaction_rows import Twins

PAGE_ROWS = 200
"""Rows in memory at once; each may bring an envelope of some hundred kilobytes."""

ORPHANED = "orphaned_pending_transaction"
STALE = "stale_status"
DUPLICATE = "duplicate_row"


@dataclass(frozen=True, slots=True)
class _Case:
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


class Transactions:
    """The subject `transactions` (see `sweeper.context.Subject`)."""

    table = "transactions"
    row_key = "id"
    optional = False
    grace_seconds = 0  # a row is never missing
    required = ("id", "status", "xdr", "submitted_at")
    writes = frozenset({"status", "error", "completed_at", "updated_at"})
    inserts: frozenset[str] = frozenset()
    looks_up: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    @property
    def compares(self) -> str:
        return self.table

    async def survey(self, context: Context) -> AsyncGenerator[Finding, None]:
        """Every unfinished row whose outcome is proven, or neither proven nor still to come; and all of several for one hash."""
        context.compared.setdefault(self.table, Compared()).app_rows += await self._count(context)
        inquiry = Inquiry(
            context.rpc, chain_time=context.watermark.closed_at or 0, is_silent=not context.chain_was_asked
        )
        canary = str(UUID(int=secrets.randbits(32)))  # first in the order of the ids
        context.canaries[self.table] = False
        after: object = None
        while True:
            cases = await self._cases(context, await self._page(context, after, canary=canary))
            for finding in await self._judge(context, inquiry, cases):
                if finding.row_id == canary:
                    context.canaries[self.table] = True
                else:
                    yield finding
            if len(cases) < PAGE_ROWS:
                break
            after = cases[-1].row["id"]
        async for case in self._finished_twins(context):
            yield _duplicate(case)
        context.chain_was_asked &= not inquiry.asked or inquiry.answered > 0

    def survey_changed(self, context: Context, _: Since) -> AsyncGenerator[Finding, None]:
        """All pending rows: there are few, and what became of them is seen on chain alone."""
        return self.survey(context)

    async def look_again(self, context: Context, findings: Sequence[Finding]) -> list[Finding]:
        """Those whose rows are not finished meanwhile, as they are now.

        What the chain said is for ever, so it is not asked again; it was said of the hashes that the row held then. A row that
        holds others by now is another difference, of which nothing is known that could be written.
        """
        of_row = {finding.row_id: finding for finding in findings}
        ids = [row_id for row_id in of_row if row_id is not None]
        again: list[Finding] = []
        for start in range(0, len(ids), PAGE_ROWS):
            some = ids[start : start + PAGE_ROWS]
            for case in await self._cases(context, await self._by_id(context, some)):
                finding = of_row[str(case.row["id"])]
                if case.drift_class is None:
                    continue
                if (case.drift_class, case.rests_on) == (finding.drift_class, finding.rests_on):
                    again.append(_as_now(finding, case, context.tables[self.table]))
                else:
                    again.append(_in_motion(finding, case, case.drift_class))
        return again

    async def examine(self, context: Context, findings: Sequence[Finding]) -> list[Finding]:
        """What is found of their rows now, with the chain asked anew."""
        context.compared.setdefault(self.table, Compared())
        inquiry = Inquiry(
            context.rpc, chain_time=context.watermark.closed_at or 0, is_silent=not context.chain_was_asked
        )
        ids = sorted({finding.row_id for finding in findings if finding.row_id is not None})
        found: list[Finding] = []
        for start in range(0, len(ids), PAGE_ROWS):
            cases = await self._cases(context, await self._by_id(context, ids[start : start + PAGE_ROWS]))
            found += await self._judge(context, inquiry, [case for case in cases if case.drift_class is not None])
        context.chain_was_asked &= not inquiry.asked or inquiry.answered > 0
        return found

    async def confirm(self, context: Context, findings: Sequence[Finding]) -> list[Finding]:  # noqa: ARG002 - the protocol's
        """The survey asked the chain already: the answers are in the findings, and counted."""
        return list(findings)

    async def _count(self, context: Context) -> int:
        """All rows: each one's status is looked at, and drift is measured against them, not against the few that pend."""
        async with app_access.transaction(context.app) as connection:
            return await transaction_rows.count(connection, context.tables[self.table])

    async def _page(self, context: Context, after: object, *, canary: str) -> list[Row]:
        table = context.tables[self.table]
        async with context.paces["app"].working(), app_access.transaction(context.app) as connection:
            return await transaction_rows.unfinished(connection, table, after=after, limit=PAGE_ROWS, canary=canary)

    async def _finished_twins(self, context: Context) -> AsyncGenerator[_Case, None]:
        """The finished rows that share a hash with another row."""
        table = context.tables[self.table]
        after: str | None = None
        while True:
            async with context.paces["app"].working(), app_access.transaction(context.app) as connection:
                ids = await transaction_rows.finished_twins(connection, table, after=after, limit=PAGE_ROWS)
            for case in await self._cases(context, await self._by_id(context, ids)):
                if case.twins is not None and case.row["status"] in transaction_rows.FINISHED:
                    yield case
            if len(ids) < PAGE_ROWS:
                return
            after = ids[-1]

    async def _by_id(self, context: Context, ids: Sequence[str]) -> list[Row]:
        table = context.tables[self.table]
        async with app_access.transaction(context.app) as connection:
            return await transaction_rows.by_id(connection, table, ids)

    async def _cases(self, context: Context, rows: Sequence[Row]) -> list[_Case]:
        table = context.tables[self.table]
        said = [transaction_rows.reading(row, passphrase=context.passphrase) for row in rows]
        hashes = sorted({tx_hash for pending in said for tx_hash in pending.asked})
        async with app_access.transaction(context.app) as connection:
            twins = await transaction_rows.twins(connection, table, hashes)
        return [_Case(row, one.without(twins), _company(row, one, twins)) for row, one in zip(rows, said, strict=True)]

    async def _judge(self, context: Context, inquiry: Inquiry, cases: Sequence[_Case]) -> list[Finding]:
        hashes = sorted({tx_hash for case in cases for tx_hash in case.pending.asked})
        async with context.chain.connect() as connection:
            events = await transaction_rows.events(connection, hashes)
        told = await inquiry.about([case.pending for case in cases], events)
        findings = []
        for case, of_row in zip(cases, told, strict=True):
            fate = settlement.decide(case.pending, of_row, chain_time=inquiry.chain_time)
            if fate.verdict in (Verdict.SUCCESS, Verdict.FAILED):
                context.compared[self.table].expected_rows += 1
            if fate.verdict is not Verdict.OPEN or case.drift_class != ORPHANED:
                findings.append(_finding(case, fate, context))
        return findings


def _company(row: Row, pending: Pending, twins: Mapping[str, Twins]) -> Twins | None:
    """The rows that stand for a hash of this one, itself among them; None when it is the only one."""
    for held in (twins[tx_hash] for tx_hash in pending.hashes if tx_hash in twins):
        if not pending.is_stored:
            return Twins(held.count + 1, (*held.ids, str(row["id"])))
        if held.count > 1:
            return held
    return None


def _entity(pending: Pending) -> str | None:
    return f"transaction:{pending.hashes[0]}" if pending.hashes else None


def _finding(case: _Case, fate: Fate, context: Context) -> Finding:
    """What the unfinished row is found to be. Only a row that is pending, and alone with its hash, is ever written."""
    table, status = context.tables[Transactions.table], case.row["status"]
    words, evidence = settlement_words.sentence(fate, said=status), settlement_words.evidence(case.pending, fate)
    update = _update(fate, table)
    finding = Finding(
        drift_class=case.drift_class or ORPHANED,
        table=Transactions.table,
        row_id=str(case.row["id"]),
        entity=_entity(case.pending),
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
        return _as_now(replace(finding, update={**update, **_touched(table, context)}, guard=relied_on), case, table)
    # That rows are several, or that a word is none, needs no answer of the chain.
    finding = replace(finding, answer=fate.answer if update else None)
    if finding.drift_class == STALE:
        return replace(finding, columns={"status": Both(status, update.get("status")), **finding.columns})
    return _among(case, replace(finding, words=f"{_several(case)}; {words}"))


def _duplicate(case: _Case) -> Finding:
    """A finished row that is not alone with its hash."""
    finding = Finding(
        drift_class=DUPLICATE,
        table=Transactions.table,
        row_id=str(case.row["id"]),
        entity=_entity(case.pending),
        words=f"{_several(case)}.",
        rests_on=case.rests_on,
    )
    return _among(case, finding)


def _several(case: _Case) -> str:
    return f"{case.twins.count if case.twins else 1} rows stand for the transaction of this one"


def _among(case: _Case, finding: Finding) -> Finding:
    """Of rows with one hash none is picked silently: all are in the evidence."""
    twins = case.twins or Twins(1, ())
    return finding.with_evidence(rows=list(twins.ids), row_count=twins.count)


def _relied_on(case: _Case, fate: Fate) -> tuple[str, ...]:
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


def _touched(table: AppTable, context: Context) -> dict[str, Value]:
    return {"updated_at": context.now} if table.has("updated_at") else {}


def _columns(row: Row, update: Mapping[str, Value]) -> dict[str, Both]:
    return {name: Both(row[name], value) for name, value in update.items() if row[name] != value}


def _as_now(finding: Finding, case: _Case, table: AppTable) -> Finding:
    """The finding with what the row holds now: what differs, and what an update relies on."""
    guard = {name: case.row[name] for name in finding.guard if table.has(name)}
    if not finding.update:
        wanted = {name: one.chain for name, one in finding.columns.items()}
        return replace(finding, columns={name: Both(case.row[name], value) for name, value in wanted.items()})
    wanted = {name: value for name, value in finding.update.items() if name != "updated_at"}
    return replace(finding, columns=_columns(case.row, wanted), guard=guard)


def _in_motion(finding: Finding, case: _Case, drift_class: str) -> Finding:
    """What is left of the finding where the verdict was on other hashes, or another kind of row: nothing to write."""
    return replace(
        finding,
        drift_class=drift_class,
        entity=_entity(case.pending),
        columns={},
        update={},
        guard={},
        rests_on=case.rests_on,
        answer=Answer.UNKNOWN,
        outcome=Outcome.UNKNOWN,
    )
