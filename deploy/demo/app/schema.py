"""Make the application's tables in an empty database."""

from importlib import resources

import asyncpg

TABLES = (
    "users",
    "vendors",
    "loans",
    "transactions",
    "reputation_cache",
    "reputation_history",
    "liquidity_positions",
    "loan_index",
    "payment_index",
    "investments_index",
    "default_detection_results",
)
"""Every table, those that others refer to first."""


async def create(url: str) -> None:
    """Make the tables, all or none, in the database at `url` (`postgresql://…`).

    Raises asyncpg.DuplicateTableError where they are already.
    """
    statements = resources.files(__package__).joinpath("schema.sql").read_text(encoding="utf-8")
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await connection.execute(statements)
    finally:
        await connection.close()
