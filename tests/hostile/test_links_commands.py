"""Random rows of the odd kinds, and random sequences of commands: no loan gets a second row, and what is proven is linked."""

import uuid
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import ROUND_CEILING, ROUND_HALF_UP, Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest

from deploy import stack
from tests.integration.link_worlds import Loan, World, deployed, rewritten
from tests.integration.test_loan_links_commands import NO_CLAIM, STATUSES, Scene

SCENES, COMMANDS = 3, 5
CENT = Decimal("0.01")


class OddScene(Scene):
    """A scene whose rows nearly fit their loans in other ways; the loan of each is known to the test alone."""

    async def provisional(self, loan: Loan, kind: str) -> None:
        if kind == "exact":
            await super().provisional(loan, kind)
            return
        row, name = (
            self.odd_id(loan) if self.random.random() < 0.4 else {},
            f"pending-{self.random.randrange(10**12)}-c",
        )
        row = {"loan_id": name, "status": self.random.choice(STATUSES)} | row
        if kind == "hashed":  # only its transaction names it: the terms are of another time
            await self.send(loan, row["loan_id"])
            row |= self.random.choice(({}, {"user_wallet": f" {loan.borrower.lower()}"}, {"vendor_id": None}))
            if not row["loan_id"].strip().isdecimal():
                row["created_at"] = loan.created_at - timedelta(days=3)
        else:
            row |= self.money(loan) | await self.party(loan)
        await self.insert(loan, **row)

    def odd_id(self, loan: Loan) -> dict[str, Any]:
        """An id that is of no loan, whatever it looks like."""
        digits = self.random.randrange(10**6)
        return {
            "loan_id": self.random.choice(
                (
                    f"1700000{digits:06}",
                    f"999999999999{digits:08}",
                    f"draft-{digits}",
                    f" {loan.number} {digits}",
                    f"00{loan.number}.{digits}",
                )
            )
        }

    def money(self, loan: Loan) -> dict[str, Any]:
        def cents(value: Decimal, rounding: str, scale: int = 1) -> Decimal:
            return value.quantize(CENT, rounding) * scale

        unit, choice = Decimal("0.0000001"), self.random.randrange(5)
        amounts = (loan.amount, loan.guarantee)
        amount, guarantee = (
            amounts,
            (cents(amounts[0], ROUND_CEILING), cents(amounts[1], ROUND_CEILING)),
            (cents(amounts[0], ROUND_HALF_UP, 100), cents(amounts[1], ROUND_HALF_UP, 100)),
            (amounts[0] + unit, cents(amounts[1], ROUND_CEILING)),
            (amounts[0] * 10**7, amounts[1] * 10**7),
        )[choice]
        return {"amount": amount, "guarantee": guarantee}

    async def party(self, loan: Loan) -> dict[str, Any]:
        """Another way to write the wallet, or a vendor whose wallet says nothing."""
        vendor, choice = uuid.UUID(bytes=self.random.randbytes(16)), self.random.randrange(5)
        if choice < 2:
            await self.world.app.execute(
                "INSERT INTO vendors (id, name, type, wallet_address) VALUES ($1, 'v', 'books', $2)",
                vendor,
                (f"n/a {vendor}", f"0x{vendor.hex}")[choice],
            )
            return {"vendor_id": vendor}
        return ({}, {"user_wallet": f'"{loan.borrower}"'}, {"user_wallet": f"{loan.borrower.lower()}\u200b"})[
            choice - 2
        ]

    async def step(self) -> None:
        """A loan that a row was written for is never inserted, and a row is linked to its loan, or to one of the same terms."""
        await self.go_on()
        before = await self.rows()
        report = await self.command()
        after = await self.rows()
        assert before.keys() <= after.keys()
        numbers = {str(loan.number) for loan in self.world.loans}
        terms = {loan.number: loan.terms for loan in self.world.loans}
        waiting = {
            self.meant[row]
            for row, (loan_id, status) in before.items()
            if loan_id not in numbers and status not in NO_CLAIM
        }
        for row_id, (loan_id, _) in after.items():
            if row_id not in before:
                self.done["inserted"] += 1
                assert int(loan_id) not in waiting, (loan_id, before, self.done)
                self.meant[row_id] = int(loan_id)
            elif loan_id != before[row_id][0] and loan_id in numbers:
                self.done["linked"] += 1
                meant = self.meant[row_id]
                assert meant is not None
                assert terms[meant] == terms[int(loan_id)], (row_id, before[row_id], loan_id)
        if report is not None:
            self.runs.append(str(report.run_id))


@pytest.fixture(scope="module", params=range(1))
async def world(
    request: pytest.FixtureRequest, postgres: stack.Databases, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    name = f"odd_{uuid.uuid4().hex}"
    url = await postgres.create_database(name)
    random = Random(f"odd {request.param}")  # noqa: S311 - draws tests, guards nothing
    path = rewritten(random, tmp_path_factory.mktemp("history") / "story.jsonl.gz")
    async with deployed(url, path) as world:
        yield world
    await postgres.drop_database(name)


async def test_no_loan_gets_a_second_row_whatever_its_row_is_like(world: World, tmp_path: Path) -> None:
    done: Counter[str] = Counter()
    for seed in range(SCENES):
        random = Random(f"{world.loans[0].terms}{seed}")  # noqa: S311 - draws tests, guards nothing
        scene = OddScene(world, random, tmp_path)
        await scene.fill()
        for _ in range(COMMANDS):
            await scene.step()
        done += scene.done
    assert done["linked"] > 0, done
    assert done["inserted"] > 0, done
