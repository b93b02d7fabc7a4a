"""No sequence of sweeps, repairs, applied plans and undone runs leaves two rows for one loan, whatever the rows are like.

Each seed draws the loans of a chain; each scene draws the application's rows and a sequence of commands, between which the
application goes on. All on a real PostgreSQL, with a node that is asked as in production.
"""

import uuid
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest
from stellar_sdk import Account, Keypair, TransactionBuilder, scval

from deploy import stack
from sweeper import apply, plan_reading, sweep, undo
from sweeper.plan_origin import PlanTo
from sweeper.report import Report
from sweeper.stepfi.subjects import subjects
from tests import stepfi_frames
from tests.integration.link_worlds import Loan, World, deployed, rewritten

SCENES, COMMANDS = 5, 6
STATUSES = ("pending", "active", "completed", "defaulted")
NO_CLAIM = ("under_review", "rejected")
Terms = tuple[str, str, Decimal, Decimal]
_INSERT = """
INSERT INTO loans (id, loan_id, user_wallet, vendor_id, amount, loan_amount, guarantee, interest_rate, total_repayment,
  remaining_balance, term, status, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $5, $6, 8, $5, $5, 3, $7, $8, $8)"""
_SENT = """
INSERT INTO transactions (user_wallet, type, status, transaction_hash, xdr, submitted_at)
VALUES ($1, 'loan_create', 'success', $2, $3, $4) ON CONFLICT DO NOTHING"""


