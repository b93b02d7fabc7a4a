"""What the tests of pending transactions share: a database with the story's rows, and nodes that play it."""

import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, cast

import asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine

from deploy import localnet
from deploy.demo.app import chain, chain_truth, drift, rows, scene, schema
from migrations import runner
from shared import database, rpc
from shared.coverage_store import Watermark
from shared.settings import Database, Sweep
from streams import fact_partitions
from sweeper import app_access, app_schema, lock
from sweeper.context import Context
from sweeper.model import Finding
from sweeper.stepfi.transactions import Transactions
from tests import stepfi_frames

STORY = "story-real.jsonl.gz"
HISTORY = Path(__file__).parents[1] / "vectors" / STORY
PENDING = tuple(sorted(name for name in drift.ALL if name.startswith("pending_")))
# The drift's envelopes were built 3 h before the tip and ended 5 min later; a proof has to reach back 1 h more. 5 s a ledger.
ENOUGH, TOO_LITTLE, BEFORE_THE_END = 2_900, 2_800, 2_200
"""Ledgers that a node keeps so that a proof is possible, just not possible; and by which one lags that knows no end yet."""


@cache
def truth() -> chain.ChainTruth:
    return chain_truth.truth_at(HISTORY)


@dataclass
class App:
    """The application's database, chaintrue's own beside it, and the subject under test."""

    connection: asyncpg.Connection
    engine: AsyncEngine
    subject: Transactions
    url: str

    async def context(self, client: rpc.Client, *, closed_at: int | None = None) -> Context:
        async with app_access.transaction(self.engine) as connection:
            table = await app_schema.read_table(connection, "transactions")
        return Context(
            chain=self.engine,
            app=self.engine,
            rpc=client,
            passphrase=truth().passphrase,
            scope="test",
            settings=Sweep(),
            lock=cast("lock.Alone", None),  # a repair is given one
            watermark=Watermark(truth().ledger, closed_at),
            now=datetime(2026, 8, 1, tzinfo=UTC),
            tables={"transactions": app_schema.require(table, "transactions", self.subject.required)},
            subjects={"transactions": self.subject},
        )

    async def survey(self, context: Context) -> list[Finding]:
        return [finding async for finding in self.subject.survey(context)]

    async def inject(self, *names: str) -> dict[str, scene.Expected]:
        injections = await drift.inject(self.connection, truth(), names)
        return {injection.name: injection.findings[0] for injection in injections}

    async def add(self, **columns: Any) -> str:
        """A pending deposit, submitted as early as the drift's."""
        at = truth().closed_at - timedelta(hours=3)
        row = {"id": uuid.uuid4(), "user_wallet": "G", "status": "pending", "xdr": "", "submitted_at": at} | columns
        places = ", ".join(f"${number}" for number in range(1, len(row) + 1))
        await self.connection.execute(f"INSERT INTO transactions ({', '.join(row)}) VALUES ({places})", *row.values())
        return str(row["id"])

    async def row(self, row_id: str) -> dict[str, Any]:
        return dict(await self.connection.fetchrow("SELECT * FROM transactions WHERE id = $1", row_id))

    async def store_events(self, tx_hash: str) -> None:
        """What the stream would have stored of the transaction."""
        history = stepfi_frames.History(STORY)
        for event in history.events():
            if event.tx_hash == tx_hash:
                for fact in history.application.facts_of_event(event):
                    await self.connection.execute(
                        "INSERT INTO chain.facts (key, position, kind, tx_hash, body) VALUES ($1, $2, $3, $4, $5)",
                        fact.key, fact.position, fact.kind, fact.tx_hash, fact.body,
                    )  # fmt: skip


@asynccontextmanager
async def opened(database: str) -> AsyncIterator[App]:
    """Both databases in one, with rows that agree with the story's end."""
    await schema.create(database)
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(connected(database))
        await runner.upgrade(engine)
        history = stepfi_frames.History(STORY)
        async with engine.begin() as connection:
            for number in {
                ledger // fact_partitions.LEDGERS for ledger in (history.start, history.last, truth().ledger)
            }:
                await fact_partitions.make(connection, number)
        connection = await asyncpg.connect(database)
        stack.push_async_callback(connection.close)
        await rows.insert(connection, rows.build(truth()))
        yield App(connection, engine, Transactions(), database)


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[AsyncEngine]:
    async with database.connect(Database.model_validate({"url": url}), section="database") as engine:
        yield engine


@asynccontextmanager
async def asking(*nets: localnet.Localnet) -> AsyncIterator[rpc.Client]:
    settings: dict[str, Any] = {"requests_per_second": 1000, "cooldown_seconds": 0.2, "max_attempts": 2}
    async with rpc.Client(urls=[net.url for net in nets], passphrase=truth().passphrase, **settings) as client:
        yield client


@asynccontextmanager
async def node(**settings: Any) -> AsyncIterator[localnet.Localnet]:
    async with localnet.serve(history=HISTORY, **({"retention": None} | settings)) as net:
        yield net


def rules(findings: Sequence[Finding]) -> list[str]:
    return [finding.evidence["rule"] for finding in findings]
