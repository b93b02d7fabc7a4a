"""What would forbid a repair, found out before it is tried: references to a value that is to change, values that are taken."""

from collections.abc import Sequence

from sqlalchemy import text

from sweeper import app_access
from sweeper.app_schema import AppTable
from sweeper.context import Context
from sweeper.model import Finding


async def find(context: Context, table: AppTable, findings: Sequence[Finding]) -> dict[tuple[str, str, str], str]:
    """The reason, by the finding's identity, of those that must not be tried."""
    reasons: dict[tuple[str, str, str], str] = {}
    key = context.subjects[table.name].row_key
    changing = [one for one in findings if key in one.update]
    if not changing:
        return reasons
    old = {str(one.guard[key]): one for one in changing}
    new = {str(one.update[key]): one for one in changing}
    async with app_access.transaction(context.app) as connection:
        for reference in table.references:
            if reference.target != key:
                continue
            statement = text(
                f"SELECT DISTINCT {reference.column}::text AS value FROM {reference.table} WHERE {reference.column} = ANY(:old)"
            )
            for row in await connection.execute(statement, {"old": list(old)}):
                where = f"{reference.table}.{reference.column}"
                reasons[old[row.value].identity] = f"{where} refers to {row.value}, which therefore cannot be changed"
        statement = text(f"SELECT row.id, row.{key} AS value FROM {table.name} AS row WHERE row.{key} = ANY(:new)")
        for row in await connection.execute(statement, {"new": list(new)}):
            reasons[new[row.value].identity] = f"row {row.id} has the {key} {row.value} already"
    return reasons
