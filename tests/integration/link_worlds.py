"""Deployments for tests of links: a recorded history with other terms in its loans' entries, and a node that plays it.

The terms are drawn so that loans are alike: few wallets, vendors and amounts, created within some hours.
"""

import gzip
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import asyncpg
from stellar_sdk import Keypair, scval, xdr

import migrations
from deploy import localnet
from deploy.demo.app import schema
from shared import database as databases
from shared import frames, position
from shared.settings import Network, Rpc, Sweep
from shared.stepfi.settings import Settings
from streams.apply import Applier, Record
from tests import stepfi_frames
from tests.integration.stream_parts import database_settings

DECIMALS = 7
AMOUNTS = (
    (1_000_000_000, 200_000_000),
    (2_500_000_000, 500_000_000),
    (333_333_333, 66_666_666),
    (20_000_000_004, 4_000_000_000),
)
"""Total and guarantee. No amount that is rounded, shifted by a unit or scaled is another of these."""


@dataclass(frozen=True)
class Loan:
    """A loan of the chain, in the application's units."""

    number: int
    borrower: str
    vendor: str
    amount: Decimal
    guarantee: Decimal
    created_at: datetime
    transaction: str

    @property
    def terms(self) -> tuple[str, str, Decimal, Decimal]:
        return self.borrower, self.vendor, self.amount, self.guarantee


@dataclass
class World:
    """Both databases in one, and a node."""

    settings: Settings
    contracts: tuple[str, ...]
    app: asyncpg.Connection
    loans: list[Loan]
    closed_at: datetime


def wallets(random: Random, count: int) -> list[str]:
    return [Keypair.from_raw_ed25519_seed(random.randbytes(32)).public_key for _ in range(count)]


def rewritten(random: Random, path: Path) -> Path:
    """Write the story with other borrowers, vendors, amounts and times in its loans' entries; returns the new recording."""
    with gzip.open(localnet.STORY, "rt") as file:
        lines = [json.loads(line) for line in file]
    last = max(line["closedAt"] for line in lines if line["kind"] == "tx")
    borrowers, vendors = wallets(random, 2), wallets(random, 2)
    terms: dict[int, dict[str, Any]] = {}

    def of(loan: int) -> dict[str, Any]:
        if loan not in terms:
            total, guarantee = random.choice(AMOUNTS)
            age = random.choice((6 * 3600, 6 * 3600 - 40, 6 * 3600 - 40, 5 * 3600, 5 * 3600 + 2000, 1800))
            terms[loan] = {
                "borrower": scval.to_address(random.choice(borrowers)),
                "vendor": scval.to_address(random.choice(vendors)),
                "total_amount": scval.to_int128(total),
                "guarantee_amount": scval.to_int128(guarantee),
                "created_at": scval.to_uint64(last - age),
            }
        return terms[loan]

    for line in lines:
        for entry in line.get("entries", ()):
            if entry.get("xdr"):
                entry["xdr"] = _with_terms(entry["xdr"], of)
    with gzip.open(path, "wt") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    return path


def _with_terms(entry: str, of: Callable[[int], dict[str, Any]]) -> str:
    data = xdr.LedgerEntryData.from_xdr(entry)
    if data.contract_data is None or data.contract_data.val.map is None:
        return entry
    fields = {scval.from_symbol(one.key): one for one in _symbols(data.contract_data.val.map.sc_map)}
    if "loan_id" not in fields or "borrower" not in fields:
        return entry
    for name, value in of(scval.from_uint64(fields["loan_id"].val)).items():
        fields[name].val = value
    return data.to_xdr()


def _symbols(entries: list[xdr.SCMapEntry]) -> Iterator[xdr.SCMapEntry]:
    return (one for one in entries if one.key.type == xdr.SCValType.SCV_SYMBOL)


@asynccontextmanager
async def deployed(url: str, path: Path) -> AsyncIterator[World]:
    """The recording folded into `chain`, an application without rows, and the node."""
    told = stepfi_frames.History(str(path))
    closed_at = max(line["closedAt"] for line in told.transactions)
    async with (
        localnet.serve(history=path) as net,
        databases.connect(database_settings(url), section="database") as engine,
    ):
        await migrations.upgrade(engine)
        await schema.create(url)
        live = Applier(engine=engine, applications=[told.application], network=told.network)
        page = told.page(told.events(), after=position.end_of(told.start - 1), through=position.end_of(told.last))
        batch: list[frames.Frame] = [told.origin(), replace(page, closed_at=closed_at), told.observation(told.last)]
        await live.apply(0, [Record(offset, frames.encode(one)) for offset, one in enumerate(batch)])
        app = await asyncpg.connect(url)
        settings = Settings(
            network=Network(passphrase=told.network),
            rpc=Rpc(urls=(net.url,), requests_per_second=1000),
            database=database_settings(url),
            app_database=database_settings(url),
            stepfi=told.application.settings,
            sweep=Sweep(
                settle_seconds=0,
                spot_checks=0,
                flap_limit=1000,
                observe_seconds=0,
                database_share=1,
                max_tip_age_seconds=0,  # the recorded ledgers closed long ago
            ),
        )
        try:
            yield World(
                settings, told.application.contracts, app, await _loans(app), datetime.fromtimestamp(closed_at, UTC)
            )
        finally:
            await app.close()


async def _loans(app: asyncpg.Connection) -> list[Loan]:
    query = """
SELECT loan_id::int8 AS number, borrower, vendor, total_amount / 1e7 AS amount, guarantee_amount / 1e7 AS guarantee,
  to_timestamp(created_at) AS created_at, created_tx AS transaction FROM chain.loans ORDER BY loan_id"""
    return [Loan(**dict(row)) for row in await app.fetch(query)]
