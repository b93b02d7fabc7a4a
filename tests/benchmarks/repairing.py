"""A process that repairs what it finds in `loans`, its settings in the environment; prints what the writing took.

Argument `batches`: as a sweep does, with the journal in `recon` and the reading back. Argument a number: the peer, one guarded
UPDATE a row by a prepared statement, so many rows a transaction, without journal or reading back. A second number: how many of
the rows that differ are written.
"""

import asyncio
import itertools
import sys
import time
from collections.abc import Sequence
from uuid import UUID

import asyncpg
import orjson

from deploy import application
from sweeper import repair
from sweeper.journal import Journal
from sweeper.model import Finding, Outcome
from sweeper.report import Mode
from sweeper.session import Session
from tests.benchmarks import surveying

BATCHES = "batches"


async def main(how: str, rows: int) -> None:
    settings = application.load(None)
    async with surveying.opened(settings, mode=Mode.REPAIR) as one:
        found = (await surveying.survey(one))[:rows]
        start = time.perf_counter()
        if how == BATCHES:
            written = await _by_batches(one, found)
        else:
            assert settings.app_database.url is not None
            url = settings.app_database.url.get_secret_value()
            written = await _by_rows(url, found, each=int(how))
        told = {"seconds": time.perf_counter() - start, "written": written}
    sys.stdout.buffer.write(orjson.dumps(told))


async def _by_batches(one: Session, found: Sequence[Finding]) -> int:
    journal = Journal(one.context.chain, one.run.run_id)
    done = await repair.repair(one.context, found, journal=journal)
    return sum(finding.outcome is Outcome.REPAIRED for finding in done)


async def _by_rows(dsn: str, found: Sequence[Finding], *, each: int) -> int:
    connection = await asyncpg.connect(dsn)
    try:
        statements: dict[tuple[str, ...], asyncpg.PreparedStatement] = {}
        written = 0
        for first in range(0, len(found), each):
            async with connection.transaction():
                for finding in found[first : first + each]:
                    columns = tuple(finding.update)
                    if columns not in statements:
                        statements[columns] = await connection.prepare(_statement(finding))
                    values = (UUID(finding.row_id or ""), *finding.update.values(), *finding.guard.values())
                    written += len(await statements[columns].fetch(*values))
        return written
    finally:
        await connection.close()


def _statement(finding: Finding) -> str:
    numbers = itertools.count(2)
    sets = ", ".join(f"{name} = ${next(numbers)}" for name in finding.update)
    stands = " AND ".join(f"{name} IS NOT DISTINCT FROM ${next(numbers)}" for name in finding.guard)
    return f"UPDATE loans SET {sets} WHERE id = $1 AND {stands} RETURNING id"


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
