"""The application's transactions: rows that are still pending, held against what became of them on chain.

Only pending rows are looked at, and none is ever missing: the application deletes finished rows after a week.
"""

import secrets
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar
from uuid import UUID

from sweeper import app_access
from sweeper.app_schema import AppTable
from sweeper.context import Compared, Context, Since
from sweeper.model import Both, Finding, Outcome, Row, Value
from sweeper.stepfi import envelopes, settlement, settlement_words, transaction_rows
from sweeper.stepfi.inquiry import Inquiry
from sweeper.stepfi.settlement import Fate, Pending, Verdict
from sweeper.stepfi.transaction_rows import Twins

PAGE_ROWS = 200
"""Rows in memory at once; each may bring an envelope of some hundred kilobytes."""

ORPHANED = "orphaned_pending_transaction"
DUPLICATE = "duplicate_row"


@dataclass(frozen=True, slots=True)
class _Case:
    """A row, what it says, and the other rows that say it of themselves."""

    row: Row
    pending: Pending
    twins: Twins | None


class Transactions:
    """The subject `transactions` (see `sweeper.context.Subject`)."""

    table = "transactions"
    row_key = "id"
    optional = False
    required = ("id", "status", "xdr", "submitted_at")
    writes = frozenset({"status", "error", "completed_at", "updated_at"})
    inserts: frozenset[str] = frozenset()
    looks_up: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    @property
    def compares(self) -> str:
        return self.table

    async def survey(self, context: Context) -> AsyncGenerator[Finding, None]:
        """Every pending row whose outcome is proven, or neither proven nor still to come."""
        context.compared.setdefault(self.table, Compared()).app_rows += await self._count(context)
        inquiry = Inquiry(context.rpc, chain_time=context.watermark.closed_at or 0)
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
        context.chain_was_asked &= not inquiry.asked or inquiry.answered > 0

    def survey_changed(self, context: Context, _: Since) -> AsyncGenerator[Finding, None]:
        """All pending rows: there are few, and what became of them is seen on chain alone."""
        return self.survey(context)

    async def look_again(self, context: Context, findings: Sequence[Finding]) -> list[Finding]:
        """Those whose rows are still pending, with the same hash and in the same company, guarded as they are now.

        What the chain said is for ever, so it is not asked again.
        """
        of_row = {finding.row_id: finding for finding in findings}
        ids = [row_id for row_id in of_row if row_id is not None]
        again: list[Finding] = []
        for start in range(0, len(ids), PAGE_ROWS):
            some = ids[start : start + PAGE_ROWS]
            for case in await self._cases(context, await self._by_id(context, some)):
                finding = of_row[str(case.row["id"])]
                alone = finding.drift_class == ORPHANED
                if _entity(case.pending) == finding.entity and alone == (case.twins is None):
                    again.append(_as_now(finding, case, context.tables[self.table]))
        return again

    async def examine(self, context: Context, findings: Sequence[Finding]) -> list[Finding]:
        """What is found of their rows now, with the chain asked anew."""
        context.compared.setdefault(self.table, Compared())
        inquiry = Inquiry(context.rpc, chain_time=context.watermark.closed_at or 0)
        ids = sorted({finding.row_id for finding in findings if finding.row_id is not None})
        found: list[Finding] = []
        for start in range(0, len(ids), PAGE_ROWS):
            cases = await self._cases(context, await self._by_id(context, ids[start : start + PAGE_ROWS]))
            found += await self._judge(context, inquiry, cases)
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
            return await transaction_rows.pending(connection, table, after=after, limit=PAGE_ROWS, canary=canary)

    async def _by_id(self, context: Context, ids: Sequence[str]) -> list[Row]:
        table = context.tables[self.table]
        async with app_access.transaction(context.app) as connection:
            return await transaction_rows.still_pending(connection, table, ids)

    async def _cases(self, context: Context, rows: Sequence[Row]) -> list[_Case]:
        table = context.tables[self.table]
        said = [transaction_rows.reading(row, passphrase=context.passphrase) for row in rows]
        hashes = sorted({tx_hash for pending in said for tx_hash in pending.hashes})
        async with app_access.transaction(context.app) as connection:
            twins = await transaction_rows.twins(connection, table, hashes)
        return [_Case(row, pending, _company(pending, twins)) for row, pending in zip(rows, said, strict=True)]

    async def _judge(self, context: Context, inquiry: Inquiry, cases: Sequence[_Case]) -> list[Finding]:
        hashes = sorted({tx_hash for case in cases for tx_hash in case.pending.hashes})
        async with context.chain.connect() as connection:
            events = await transaction_rows.events(connection, hashes)
        told = await inquiry.about([case.pending for case in cases], events)
        findings = []
        for case, of_row in zip(cases, told, strict=True):
            fate = settlement.decide(case.pending, of_row, chain_time=inquiry.chain_time)
            if fate.verdict in (Verdict.SUCCESS, Verdict.FAILED):
                context.compared[self.table].expected_rows += 1
            if fate.verdict is not Verdict.OPEN or case.twins is not None:
                findings.append(_finding(case, fate, context))
        return findings


def _company(pending: Pending, twins: Mapping[str, Twins]) -> Twins | None:
    """The rows that hold a hash of this one; the row itself is among them unless it holds none."""
    return next((twins[tx_hash] for tx_hash in pending.hashes if tx_hash in twins), None)


def _entity(pending: Pending) -> str | None:
    return f"transaction:{pending.hashes[0]}" if pending.hashes else None


def _finding(case: _Case, fate: Fate, context: Context) -> Finding:
    """What the row is found to be. Of rows with one hash none is picked silently: there is nothing to write."""
    table = context.tables[Transactions.table]
    words, evidence = settlement_words.sentence(fate), settlement_words.evidence(case.pending, fate)
    finding = Finding(
        drift_class=ORPHANED,
        table=Transactions.table,
        row_id=str(case.row["id"]),
        entity=_entity(case.pending),
        words=words,
        evidence=evidence,
        answer=fate.answer,
    )
    update = _update(fate, table)
    if case.twins is not None:
        return replace(
            finding,
            drift_class=DUPLICATE,
            words=f"{case.twins.count} rows hold the hash of this one; {words}",
            evidence={**evidence, "rows": list(case.twins.ids), "row_count": case.twins.count},
            columns=_columns(case.row, update),
            answer=fate.answer if update else None,  # that the rows are several needs no answer of the chain
        )
    if not update:
        return replace(finding, outcome=Outcome.UNKNOWN)
    return _as_now(replace(finding, update={**update, **_touched(table, context)}), case, table)


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
    guard = {name: case.row[name] for name in transaction_rows.READ if table.has(name)}
    if not finding.update:
        return replace(finding, columns=_columns(case.row, {name: one.chain for name, one in finding.columns.items()}))
    wanted = {name: value for name, value in finding.update.items() if name != "updated_at"}
    return replace(finding, columns=_columns(case.row, wanted), guard=guard)
