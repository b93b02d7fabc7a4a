"""What other wire versions leave unknown, on PostgreSQL: it is asked for, the sweep compares none of it, and it is settled."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from stellar_sdk import scval as sdk

import migrations
from shared import database as databases
from shared import frames, position
from shared.stepfi import amounts, entries
from shared.stepfi.events import Role
from streams.apply import Applier, Record
from streams.stepfi import wishes
from sweeper.comparison import Comparison
from sweeper.stepfi.liquidity_positions import LiquidityPositions
from sweeper.stepfi.loans import Loans
from sweeper.stepfi.reputation_cache import ReputationCache
from sweeper.stepfi.vendors import Vendors
from tests.integration.stream_parts import database_settings
from tests.unit.stepfi import contracts as stepfi
from tests.unit.stepfi.contracts import (
    APPLICATION,
    BORROWER,
    CONTRACTS,
    PROVIDER,
    VENDOR,
    address,
    event,
    i128,
    u32,
    u64,
    vec,
)

NETWORK = "Chaintrue Test Network"
LINE, POOL, REPUTATION, VENDORS = (
    CONTRACTS[role] for role in (Role.CREDITLINE, Role.LIQUIDITY_POOL, Role.REPUTATION, Role.VENDOR_REGISTRY)
)
TERMS = vec([u64(7), i128(1000), i128(200), vec([stepfi.installment(amount=1050, due=stepfi.CLOSED)])])
KNOWN = (
    event(Role.CREDITLINE, "LOANCRTD", [address(BORROWER), address(VENDOR)], TERMS, ledger=11),
    event(Role.LIQUIDITY_POOL, "LQDEPST", [address(PROVIDER)], vec([i128(5000), i128(5000)]), ledger=12),
    event(Role.VENDOR_REGISTRY, "MERCHTSTATUS", [address(VENDOR)], stepfi.boolean(True), ledger=13),
    event(
        Role.REPUTATION, "SCORECHGD", [address(BORROWER)], vec([u32(50), u32(65), stepfi.sym("increase")]), ledger=14
    ),
)
UNREAD = (
    event(Role.CREDITLINE, "LOANFUNDED", [u64(7)], stepfi.void(), ledger=21),
    event(Role.LIQUIDITY_POOL, "LQDEPST", [address(PROVIDER)], vec([i128(1)]), ledger=22),
    event(Role.VENDOR_REGISTRY, "MERCHTSTATUS", [address(VENDOR)], u32(9), ledger=23),
    event(Role.REPUTATION, "SCORECHGD", [address(BORROWER)], vec([u32(65), u32(80)]), ledger=24),
)
SEEN = (
    stepfi.loan_entry(),
    stepfi.shares_entry(5001),
    stepfi.vendor_entry(name=stepfi.text("Books"), status=u32(2)),
    stepfi.pool_entry(shares=6001, liquidity=5001, locked=0),
    stepfi.instance(Role.REPUTATION, {"SCORES": sdk.to_map({address(BORROWER): u32(80)})}),
    stepfi.instance(Role.CREDITLINE, {"LOANCNT": u64(7)}),
)
SUBJECTS: tuple[Comparison[Any], ...] = (
    Loans(APPLICATION.settings),
    LiquidityPositions(APPLICATION.settings),
    Vendors(APPLICATION.settings),
    ReputationCache(APPLICATION.settings),
)


@pytest.fixture
async def engine(database: str) -> AsyncIterator[AsyncEngine]:
    async with databases.connect(database_settings(database), section="database") as engine:
        await migrations.upgrade(engine)
        yield engine


class Log:
    """The log of a stream that begins behind ledger 9, written as it is applied."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._applier = Applier(engine=engine, applications=[APPLICATION], network=NETWORK)
        self._offset = 0
        self._through = position.end_of(9)

    async def begin(self) -> None:
        origin = frames.Origin(
            network=NETWORK, scope=APPLICATION.scope, contracts=APPLICATION.contracts, through=self._through
        )
        await self._write(origin)

    async def page(self, events: Sequence[frames.Event], *, through: int, after: int | None = None) -> None:
        """The events of the ledgers behind the last page, or behind `after`."""
        begin = self._through if after is None else position.end_of(after)
        self._through = position.end_of(through)
        page = frames.Page(
            network=NETWORK,
            scope=APPLICATION.scope,
            kind="live",
            after=begin,
            through=self._through,
            events=tuple(events),
        )
        await self._write(page)

    async def observe(self, *seen: frames.Entry, ledger: int) -> None:
        await self._write(
            frames.Observation(network=NETWORK, scope=APPLICATION.scope, latest_ledger=ledger, entries=seen)
        )

    async def _write(self, frame: frames.Frame) -> None:
        await self._applier.apply(0, [Record(self._offset, frames.encode(frame))])
        self._offset += 1


