"""Repairs on a real PostgreSQL: the application's database with rows, chaintrue's own beside it, and a witness of each write."""

import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast

import asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine

from deploy import stack
from deploy.demo.app import schema
from migrations import runner
from shared import database, rpc
from shared.coverage_store import Watermark
from shared.settings import Database, Policy, Sweep
from shared.stepfi.settings import Stepfi
from sweeper import app_access, app_schema, lock, repair, runs
from sweeper.context import Context, Subject
from sweeper.journal import Journal
from sweeper.model import Both, Finding, Outcome
from sweeper.stepfi.subjects import subjects
from sweeper.storage import Storage

NOW = datetime(2026, 8, 1, 12, 0, 0, 123456, tzinfo=UTC)
EARLIER = datetime(2026, 7, 1, 3, 4, 5, 678901, tzinfo=UTC)
KEYS = {
    "loans": "loan_id",
    "reputation_cache": "wallet_address",
    "reputation_history": "event_id",
    "liquidity_positions": "provider_wallet",
}

_WITNESS = """
CREATE TABLE witness (number bigserial, what text, id uuid, old jsonb, new jsonb);
CREATE FUNCTION witness() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO witness (what, id, old, new)
  VALUES (TG_TABLE_NAME || ' ' || TG_OP, coalesce(NEW.id, OLD.id), to_jsonb(OLD), to_jsonb(NEW));
  RETURN NULL; END $$;
"""


class Died(BaseException):
    """The process is gone."""


ALSO = frozenset({"reservation_id"})
"""A column of text that may be NULL, which no subject writes: here words of all kinds are written to it."""


@dataclass(frozen=True)
class _Subject:
    """What a repair needs to know of a subject."""

    table: str
    row_key: str
    writes: frozenset[str]
    inserts: frozenset[str]
    storage: Storage


def _subjects() -> dict[str, Subject]:
    """The tables with what StepFi's subjects declare that they write."""
    declared = {one.table: one for one in subjects(Stepfi())}
    return {
        table: cast(
            "Subject",
            _Subject(
                table, key, declared[table].writes | ALSO, declared[table].inserts | ALSO, declared[table].storage
            ),
        )
        for table, key in KEYS.items()
    }


