"""Spot checks: rounds on a real PostgreSQL, and StepFi's tables held against a node that plays the recorded story."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from deploy import localnet
from migrations import runner as migrations
from shared import database as databases
from shared import frames, position, rpc
from shared.coverage_store import Watermark
from shared.settings import Sweep
from shared.stepfi.settings import Stepfi
from streams.apply import Applier, Record
from sweeper import lock, spot_checks
from sweeper.comparison import KeyRange
from sweeper.context import Context
from sweeper.contradiction import Verdict
from sweeper.model import Answer, Finding
from sweeper.questions import Held
from sweeper.spot_checks import Checked, SpotChecked
from sweeper.stepfi.subjects import subjects
from tests.integration import stream_parts as parts
from tests.stepfi_frames import History

STORY = "story-real.jsonl.gz"
PATH = Path(__file__).parents[1] / "vectors" / STORY
LATER = 10


@pytest.fixture
async def engine(database: str) -> AsyncIterator[AsyncEngine]:
    async with databases.connect(parts.database_settings(database), section="database") as engine:
        await migrations.upgrade(engine)
        yield engine


@pytest.fixture(scope="module")
def story() -> History:
    return History(STORY)


def context(engine: AsyncEngine, client: rpc.Client | None = None, *, watermark: int = 100) -> Context:
    return Context(
        chain=engine,
        app=engine,
        rpc=cast("rpc.Client", client),
        passphrase="",
        scope="stepfi",
        settings=Sweep(),
        lock=cast("lock.Alone", None),
        watermark=Watermark(watermark, None),
    )


@dataclass
class Loans:
    """A subject whose chain confirms all, but what is `silent`."""

    table: str = "loans"
    expected_table: str = "chain.loans"
    spot_whole: bool = False
    silent: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    def key_range(self) -> KeyRange:
        return KeyRange.of_prefix("loan:C:")

    async def spot_check(self, context: Context, keys: Sequence[str]) -> list[Checked]:
        self.asked = [key.removeprefix("loan:C:") for key in keys]
        held = Held(key="k", xdr="x", last_modified=1, live_until=9, ledger=context.watermark.ledger, node="n")
        return [
            Checked.of(key, None if key in self.silent else held, Verdict(Answer.CONFIRMED, "it does")) for key in keys
        ]

    async def look_at(self, context: Context, keys: Sequence[str]) -> list[Finding]:
        raise AssertionError((context, keys))


async def add(engine: AsyncEngine, *numbers: int, contract: str = "C") -> None:
    statement = text(
        "INSERT INTO chain.loans (key, position, contract, loan_id) VALUES (:key, :at, :contract, :number)"
    )
    async with engine.begin() as connection:
        for number in numbers:
            key = f"loan:{contract}:{number}"
            values = {"key": key, "at": position.end_of(1), "contract": contract, "number": number}
            await connection.execute(statement, values)


class TestRounds:
    async def test_each_run_goes_on_where_the_one_before_stopped(self, engine: AsyncEngine) -> None:
        await add(engine, 1, 2, 3, 4, 5)
        await add(engine, 9, contract="D")
        subject, told = Loans(), []
        for _ in range(4):
            spots = await spot_checks.check(context(engine), subject, limit=2)
            told.append((subject.asked, spots.coverage.round, spots.coverage.checked, spots.coverage.of))
        assert told == [(["1", "2"], 1, 2, 5), (["3", "4"], 1, 4, 5), (["5"], 1, 5, 5), (["1", "2"], 2, 2, 5)]
        assert spots.coverage.last_round_ended_at is not None
        assert spots.coverage.last_round_ended_at < spots.coverage.round_started_at
        assert spots.answers == {Answer.CONFIRMED: 2}

    async def test_what_was_found_is_asked_about_anyway(self, engine: AsyncEngine) -> None:
        await add(engine, 1, 2, 3)
        found = [
            Finding(drift_class="stale_status", table=table, row_id="r", entity=f"loan:{number}", words="")
            for table, number in (("loans", 2), ("vendors", 3))
        ]
        subject = Loans()
        spots = await spot_checks.check(context(engine), subject, limit=10, findings=found)
        assert (subject.asked, spots.coverage.checked) == (["1", "3"], 3)

    async def test_what_nobody_answered_is_asked_again(self, engine: AsyncEngine) -> None:
        await add(engine, 1, 2, 3)
        subject = Loans(silent={"loan:C:2"})
        spots = await spot_checks.check(context(engine), subject, limit=10)
        assert (spots.coverage.checked, spots.coverage.last_round_ended_at) == (1, None)
        subject.silent.clear()
        spots = await spot_checks.check(context(engine), subject, limit=10)
        assert (subject.asked, spots.coverage.checked, spots.coverage.round) == (["2", "3"], 3, 1)

    async def test_an_empty_table(self, engine: AsyncEngine) -> None:
        for _ in range(2):
            spots = await spot_checks.check(context(engine), Loans(), limit=10)
            assert (spots.checked, spots.coverage.of, spots.coverage.round) == ([], 0, 1)


@pytest.fixture
async def filled(engine: AsyncEngine, story: History) -> AsyncEngine:
    """Our tables, as the stream would have filled them."""
    origin = story.origin()
    page = story.page(story.events(), after=origin.through, through=position.end_of(story.last))
    batch: list[frames.Frame] = [origin, page, story.observation(story.last)]
    applier = Applier(engine=engine, applications=[story.application], network=story.network)
    await applier.apply(0, [Record(offset, frames.encode(frame)) for offset, frame in enumerate(batch)])
    return engine


def stepfi(story: History) -> dict[str, SpotChecked]:
    contracts = story.header["contracts"]
    settings = Stepfi(
        creditline=contracts["creditline"],
        liquidity_pool=contracts["pool"],
        reputation=contracts["reputation"],
        vendor_registry=contracts["vendors"],
    )
    return {subject.table: subject for subject in subjects(settings) if isinstance(subject, SpotChecked)}


@asynccontextmanager
async def asking(story: History, **settings: Any) -> AsyncIterator[tuple[localnet.Localnet, rpc.Client]]:
    tip = story.last + LATER
    async with localnet.serve(history=PATH, retention=None, **settings) as net:
        await net.advance_to(max(tip, net.latest_ledger))
        async with rpc.Client(
            urls=[net.url], passphrase=story.network, requests_per_second=1000, max_attempts=1
        ) as client:
            yield net, client


class TestStepfi:
    async def test_tables_that_are_right_are_confirmed_in_one_question_each(
        self, filled: AsyncEngine, story: History
    ) -> None:
        checked = stepfi(story)
        assert checked.keys() == {"vendors", "loans", "reputation_cache", "liquidity_positions"}
        async with asking(story) as (net, client):
            around = context(filled, client, watermark=net.latest_ledger)
            for subject in checked.values():
                before = net.requests["getLedgerEntries"]
                spots = await spot_checks.check(around, subject, limit=200)
                assert spots.coverage.checked == spots.coverage.of > 0
                assert spots.answers == {Answer.CONFIRMED: spots.coverage.of}, spots.notes
                assert net.requests["getLedgerEntries"] - before == 1

    @pytest.mark.parametrize(
        ("table", "change"),
        [
            ("loans", "chain.loans SET status = 'Cancelled'"),
            ("loans", "chain.loans SET guarantee_amount = guarantee_amount + 1"),
            ("vendors", "chain.vendors SET status = 'Rejected'"),
            ("reputation_cache", "chain.scores SET score = score + 1"),
            ("liquidity_positions", "chain.liquidity_positions SET shares = shares + 1"),
        ],
    )
    async def test_one_entity_that_our_tables_have_wrong_is_contradicted(
        self, filled: AsyncEngine, story: History, table: str, change: str
    ) -> None:
        relation = change.partition(" ")[0]
        async with filled.begin() as connection:
            key = (await connection.execute(text(f"SELECT max(key) FROM {relation}"))).scalar_one()
            await connection.execute(text(f"UPDATE {change} WHERE key = :key"), {"key": key})
        async with asking(story) as (net, client):
            around = context(filled, client, watermark=net.latest_ledger)
            spots = await spot_checks.check(around, stepfi(story)[table], limit=200)
            behind = context(filled, client, watermark=story.start)
            unsure = await stepfi(story)[table].spot_check(behind, [key])
        wrong = [one for one in spots.checked if one.answer is not Answer.CONFIRMED]
        assert [(one.key, one.answer, one.contradicts is None) for one in wrong] == [(key, Answer.UNKNOWN, False)]
        assert wrong[0].contradicts is not None
        assert wrong[0].contradicts.entry().xdr is not None
        assert [(one.answer, one.contradicts) for one in unsure] == [(Answer.UNKNOWN, None)]

    async def test_a_position_is_confirmed_by_the_shares_that_it_was_compared_with(
        self, filled: AsyncEngine, story: History
    ) -> None:
        subject: Any = stepfi(story)["liquidity_positions"]
        query = "SELECT key, shares FROM chain.liquidity_positions WHERE shares > 0 ORDER BY key LIMIT 1"
        async with filled.connect() as connection:
            key, shares = (await connection.execute(text(query))).one()
        plain = Finding(drift_class="stale_value", table=subject.table, row_id="r", entity="p", words="")
        same = replace(plain, chain_key=key, evidence={"shares": shares})
        moved = replace(same, row_id="s", evidence={"shares": shares - 1})
        async with asking(story) as (net, client):
            around = context(filled, client, watermark=net.latest_ledger)
            told = await subject.confirm(around, [same, moved, plain])
            async with filled.begin() as connection:
                await connection.execute(text("UPDATE chain.liquidity_positions SET shares = shares - 1"))
            (wrong,) = await subject.confirm(around, [same])
        assert [one.answer for one in told] == [Answer.CONFIRMED, Answer.UNKNOWN, None]
        assert told[0].evidence["asked_at_ledger"] == net.latest_ledger
        assert told[1].evidence["chain"] == "the position has moved on since it was compared"
        assert (wrong.answer, wrong.contradicted_by is None) == (Answer.UNKNOWN, False)

    async def test_a_user_whom_only_the_chain_s_map_knows_is_contradicted(
        self, filled: AsyncEngine, story: History
    ) -> None:
        subject = stepfi(story)["reputation_cache"]
        async with filled.begin() as connection:
            statement = (
                "DELETE FROM chain.scores WHERE key = (SELECT max(key) FROM chain.scores WHERE score > 0) RETURNING key"
            )
            key = (await connection.execute(text(statement))).scalar_one()
        async with asking(story) as (net, client):
            around = context(filled, client, watermark=net.latest_ledger)
            (one,) = await subject.spot_check(around, [key])
        assert one.contradicts is not None

    async def test_a_loan_that_was_never_given_out_is_proven_absent(self, filled: AsyncEngine, story: History) -> None:
        contract = story.header["contracts"]["creditline"]
        await add(filled, 4711, contract=contract)
        async with asking(story) as (net, client):
            around = context(filled, client, watermark=net.latest_ledger)
            spots = await spot_checks.check(around, stepfi(story)["loans"], limit=200)
            assert net.requests["getLedgerEntries"] == 3  # the absent one twice, and the counter
        assert spots.answers == {Answer.CONFIRMED: spots.coverage.of - 1, Answer.ABSENT: 1}
        (note,) = spots.notes
        assert note.startswith("loans: 1 spot check: the contract has given out loans 1 to ")

    async def test_a_node_that_is_behind_answers_nothing_and_the_round_waits(
        self, filled: AsyncEngine, story: History
    ) -> None:
        async with asking(story) as (net, client):
            around = context(filled, client, watermark=net.latest_ledger + 1)
            spots = await spot_checks.check(around, stepfi(story)["loans"], limit=200)
        assert spots.answers == {Answer.UNKNOWN: spots.coverage.of}
        assert (spots.coverage.checked, spots.coverage.last_round_ended_at) == (0, None)
        assert not around.chain_was_asked