@dataclass
class Scene:
    """The application of one scene. `meant`: by row id, the loan that the row was written for; None: for none."""

    world: World
    random: Random
    folder: Path
    meant: dict[str, int | None] = field(default_factory=dict)
    plans: list[Path] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)

    async def fill(self) -> None:
        """The application's rows: of each loan its own, a provisional one, or none; and some that are of no loan."""
        app = self.world.app
        await app.execute("TRUNCATE loans, vendors, transactions CASCADE; TRUNCATE recon.runs, recon.drift CASCADE")
        for vendor in sorted({loan.vendor for loan in self.world.loans}):
            await app.execute(
                "INSERT INTO vendors (id, name, type, wallet_address) VALUES ($1, 'v', 'books', $2)",
                uuid.UUID(bytes=self.random.randbytes(16)),
                vendor,
            )
        for loan in self.world.loans:
            kind = self.random.choice(
                ("own", "own", "exact", "exact", "exact", "near", "near", "hashed", "none", "none")
            )
            if kind == "own":
                await self.insert(loan, loan_id=str(loan.number))
            elif kind != "none":
                await self.provisional(loan, kind)
        for _ in range(self.random.randrange(3)):
            await self.stray()

    async def provisional(self, loan: Loan, kind: str) -> None:
        """A row that was written for the loan before the chain's id was known."""
        random, name = self.random, f"pending-{self.random.randrange(10**12)}-a"
        changed: dict[str, Any] = {"loan_id": name, "status": random.choice(STATUSES)}
        scale = Decimal(10) ** random.choice((-2, 1, 5)) if kind == "near" and random.random() < 0.3 else 1
        if kind == "near":
            changed |= random.choice(
                (
                    {"vendor_id": None},
                    {"guarantee": loan.guarantee + random.choice((-1, 1)) * Decimal("0.0000001")},
                    {"amount": round(loan.amount, 2), "guarantee": round(loan.guarantee, 2)},
                    {"created_at": loan.created_at + timedelta(seconds=random.randrange(1, 121))},
                    {"created_at": loan.created_at - timedelta(seconds=3600 + random.randrange(121))},
                    {"user_wallet": loan.borrower.lower()},
                    {"loan_id": f"0{loan.number}"},
                )
            )
        if scale != 1:  # what is rounded besides is no match any more
            changed |= {"amount": loan.amount * scale, "guarantee": loan.guarantee * scale}
        if kind == "hashed":
            changed |= random.choice(({}, {"vendor_id": None}, {"created_at": loan.created_at - timedelta(days=2)}))
            await self.send(loan, name)
        await self.insert(loan, **changed)

    async def send(self, loan: Loan, name: str) -> None:
        """The transaction that made the loan, with an envelope that names the row."""
        builder = TransactionBuilder(
            Account(Keypair.random().public_key, 1), self.world.settings.network.passphrase or ""
        )
        builder.append_invoke_contract_function_op(self.world.contracts[0], "any", [scval.to_string(name)])
        envelope = builder.set_timeout(0).build().to_xdr()
        await self.world.app.execute(_SENT, loan.borrower, loan.transaction, envelope, loan.created_at)

    async def stray(self) -> None:
        """A row of no loan: of another amount, or named by a stranger's transaction."""
        loan = self.random.choice(self.world.loans)
        name = f"pending-{self.random.randrange(10**12)}-b"
        if self.random.random() < 0.5:
            strangers = [one for one in self.world.loans if one.borrower != loan.borrower]
            if strangers:
                await self.send(self.random.choice(strangers), name)
        await self.insert(loan, meant=None, loan_id=name, amount=loan.amount + 7, status=self.random.choice(STATUSES))

    async def insert(self, loan: Loan, meant: int | None = -1, **changed: Any) -> None:
        vendor = await self.world.app.fetchval("SELECT id FROM vendors WHERE wallet_address = $1", loan.vendor)
        row = {
            "id": str(uuid.UUID(bytes=self.random.randbytes(16))),
            "loan_id": str(loan.number),
            "user_wallet": loan.borrower,
            "vendor_id": vendor,
            "amount": loan.amount,
            "guarantee": loan.guarantee,
            "status": "active",
            "created_at": loan.created_at - timedelta(seconds=self.random.choice((0, 10, 600, 3600))),
        } | changed
        self.meant[row["id"]] = loan.number if meant == -1 else meant
        await self.world.app.execute(_INSERT, *row.values())

    async def go_on(self) -> None:
        """What the application does by itself between two commands."""
        event, app = self.random.randrange(5), self.world.app
        ids = {row["loan_id"] for row in await app.fetch("SELECT loan_id FROM loans")}
        if event == 0:
            await self.provisional(
                self.random.choice(self.world.loans), self.random.choice(("exact", "near", "hashed"))
            )
        elif event == 1:
            await self.stray()
        elif event == 2:
            word = self.random.choice(("under_review", "rejected", "pending"))
            first = "SELECT loan_id FROM loans WHERE loan_id LIKE 'pending%' ORDER BY id LIMIT 1"
            statement = f"UPDATE loans SET status = $1 WHERE loan_id IN ({first})"
            await app.execute(statement, word)
        elif event == 3:
            free = [loan for loan in self.world.loans if str(loan.number) not in ids]
            if free:  # a person sets the id
                loan = self.random.choice(free)
                mine = [row for row, number in self.meant.items() if number == loan.number]
                if mine:
                    await app.execute("UPDATE loans SET loan_id = $1 WHERE id = $2::uuid", str(loan.number), mine[0])

    async def rows(self) -> dict[str, Any]:
        found = await self.world.app.fetch("SELECT id::text, loan_id, status FROM loans")
        return {row["id"]: (row["loan_id"], row["status"]) for row in found}

    def counts(self, rows: dict[str, Any]) -> Counter[Terms]:
        """How many rows the loans of the same terms have: those with their ids, and those written for them.

        Which of several equal loans a row was written for cannot be known, so they are counted together.
        """
        terms = {loan.number: loan.terms for loan in self.world.loans}
        counted: Counter[Terms] = Counter()
        for row_id, (loan_id, status) in rows.items():
            if loan_id.isdecimal() and loan_id[0] != "0":
                counted[terms[int(loan_id)]] += 1
            elif (loan := self.meant.get(row_id)) is not None and status not in NO_CLAIM:
                counted[terms[loan]] += 1
        return counted

    async def command(self) -> Report | None:
        """One of the shipped commands, at random."""
        name = self.random.choice(("dry", "repair", "repair", "changed", "apply", "apply", "undo"))
        scope, settings = stepfi_frames.SCOPE, self.world.settings
        subjects_ = subjects(settings.stepfi)
        self.done[name] += 1
        if name == "apply" and self.plans:
            reviewed = plan_reading.read(self.random.choice(self.plans))
            return await apply.run(settings, reviewed, scope=scope, contracts=self.world.contracts, subjects=subjects_)
        if name == "undo" and self.runs:
            return await undo.run(settings, self.random.choice(self.runs), scope=scope, subjects=subjects_)
        path = self.folder / f"{uuid.uuid4().hex}.json"
        report = await sweep.run(
            settings,
            scope=scope,
            subjects=subjects_,
            tables=self.random.choice(((), ("loans",), ("loans",), ("loans",))),
            repairing=name in ("repair", "changed"),
            changed_only=name == "changed",
            plan_to=PlanTo(path=path, made_by="test", contracts=self.world.contracts),
        )
        self.plans += [path] if path.exists() else []
        return report

    async def step(self) -> None:
        """The application goes on, then a command runs: it must not give a loan a second row, nor a row a wrong loan."""
        await self.go_on()
        before = await self.rows()
        report = await self.command()
        after = await self.rows()
        assert before.keys() <= after.keys()
        counted, were = self.counts(after), self.counts(before)
        terms = {loan.number: loan.terms for loan in self.world.loans}
        equal = Counter(terms.values())
        for one, count in counted.items():
            assert count <= max(equal[one], were[one]), (one, count, were[one], self.done)
        waiting = {
            self.meant[row_id]
            for row_id, (loan_id, status) in before.items()
            if not loan_id.isdecimal() and status not in NO_CLAIM
        }
        for row_id, (loan_id, _) in after.items():
            if row_id not in before:
                self.done["inserted"] += 1
                assert int(loan_id) not in waiting, (loan_id, before, self.done)
                self.meant[row_id] = int(loan_id)
            elif loan_id != before[row_id][0] and loan_id.isdecimal():
                self.done["linked"] += 1
                meant = self.meant[row_id]
                assert meant is not None
                assert terms[meant] == terms[int(loan_id)], (row_id, before[row_id], loan_id)
        if report is not None:
            self.runs.append(str(report.run_id))


@pytest.fixture(scope="module", params=range(3))
async def world(
    request: pytest.FixtureRequest, postgres: stack.Databases, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    name = f"links_{uuid.uuid4().hex}"
    url = await postgres.create_database(name)
    random = Random(request.param)  # noqa: S311 - draws tests, guards nothing
    path = rewritten(random, tmp_path_factory.mktemp("history") / "story.jsonl.gz")
    async with deployed(url, path) as world:
        yield world
    await postgres.drop_database(name)


async def test_no_loan_gets_a_second_row_and_no_row_a_wrong_loan(world: World, tmp_path: Path) -> None:
    done: Counter[str] = Counter()
    for seed in range(SCENES):
        random = Random(f"{world.loans[0].terms}{seed}")  # noqa: S311 - draws tests, guards nothing
        scene = Scene(world, random, tmp_path)
        await scene.fill()
        for _ in range(COMMANDS):
            await scene.step()
        done += scene.done
    assert done["linked"] > 0, done
    assert done["inserted"] > 0, done