@dataclass
class App:
    """Both databases and their addresses; `connection` is the application's own writer."""

    url: str
    own_url: str
    connection: asyncpg.Connection
    own: AsyncEngine
    app: AsyncEngine
    context: Context

    async def begin(self, mode: str = "repair") -> uuid.UUID:
        """A new run, as `session` records it."""
        run_id = uuid.uuid4()
        await runs.begin(self.context.lock, run_id=run_id, mode=mode, extent="full", started_at=datetime.now(UTC))
        return run_id

    async def repair(self, findings: Sequence[Finding], *, run_id: uuid.UUID | None = None) -> list[Finding]:
        """The findings, repaired in a run of their own, in the order in which they were given."""
        journal = Journal(self.own, run_id or await self.begin())
        done = {one.identity: one for one in await repair.repair(self.context, findings, journal=journal)}
        return [done[one.identity] for one in findings]

    async def loan(self, **columns: Any) -> str:
        """A loan's row; returns its id."""
        row = loan_row() | columns
        await insert(self.connection, "loans", row)
        return str(row["id"])

    async def finding(self, row_id: str, *, drift_class: str = "stale_status", **update: Any) -> Finding:
        """A finding of the row as it is now, which sets the columns."""
        row = dict(await self.connection.fetchrow("SELECT * FROM loans WHERE id = $1", row_id))
        names = ("loan_id", "user_wallet", "amount", "status", "remaining_balance", "completed_at", "updated_at")
        return Finding(
            drift_class=drift_class,
            table="loans",
            row_id=row_id,
            entity=f"loan:{row['loan_id']}",
            words="The app and the chain differ.",
            columns={name: Both(row[name], value) for name, value in update.items()},
            update={**update, "updated_at": self.context.now},
            guard={name: row[name] for name in {*names, *update}},
            action=Policy.REPAIR,
            outcome=Outcome.PROPOSED,
        )

    async def witness(self, *tables: str) -> None:
        """From here on each write to the tables is recorded."""
        await self.connection.execute(_WITNESS)
        for table in tables:
            await self.connection.execute(
                f"CREATE TRIGGER witness AFTER INSERT OR UPDATE OR DELETE ON {table} "
                "FOR EACH ROW EXECUTE FUNCTION witness()"
            )

    async def witnessed(self) -> list[tuple[str, str, set[str]]]:
        """Each write: table and kind, row, and the columns that changed."""
        rows = await self.connection.fetch(
            "SELECT what, id, ARRAY(SELECT key FROM jsonb_each(new) AS n JOIN jsonb_each(old) AS o USING (key) "
            "WHERE n.value <> o.value) AS columns FROM witness ORDER BY number"
        )
        return [(row["what"], str(row["id"]), set(row["columns"])) for row in rows]

    async def row(self, row_id: str, table: str = "loans") -> dict[str, Any]:
        return dict(await self.connection.fetchrow(f"SELECT * FROM {table} WHERE id = $1", row_id))

    async def texts(self, table: str = "loans") -> list[str]:
        """Every row, to the byte."""
        return [row[0] for row in await self.connection.fetch(f"SELECT t::text FROM {table} AS t ORDER BY id")]

    async def journal(self, run_id: uuid.UUID) -> list[dict[str, Any]]:
        """The changes of a run, as recorded."""
        connection = await asyncpg.connect(self.own_url)
        try:
            query = "SELECT * FROM recon.changes WHERE run_id = $1 ORDER BY number"
            return [dict(row) for row in await connection.fetch(query, run_id)]
        finally:
            await connection.close()

    async def read_schema(self) -> None:
        """Read the live tables once more, after a test changed them."""
        async with app_access.transaction(self.app) as connection:
            tables = {name: await app_schema.read_table(connection, name) for name in KEYS}
        self.context.tables = {name: app_schema.require(table, name, ()) for name, table in tables.items()}


def loan_row() -> dict[str, Any]:
    number = uuid.uuid4().int % 10**9
    return {
        "id": uuid.uuid4(), "loan_id": str(number), "user_wallet": f"G{number}", "amount": Decimal("100.00"),
        "loan_amount": Decimal("80.00"), "guarantee": Decimal("20.00"), "interest_rate": Decimal(5),
        "total_repayment": Decimal("105.50"), "remaining_balance": Decimal("105.50"), "term": 4, "status": "active",
        "created_at": EARLIER, "updated_at": EARLIER,
    }  # fmt: skip


async def insert(connection: asyncpg.Connection, table: str, row: Mapping[str, Any]) -> None:
    places = ", ".join(f"${number}" for number in range(1, len(row) + 1))
    await connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places})", *row.values())


@asynccontextmanager
async def engine(url: str) -> AsyncIterator[AsyncEngine]:
    async with database.connect(Database.model_validate({"url": url}), section="database") as connected:
        yield connected


@asynccontextmanager
async def opened(postgres: stack.Databases) -> AsyncIterator[App]:
    """Both databases, made for the block."""
    name = uuid.uuid4().hex
    own_url, app_url = await postgres.create_database(f"own_{name}"), await postgres.create_database(f"app_{name}")
    await schema.create(app_url)
    settings = Database.model_validate({"url": own_url})
    async with engine(own_url) as own, engine(app_url) as app, lock.alone(settings) as held:
        await runner.upgrade(own)
        connection = await asyncpg.connect(app_url)
        context = Context(
            chain=own,
            app=app,
            rpc=cast("rpc.Client", None),
            passphrase="",
            scope="test",
            settings=Sweep(),
            lock=held,
            watermark=Watermark(1, None),
            now=NOW,
            subjects=_subjects(),
        )
        world = App(app_url, own_url, connection, own, app, context)
        await world.read_schema()
        try:
            yield world
        finally:
            await connection.close()
    for database_name in (f"own_{name}", f"app_{name}"):
        await postgres.drop_database(database_name)
