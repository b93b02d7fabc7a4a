"""Whether the application's columns can hold what a sweep may write: a repair leaves out what they cannot hold."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from deploy.doctor.checks import Examination
from sweeper import app_schema, column_fit
from sweeper.context import Subject
from sweeper.storage import Refusal, fixed


async def unfit(connection: AsyncConnection, subject: Subject) -> list[Refusal]:
    """Return, for each column that cannot hold one of the subject's examples or cannot be set at all, the first reason."""
    table = await app_schema.read_table(connection, subject.table)
    if table is None:
        return []
    refusals = await column_fit.refused(connection, table, subject.storage, subject.storage.examples)
    found = {column: next(iter(of_value.values())) for column, of_value in refusals.items() if of_value}
    found |= {column: fixed(table, column) for column in (subject.writes | subject.inserts) & table.fixed.keys()}
    return [refusal for _, refusal in sorted(found.items())]


def tell(found: Examination, check: str, refusals: Sequence[Refusal]) -> None:
    """Add a warning for each: the sweeps work, and leave out what cannot be stored."""
    for refusal in refusals:
        found.well(check, f"{refusal.why}; repairs leave it out", cure=refusal.hint)
