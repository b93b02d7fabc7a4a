"""The application's transactions: rows that are still pending, held against what became of them on chain.

Finished rows are looked at for duplicates alone, and none is ever missing: the application deletes them after a week. A status
that the application does not know is reported, with what the chain says; only `pending` is ever finished by a repair.
"""

import secrets
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import ClassVar
from uuid import UUID

from sweeper import app_access, long_values
from sweeper.context import Compared, Context, Since
from sweeper.model import Finding, Row
from sweeper.stepfi import row_verdicts, transaction_findings, transaction_rows
from sweeper.stepfi.inquiry import Inquiry
from sweeper.stepfi.settlement import Verdict
from sweeper.stepfi.transaction_findings import Case
from sweeper.storage import ANY_TIME, Storage

PAGE_ROWS = 200
"""Rows in memory at once; each may bring an envelope of some hundred kilobytes."""


class Transactions:
    """The subject `transactions` (see `sweeper.context.Subject`)."""

    table = transaction_findings.TABLE
    row_key = "id"
    optional = False
    grace_seconds = 0  # a row is never missing
    required = ("id", "status", "xdr", "submitted_at")
    writes = frozenset({"status", "error", "completed_at", "updated_at"})
    inserts: frozenset[str] = frozenset()
    storage = Storage(
        together={"status": frozenset({"completed_at"})},
        examples={
            "status": transaction_rows.FINISHED,
            "error": ("the transaction failed on chain",),
            **dict.fromkeys(("completed_at", "updated_at"), (ANY_TIME,)),
        },
    )
    looks_up: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    @property
    def compares(self) -> str:
        return self.table

    def fact_keys(self, finding: Finding) -> Sequence[str]:  # noqa: ARG002 - the protocol's signature
        """Return nothing: what a transaction came to is asked of the chain."""
        return ()

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
            yield long_values.bounded(transaction_findings.duplicate(case))
        context.chain_was_asked &= not inquiry.asked or inquiry.answered > 0

    def survey_changed(self, context: Context, _: Since) -> AsyncGenerator[Finding, None]:
        """All pending rows: there are few, and what became of them is seen on chain alone."""
        return self.survey(context)

    async def look_again(self, context: Context, findings: Sequence[Finding]) -> list[Finding]:
        """Those whose rows are not finished meanwhile, as they are now.

        What the chain said is for ever, so it is not asked again; it was said of the hashes that the row held then. A row that
        holds others by now is another difference, of which nothing is known that could be written.
        """
        table, of_row = context.tables[self.table], {finding.row_id: finding for finding in findings}
        ids = [row_id for row_id in of_row if row_id is not None]
        again: list[Finding] = []
        for start in range(0, len(ids), PAGE_ROWS):
            some = ids[start : start + PAGE_ROWS]
            for case in await self._cases(context, await self._by_id(context, some)):
                finding = of_row[str(case.row["id"])]
                if case.drift_class is None:
                    continue
                if (case.drift_class, case.rests_on) == (finding.drift_class, finding.rests_on):
                    again.append(transaction_findings.as_now(finding, case, table, now=context.now))
                else:
                    again.append(transaction_findings.in_motion(finding, case, case.drift_class))
        return [long_values.bounded(finding) for finding in again]

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

    async def _finished_twins(self, context: Context) -> AsyncGenerator[Case, None]:
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

    async def _cases(self, context: Context, rows: Sequence[Row]) -> list[Case]:
        table = context.tables[self.table]
        said = [transaction_rows.reading(row, passphrase=context.passphrase) for row in rows]
        hashes = sorted({tx_hash for pending in said for tx_hash in pending.asked})
        async with app_access.transaction(context.app) as connection:
            twins = await transaction_rows.twins(connection, table, hashes)
        return [
            Case(row, one.without(twins), transaction_findings.company(row, one, twins))
            for row, one in zip(rows, said, strict=True)
        ]

    async def _judge(self, context: Context, inquiry: Inquiry, cases: Sequence[Case]) -> list[Finding]:
        hashes = sorted({tx_hash for case in cases for tx_hash in case.pending.asked})
        async with context.chain.connect() as connection:
            events = await transaction_rows.events(connection, hashes)
        told = await inquiry.about([case.pending for case in cases], events)
        table, findings = context.tables[self.table], []
        for case, of_row in zip(cases, told, strict=True):
            fate = row_verdicts.decide(case.pending, of_row, chain_time=inquiry.chain_time)
            if fate.verdict in (Verdict.SUCCESS, Verdict.FAILED):
                context.compared[self.table].expected_rows += 1
            if fate.verdict is not Verdict.OPEN or case.drift_class != transaction_findings.ORPHANED:
                findings.append(transaction_findings.found(case, fate, table, now=context.now))
        return [long_values.bounded(finding) for finding in findings]
