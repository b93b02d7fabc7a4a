"""A process that has both databases hash all rows of `loans`, side by side, as a sweep does, and ship nothing: the bound.

The hashing SELECTs are the sweep's own, over the whole table at once, with an aggregate around them. Prints the
seconds and the rows that each side hashed.
"""

import asyncio
import sys
import time
from typing import Any

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from deploy import application
from sweeper import app_access
from sweeper.comparison import Comparison
from sweeper.context import Context
from sweeper.digest.hashing import Hashing
from sweeper.report import Mode
from tests.benchmarks import surveying


async def main() -> None:
    async with surveying.opened(application.load(None), mode=Mode.DRY) as one:
        (subject,) = one.chosen
        if not isinstance(subject, Comparison):
            raise TypeError(f"{subject.table} is not compared by hashes")
        start = time.perf_counter()
        async with asyncio.TaskGroup() as sides:
            app = sides.create_task(_app(one.context, subject))
            chain = sides.create_task(_chain(one.context, subject))
        told = {"seconds": time.perf_counter() - start, "rows": [chain.result(), app.result()]}
    sys.stdout.buffer.write(orjson.dumps(told))


HASHING = Hashing.fresh()


async def _app(context: Context, subject: Comparison[Any]) -> int:
    rows = subject.app_query(context)
    canonical = HASHING.canonical(subject.digest(), of_app=True, rows=rows, row_id="it.id", with_canaries=False)
    async with app_access.transaction(context.app) as connection:
        return await _hash(connection, HASHING.hashed(subject.digest(), canonical, with_id=True), {})


async def _chain(context: Context, subject: Comparison[Any]) -> int:
    query, parameters = subject.expected_query()
    rows, digest = f"{query} WHERE {subject.key_condition}", subject.digest()
    canonical = HASHING.canonical(digest, of_app=False, rows=rows, row_id="CAST(NULL AS uuid)", with_canaries=False)
    hashed = HASHING.hashed(digest, canonical, with_id=False)
    async with context.chain.connect() as connection:
        return await _hash(connection, hashed, parameters)


async def _hash(connection: AsyncConnection, hashed: str, parameters: Any) -> int:
    aggregates = "count(*), bit_xor(hashes.key_hash), bit_xor(hashes.row_hash)"
    found = await connection.execute(text(f"SELECT {aggregates} FROM ({hashed}) AS hashes"), parameters)
    rows: int = found.one()[0]
    return rows


if __name__ == "__main__":
    asyncio.run(main())
