"""Known drift that a scan does not report is read again by its id before it counts as gone.

A scan walks a table by its pages. A row that an update moves to a page that was read already is not in the scan at all, so that
the scan reports nothing about it does not mean that the row agrees.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from sqlalchemy import text

from sweeper.context import Context, Subject
from sweeper.model import Finding, Place

PAGE_ROWS = 1_000

_KNOWN = text("""
SELECT identity, class AS drift_class, row_id, chain_key FROM recon.drift
WHERE is_there AND table_name = :table AND identity > :after ORDER BY identity LIMIT :limit
""")


async def surveyed(
    context: Context, subject: Subject, survey: AsyncGenerator[Finding, None]
) -> AsyncGenerator[Finding, None]:
    """Yield the findings of a survey of the whole table, then those of the known drift that the survey did not report."""
    reported: set[Place] = set()
    async with aclosing(survey) as findings:
        async for finding in findings:
            reported.add(finding.place)
            yield finding
    after = ""
    while True:
        known = await _page(context, subject.table, after)
        unseen = [one for one in known if one.place not in reported]
        if unseen:
            for finding in await subject.examine(context, unseen):
                if finding.place not in reported:
                    reported.add(finding.place)
                    yield finding
        if len(known) < PAGE_ROWS:
            return
        after = known[-1].place[1]


async def _page(context: Context, table: str, after: str) -> list[Finding]:
    """Return the next known drift of the table as findings that say only what they are about."""
    parameters = {"table": table, "after": after, "limit": PAGE_ROWS}
    async with context.chain.connect() as connection:
        return [
            Finding(
                drift_class=row.drift_class,
                table=table,
                row_id=row.row_id,
                entity=row.identity if row.row_id is None else None,
                words="",
                chain_key=row.chain_key,
            )
            for row in await connection.execute(_KNOWN, parameters)
        ]