async def expected(engine: AsyncEngine) -> dict[str, dict[str, Any]]:
    """What the sweep holds against the one row that each table of the app would have."""
    rows = {}
    for subject in SUBJECTS:
        query, parameters = subject.expected_query()
        async with engine.connect() as connection:
            (row,) = await connection.execute(text(query), parameters)
            rows[subject.table] = dict(row._mapping)
    return rows


async def wanted(engine: AsyncEngine) -> set[str]:
    async with engine.connect() as connection:
        return set(await wishes.wanted(connection, limit=200))


async def test_what_an_unread_event_named_is_not_compared_until_it_was_asked_for_and_seen(engine: AsyncEngine) -> None:
    log = Log(engine)
    await log.begin()
    await log.observe(stepfi.pool_entry(shares=0, liquidity=0, locked=0), ledger=10)
    await log.page(KNOWN, through=15)
    before = await expected(engine)
    assert before["loans"]["status"] == "active"
    assert before["vendors"]["status"] == "approved"
    assert (before["reputation_cache"]["score"], before["reputation_cache"]["tier"]) == (65, "bronze")

    await log.page(UNREAD, through=25)
    unknown = await expected(engine)
    owned = {
        "loans": ("status", "remaining_balance", "amount", "guarantee", "vendor", "user_wallet", "term"),
        "liquidity_positions": ("deposited_amount", "shares"),
        "vendors": ("status",),
        "reputation_cache": ("score", "tier"),
    }
    for table, columns in owned.items():
        assert {column: unknown[table][column] for column in columns} == dict.fromkeys(columns), table
    assert await wanted(engine) >= {
        entries.loan_key(LINE, 7),
        entries.shares_key(POOL, PROVIDER),
        entries.vendor_key(VENDORS, VENDOR),
        entries.instance_key(POOL),
        entries.instance_key(REPUTATION),
        entries.instance_key(LINE),
    }

    await log.observe(*SEEN, ledger=26)
    settled = await expected(engine)
    assert (settled["loans"]["status"], settled["loans"]["remaining_balance"]) == (
        "active",
        amounts.to_app(1050, decimals=7),
    )
    assert settled["liquidity_positions"]["shares"] == 5001
    assert settled["liquidity_positions"]["deposited_amount"] is None  # what was paid for them, no entry tells
    assert settled["vendors"]["status"] == "suspended"
    assert (settled["reputation_cache"]["score"], settled["reputation_cache"]["tier"]) == (80, "silver")
    assert not await wanted(engine) & {one.key for one in SEEN}


async def test_the_pool_asks_where_versions_add_up_differently(engine: AsyncEngine) -> None:
    log = Log(engine)
    await log.begin()
    await log.observe(
        stepfi.pool_entry(shares=0, liquidity=0, locked=0),
        *(stepfi.instance(role, {}) for role in Role if role is not Role.LIQUIDITY_POOL),
        ledger=10,
    )
    key = entries.instance_key(POOL)
    assert key not in await wanted(engine)
    await log.page([KNOWN[1]], through=15)
    assert key in await wanted(engine)
    await log.observe(SEEN[3], ledger=15)
    assert key not in await wanted(engine)


async def test_a_late_unread_event_gives_what_one_in_time_gives(engine: AsyncEngine) -> None:
    """It is folded anew from what is stored: as unread, from the very event."""
    log = Log(engine)
    await log.begin()
    await log.page(KNOWN, through=15)
    await log.observe(*SEEN[:2], ledger=17)
    unread = [event(Role.CREDITLINE, "LOANFUNDED", [u64(7)], stepfi.void(), ledger=ledger) for ledger in (16, 19)]
    await log.page(unread[:1], through=16)
    assert (await expected(engine))["loans"]["status"] == "active"  # what was seen stands behind it
    await log.page(unread[1:], through=19, after=18)
    await log.page([event(Role.CREDITLINE, "LOANAPPROVED", [u64(7)], stepfi.void(), ledger=18)], through=18, after=16)
    assert (await expected(engine))["loans"]["status"] is None
