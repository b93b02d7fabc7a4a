"""Making both databases, side by side, by SQL alone."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from deploy import demo
from shared import position
from shared.stepfi.events import Role
from tests.benchmarks.loanbook import statements, world
from tests.benchmarks.traffic import chain
from tests.benchmarks.traffic.chain import Traffic

APP_SCHEMA = Path(demo.__file__).parent / "app" / "schema.sql"
_PIECE = 500_000
"""Loans that one statement writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """Loans 1 to `loans`, of the contracts of `traffic`, in both databases."""

    chain_url: str
    app_url: str
    loans: int
    traffic: Traffic

    @property
    def creditline(self) -> str:
        return str(self.traffic.contracts[Role.CREDITLINE])

    @property
    def rows(self) -> int:
        """Rows of the application: the loans, and those that are its own alone."""
        return self.loans + self.loans // world.REJECTED_EVERY

    @property
    def last_ledger(self) -> int:
        return world.last_ledger(self.loans)


async def write(*, chain_url: str, app_url: str, loans: int) -> Book:
    """Fill chaintrue's database (migrated, empty) and the application's (empty)."""
    book = Book(chain_url=chain_url, app_url=app_url, loans=loans, traffic=Traffic())
    async with asyncio.TaskGroup() as sides:
        sides.create_task(_write_chain(book))
        sides.create_task(_write_app(book))
    return book


async def add_peers(book: Book) -> None:
    """The same on both sides with an integer key: as tables called `peer`, as they stand now, and as views, `peer_view`."""
    of_chain = (*statements.PEER_OF_CHAIN, *statements.VIEW_OF_CHAIN, "VACUUM (ANALYZE) peer", "ANALYZE chain.loans")
    of_app = (*statements.PEER_OF_APP, *statements.VIEW_OF_APP, "VACUUM (ANALYZE) peer", "ANALYZE loans")
    async with asyncio.TaskGroup() as sides:
        for url, all_of_it in ((book.chain_url, of_chain), (book.app_url, of_app)):
            sides.create_task(_execute(url, all_of_it))


async def _write_chain(book: Book) -> None:
    contracts = sorted(map(str, book.traffic.contracts.values()))
    end = world.end_of(book.loans)
    async with _connection(book.chain_url) as connection:
        await _name_people(connection)
        await connection.execute(
            "INSERT INTO chain.scopes (scope, partition, network, contracts, origin, began_at, tip, tip_closed_at) "
            "VALUES ($1, 0, $2, $3, $4, $5, $6, $7)",
            *(book.traffic.scope, chain.NETWORK, contracts, position.START),
            *(world.FIRST_CLOSE, end, world.close_of(book.last_ledger)),
        )
        await connection.execute(
            "INSERT INTO chain.coverage (scope, contract, after, through) SELECT $1, unnest($2::text[]), $3, $4",
            *(book.traffic.scope, contracts, position.START, end),
        )
        await connection.execute(
            "INSERT INTO chain.creditlines (key, position, observed_at, contract, loan_count) VALUES ($1, $2, $2, $3, $4)",
            *(f"creditline:{book.creditline}", end, book.creditline, book.loans),
        )
        indexes = await connection.fetch(
            "SELECT indexname AS name, indexdef AS definition FROM pg_indexes "
            "WHERE schemaname = 'chain' AND tablename = 'loans' AND indexname NOT LIKE '%_pkey'"
        )
        for index in indexes:
            await connection.execute(f"DROP INDEX chain.{index['name']}")
        for first, last in _pieces(book.loans):
            await connection.execute(statements.CHAIN_LOANS, first, last, book.creditline)
        for index in indexes:
            await connection.execute(index["definition"])
        await connection.execute("VACUUM (ANALYZE) chain.loans")


async def _write_app(book: Book) -> None:
    async with _connection(book.app_url) as connection:
        await connection.execute(APP_SCHEMA.read_text())
        await _name_people(connection)
        await connection.execute(statements.VENDORS)
        for first, last in _pieces(book.loans):
            await connection.execute(statements.APP_LOANS, first, last)
            await connection.execute(statements.REJECTED_LOANS, first, last)
        await connection.execute("VACUUM (ANALYZE) loans, vendors")


async def _name_people(connection: asyncpg.Connection) -> None:
    """The addresses of everybody, for this session."""
    for name, count in (("people", world.PEOPLE), ("shops", world.VENDORS)):
        await connection.execute(statements.ADDRESSES.format(name=name))
        await connection.copy_records_to_table(name, records=world.addresses(name, count))
        await connection.execute(f"ANALYZE {name}")


def _pieces(loans: int) -> list[tuple[int, int]]:
    return [(first, min(first + _PIECE - 1, loans)) for first in range(1, loans + 1, _PIECE)]


async def _execute(url: str, each: Sequence[str]) -> None:
    async with _connection(url) as connection:
        for statement in each:
            await connection.execute(statement)


@asynccontextmanager
async def _connection(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()
