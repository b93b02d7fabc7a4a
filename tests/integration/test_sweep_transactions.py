"""Pending transactions on a real PostgreSQL, against nodes that play the recorded story."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, cast

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from deploy import localnet
from deploy.demo.app import chain, chain_truth, drift, envelopes, rows, scene, schema
from deploy.localnet import faults
from migrations import runner
from shared import database, rpc
from shared.coverage_store import Watermark
from shared.settings import Database, Sweep
from streams import fact_partitions
from sweeper import app_access, app_schema, lock, plan, repair, runs
from sweeper.context import Context
from sweeper.journal import Journal
from sweeper.model import Answer, Both, Finding, Outcome
from sweeper.stepfi import transactions
from sweeper.stepfi.settlement import Rule
from sweeper.stepfi.transactions import Transactions
from tests import stepfi_frames
from tests.integration.stream_parts import database_settings

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


@pytest.fixture
async def app(database: str) -> AsyncIterator[App]:
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


async def test_every_injection_is_found_with_its_outcome_and_nothing_else(app: App) -> None:
    planned = await app.inject(*PENDING)
    async with node() as net, asking(net) as client:
        context = await app.context(client)
        findings = await app.survey(context)
    found = {finding.row_id: finding for finding in findings}
    assert len(found) == len(findings)
    assert set(found) == {due.row_id for due in planned.values()}
    for due in planned.values():
        finding = found[due.row_id]
        assert (finding.drift_class, finding.entity) == (due.drift_class, due.entity)
        assert (finding.outcome is Outcome.UNKNOWN) is (due.outcome == "unknown")
        assert set(finding.columns) >= (due.columns or set())
        if due.outcome == "unknown":
            assert (finding.answer, finding.update, finding.columns) == (Answer.UNKNOWN, {}, {})
            assert "needed: " in finding.words
    assert found[planned["pending_expired"].row_id].answer is Answer.ABSENT
    compared = context.compared["transactions"]
    assert compared.app_rows == await app.connection.fetchval("SELECT count(*) FROM transactions")
    assert compared.expected_rows == sum(due.outcome == "repaired" for due in planned.values())
    assert context.chain_was_asked


async def test_what_a_repair_writes_is_the_chain_s_and_nothing_more(app: App) -> None:
    true = rows.build(truth())["transactions"]
    planned = await app.inject(*PENDING)
    before = {due.row_id: await app.row(str(due.row_id)) for due in planned.values()}
    async with node() as net, asking(net) as client:
        context = await app.context(client)
        again = await app.subject.look_again(context, await app.survey(context))
        made = plan.make(await app.subject.confirm(context, again), settings=Sweep(), compared=context.compared)
        assert made.refused == ()
        run_id = uuid.uuid4()
        async with lock.alone(database_settings(app.url)) as held:
            await runs.begin(held, run_id=run_id, mode="repair", extent="full", started_at=context.now)
            context.lock = held
            done = await repair.repair(context, made.to_write, journal=Journal(app.engine, run_id))
        left = await app.survey(await app.context(client))
    assert {finding.row_id for finding in done} == {due.row_id for due in planned.values() if due.outcome == "repaired"}
    assert {finding.outcome for finding in done} == {Outcome.REPAIRED}
    assert {finding.outcome for finding in left} == {Outcome.UNKNOWN}
    for name, due in planned.items():
        after = await app.row(str(due.row_id))
        owned = {"status", "completed_at", "error", "updated_at"} if due.outcome == "repaired" else set()
        assert {column for column in after if after[column] != before[due.row_id][column]} <= owned
        if due.outcome != "repaired":
            continue
        assert after["updated_at"] == context.now
        if name == "pending_expired":
            ended = before[due.row_id]["submitted_at"] + envelopes.LIFETIME
            assert (after["status"], after["completed_at"]) == ("failed", ended)
            assert after["error"] == f"expired: not included by {ended:%Y-%m-%d %H:%M:%S} UTC"
        else:
            wanted = true[str(due.row_id)]
            assert (after["status"], after["completed_at"]) == (wanted["status"], wanted["completed_at"])
            assert (after["error"] is None) is (after["status"] == "success")
    failed = await app.row(str(planned["pending_though_failed"].row_id))
    assert failed["error"].startswith("failed on chain in ledger ")
    assert failed["error"].endswith(": txFAILED, INVOKE_HOST_FUNCTION_TRAPPED")


async def test_without_pending_rows_nothing_is_asked_and_nothing_is_wrong(app: App) -> None:
    async with node() as net, asking(net) as client:
        context = await app.context(client)
        assert await app.survey(context) == []
        assert net.requests["getTransaction"] == 0
    assert context.chain_was_asked
    assert context.compared["transactions"].expected_rows == 0


async def test_an_error_that_a_success_contradicts_is_taken_away(app: App) -> None:
    due = (await app.inject("pending_though_succeeded"))["pending_though_succeeded"]
    await app.connection.execute("UPDATE transactions SET error = 'timeout' WHERE id = $1", due.row_id)
    async with node() as net, asking(net) as client:
        [finding] = await app.survey(await app.context(client))
    assert finding.columns["error"] == Both("timeout", None)
    assert (finding.update["error"], finding.guard["error"]) == (None, "timeout")


async def test_no_stored_hash_leaves_the_envelope_s_own(app: App) -> None:
    await app.inject("pending_though_succeeded", "pending_expired")
    await app.connection.execute(
        "UPDATE transactions SET transaction_hash = NULL, hash = NULL WHERE status = 'pending'"
    )
    async with node() as net, asking(net) as client:
        findings = await app.survey(await app.context(client))
    """That it succeeded can be seen; that it never will cannot: another may have been submitted."""
    lost, good = sorted(findings, key=lambda finding: len(finding.update))
    assert (lost.outcome, lost.update, *rules([lost])) == (Outcome.UNKNOWN, {}, Rule.NOT_STORED)
    assert good.update["status"] == "success"
    assert (good.guard["transaction_hash"], good.guard["hash"]) == (None, None)
    for finding in findings:
        assert finding.entity == f"transaction:{finding.evidence['envelope_hash']}"


async def test_upper_case_and_a_hash_that_is_none(app: App) -> None:
    due = (await app.inject("pending_though_succeeded"))["pending_though_succeeded"]
    await app.connection.execute(
        "UPDATE transactions SET transaction_hash = upper(transaction_hash) WHERE id = $1", due.row_id
    )
    nothing = await app.add(transaction_hash="0xsoon")
    empty = await app.add(transaction_hash=" ", xdr="x" * 400_000)
    async with node() as net, asking(net) as client:
        findings = {finding.row_id: finding for finding in await app.survey(await app.context(client))}
    assert findings[str(due.row_id)].entity == due.entity
    assert findings[str(due.row_id)].update["status"] == "success"
    assert (findings[nothing].entity, *rules([findings[nothing]])) == (None, Rule.NO_HASH)
    assert (findings[empty].entity, *rules([findings[empty]])) == (None, Rule.NOTHING_TO_ASK)


class TestSchemas:
    @pytest.mark.parametrize("missing", ["hash", "transaction_hash"])
    async def test_either_hash_column_may_be_missing(self, app: App, missing: str) -> None:
        due = (await app.inject("pending_though_succeeded"))["pending_though_succeeded"]
        kept = "transaction_hash" if missing == "hash" else "hash"
        if missing == "transaction_hash":
            await app.connection.execute("UPDATE transactions SET hash = transaction_hash")
        await app.connection.execute(f"ALTER TABLE transactions DROP COLUMN {missing}")
        async with node() as net, asking(net) as client:
            [finding] = await app.survey(await app.context(client))
        assert (finding.entity, finding.update["status"]) == (due.entity, "success")
        assert kept in finding.guard
        assert missing not in finding.guard

    async def test_only_what_is_required(self, app: App) -> None:
        await app.inject("pending_though_failed")
        for column in ("hash", "transaction_hash", "error", "completed_at", "updated_at"):
            await app.connection.execute(f"ALTER TABLE transactions DROP COLUMN {column}")
        async with node() as net, asking(net) as client:
            findings = await app.survey(await app.context(client))
        assert [dict(finding.update) for finding in findings] == [{"status": "failed"}]
        assert [tuple(finding.guard) for finding in findings] == [("status", "submitted_at")]


class TestDuplicates:
    async def test_rows_of_one_hash_are_reported_and_none_is_chosen(self, app: App) -> None:
        due = (await app.inject("pending_though_succeeded"))["pending_though_succeeded"]
        tx_hash = str(due.entity).removeprefix("transaction:")
        finished = await app.add(hash=tx_hash.upper(), status="success")
        async with node() as net, asking(net) as client:
            context = await app.context(client)
            found = await app.survey(context)
            again = await app.subject.look_again(context, found)
            finding, other = found
            assert (finding.row_id, other.row_id) == (str(due.row_id), finished)
            assert (finding.columns["status"], other.columns) == (Both("pending", "success"), {})
            for one in found:
                assert one.drift_class == "duplicate_row"
                assert one.evidence["rows"] == sorted([str(due.row_id), finished])
                assert not one.can_be_written
            assert sorted(again, key=found.index) == found
            decided = plan.make(again, settings=Sweep(), compared=context.compared).findings
            assert {one.outcome for one in decided} == {Outcome.REPORTED}
            await app.connection.execute("UPDATE transactions SET hash = NULL WHERE id = $1", finished)
            assert await app.subject.look_again(context, found) == []

    async def test_of_an_unknown_outcome_they_are_reported_all_the_same(self, app: App) -> None:
        tx_hash = "ab" * 32
        ids = sorted([await app.add(hash=tx_hash), await app.add(transaction_hash=tx_hash)])
        async with node() as net, asking(net) as client:
            context = await app.context(client)
            findings = await app.survey(context)
        assert [finding.row_id for finding in findings] == ids
        decided = plan.make(findings, settings=Sweep(), compared=context.compared).findings
        assert {finding.outcome for finding in decided} == {Outcome.REPORTED}

    async def test_finished_rows_of_one_hash_are_found_whatever_their_column_and_nobody_is_asked(
        self, app: App
    ) -> None:
        """And a row without a hash is one of them when its envelope's is theirs."""
        await app.connection.execute("DROP INDEX transactions_hash_unique, transactions_transaction_hash_unique")
        one, other, none = "ab" * 32, "cd" * 32, "not a hash"
        finished = {"status": "success"}
        both = [await app.add(hash=one, **finished), await app.add(transaction_hash=one.upper(), status="failed")]
        same = [await app.add(transaction_hash=other, **finished) for _ in range(3)]
        for _ in range(2):
            await app.add(transaction_hash=none, **finished)
            await app.add(transaction_hash="", **finished)
            await app.add(**finished)
        async with node() as net, asking(net) as client:
            context = await app.context(client)
            findings = await app.survey(context)
            assert net.requests["getTransaction"] == 0
            again = await app.subject.look_again(context, findings)
        assert {finding.row_id: finding.evidence["row_count"] for finding in findings} == {
            **dict.fromkeys(both, 2),
            **dict.fromkeys(same, 3),
        }
        assert {finding.drift_class for finding in findings} == {"duplicate_row"}
        assert len(again) == len(findings)

    async def test_a_row_without_a_hash_is_not_alone_when_its_envelope_s_is_another_row_s(self, app: App) -> None:
        due = (await app.inject("pending_though_succeeded"))["pending_though_succeeded"]
        row = await app.row(str(due.row_id))
        second = await app.add(xdr=row["xdr"])
        async with node() as net, asking(net) as client:
            findings = {finding.row_id: finding for finding in await app.survey(await app.context(client))}
        assert findings[second].drift_class == "duplicate_row"
        assert findings[second].evidence["rows"] == [str(due.row_id), second]
        assert not findings[second].can_be_written

    async def test_one_row_that_holds_its_hash_twice_is_no_duplicate(self, app: App) -> None:
        due = (await app.inject("pending_though_succeeded"))["pending_though_succeeded"]
        await app.connection.execute("UPDATE transactions SET hash = upper(transaction_hash) WHERE id = $1", due.row_id)
        async with node() as net, asking(net) as client:
            [finding] = await app.survey(await app.context(client))
        assert finding.drift_class == "orphaned_pending_transaction"


class TestUnknownWords:
    @pytest.mark.parametrize("word", ["confirmed", "PENDING", " pending", "", "x" * 5000])
    async def test_it_is_reported_with_what_the_chain_says_and_never_written(self, app: App, word: str) -> None:
        due = (await app.inject("pending_though_succeeded"))["pending_though_succeeded"]
        await app.connection.execute("UPDATE transactions SET status = $2 WHERE id = $1", due.row_id, word)
        unproven = await app.add(transaction_hash="ab" * 32, status=word)
        async with node() as net, asking(net) as client:
            context = await app.context(client)
            findings = await app.survey(context)
            again = await app.subject.look_again(context, findings)
        assert len(again) == len(findings) == 2
        found = {finding.row_id: finding for finding in again}
        assert found[str(due.row_id)].columns["status"] == Both(word, "success")
        assert found[unproven].columns["status"] == Both(word, None)
        for finding in plan.make(again, settings=Sweep(), compared=context.compared).findings:
            assert (finding.drift_class, finding.outcome, finding.update) == ("stale_status", Outcome.REPORTED, {})
            assert "knows pending, success and failed" in finding.words
            assert len(finding.words) < 500

    async def test_where_the_column_may_be_null_that_is_no_crash(self, app: App) -> None:
        await app.connection.execute("ALTER TABLE transactions ALTER status DROP NOT NULL, ALTER xdr DROP NOT NULL")
        row_id = await app.add(transaction_hash="ab" * 32, status=None, xdr=None)
        async with node() as net, asking(net) as client:
            [finding] = await app.survey(await app.context(client))
        assert (finding.row_id, finding.drift_class) == (row_id, "stale_status")
        assert "the app says nothing" in finding.words


class TestSecondLook:
    async def test_a_row_that_was_finished_meanwhile_is_dropped_and_another_is_guarded_anew(self, app: App) -> None:
        planned = await app.inject("pending_though_succeeded", "pending_though_failed", "pending_in_the_old_column")
        good, bad, old = (str(planned[name].row_id) for name in planned)
        async with node() as net, asking(net) as client:
            context = await app.context(client)
            findings = await app.survey(context)
            await app.connection.execute("UPDATE transactions SET status = 'success' WHERE id = $1", good)
            await app.connection.execute("UPDATE transactions SET hash = $2 WHERE id = $1", old, "cd" * 32)
            await app.connection.execute(
                "UPDATE transactions SET error = 'late', updated_at = now() WHERE id = $1", bad
            )
            asked = net.requests["getTransaction"]
            [finding] = await app.subject.look_again(context, findings)
            assert net.requests["getTransaction"] == asked
        row = await app.row(bad)
        assert finding.row_id == bad
        assert (finding.guard["error"], finding.guard["updated_at"]) == ("late", row["updated_at"])
        assert finding.columns["error"].app == "late"
        assert finding.update["status"] == "failed"

    async def test_nothing_is_looked_at_for_nothing(self, app: App) -> None:
        async with node() as net, asking(net) as client:
            assert await app.subject.look_again(await app.context(client), []) == []


async def test_many_rows_in_pages(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transactions, "PAGE_ROWS", 20)
    ids = {await app.add() for _ in range(60)}
    async with node() as net, asking(net) as client:
        context = await app.context(client)
        findings = await app.survey(context)
        assert {finding.row_id for finding in findings} == ids
        assert len(findings) == len(ids)
        assert {finding.row_id for finding in await app.subject.look_again(context, findings)} == ids


class TestNodes:
    async def test_a_node_whose_range_does_not_reach_back(self, app: App) -> None:
        await app.inject("pending_expired")
        async with node(retention=TOO_LITTLE) as short, asking(short) as client:
            [finding] = await app.survey(await app.context(client))
        assert (finding.answer, *rules([finding])) == (Answer.UNKNOWN, Rule.OUT_OF_REACH)
        assert finding.evidence["oldest_ledger"] == short.oldest_ledger

    async def test_the_next_node_reaches_back(self, app: App) -> None:
        await app.inject("pending_expired", "pending_though_failed")
        async with node(retention=TOO_LITTLE) as short, node(retention=None) as long, asking(short, long) as client:
            findings = await app.survey(await app.context(client))
        assert [finding.update["status"] for finding in findings] == ["failed", "failed"]
        assert {finding.evidence["node"] for finding in findings} == {long.url}

    async def test_just_enough_history(self, app: App) -> None:
        await app.inject("pending_expired")
        async with node(retention=ENOUGH) as net, asking(net) as client:
            [finding] = await app.survey(await app.context(client))
        assert (finding.answer, *rules([finding])) == (Answer.ABSENT, Rule.EXPIRED)
        assert net.requests["getTransaction"] == 2

    async def test_the_range_moves_on_between_the_two_answers(self, app: App) -> None:
        await app.inject("pending_expired")
        moving: set[asyncio.Task[None]] = set()
        async with node(retention=ENOUGH) as net, asking(net) as client:

            def hook(method: str) -> faults.Fault | None:
                if method != "getTransaction" or net.requests[method] < 2 or moving:
                    return None
                moving.add(asyncio.create_task(net.advance_to(net.latest_ledger + ENOUGH - TOO_LITTLE)))
                return faults.slow(0.2)  # time for the ledgers to close

            net.fault = hook
            [finding] = await app.survey(await app.context(client))
        assert moving
        assert (finding.answer, *rules([finding])) == (Answer.UNKNOWN, Rule.TOLD_ONCE)

    async def test_a_lagging_node_proves_nothing(self, app: App) -> None:
        await app.inject("pending_expired")
        async with node(tip=truth().ledger - BEFORE_THE_END) as late, asking(late) as client:
            context = await app.context(client, closed_at=int(truth().closed_at.timestamp()))
            [finding] = await app.survey(context)
            assert (finding.answer, *rules([finding])) == (Answer.UNKNOWN, Rule.NOT_OVER_THERE)
            # As far as anybody knows the envelope may still be included: pending is the truth.
            assert await app.survey(await app.context(client)) == []
            await late.advance_to(truth().ledger)
            [finding] = await app.survey(await app.context(client))
            assert finding.answer is Answer.ABSENT

    async def test_the_second_answer_is_refused(self, app: App) -> None:
        await app.inject("pending_expired")
        async with node() as net, asking(net) as client:
            net.fault = lambda method: (
                faults.unavailable() if method == "getTransaction" and net.requests[method] > 1 else None
            )
            context = await app.context(client)
            [finding] = await app.survey(context)
        assert (finding.answer, *rules([finding])) == (Answer.UNKNOWN, Rule.TOLD_ONCE)
        assert "503" in finding.words
        assert context.chain_was_asked


class TestUnreachable:
    async def test_a_row_is_unknown_and_the_survey_says_that_it_could_not_ask(self, app: App) -> None:
        planned = await app.inject(*PENDING)
        async with node() as net, asking(net) as client:
            net.fault = lambda _: faults.unavailable()
            context = await app.context(client)
            findings = await app.survey(context)
        assert len(findings) == len(planned)
        assert {finding.answer for finding in findings} == {Answer.UNKNOWN}
        assert set(rules(findings)) == {Rule.NO_ANSWER}
        assert all(finding.evidence["troubles"] for finding in findings)
        assert not context.chain_was_asked
        assert context.compared["transactions"].expected_rows == 0

    async def test_nobody_is_asked_for_ever(self, app: App) -> None:
        for number in range(60):
            await app.add(transaction_hash=f"{number:064x}")
        async with node() as net, asking(net) as client:
            net.fault = lambda _: faults.unavailable()
            findings = await app.survey(await app.context(client))
            assert len(findings) == 60
            assert sum(net.requests.values()) < 60
        assert any("was not asked any more" in finding.words for finding in findings)

    async def test_a_stored_event_is_a_success_without_any_node(self, app: App) -> None:
        hashes = {event.tx_hash for event in stepfi_frames.History(STORY).events()}
        row_id, row = next(
            (row_id, row)
            for row_id, row in rows.build(truth())["transactions"].items()
            if row["status"] == "success" and row["transaction_hash"] in hashes
        )
        await app.store_events(str(row["transaction_hash"]))
        await app.connection.execute(
            "UPDATE transactions SET status = 'pending', completed_at = NULL WHERE id = $1", row_id
        )
        async with node() as net, asking(net) as client:
            net.fault = lambda _: faults.unavailable()
            [finding] = await app.survey(await app.context(client))
        assert (finding.answer, *rules([finding])) == (Answer.CONFIRMED, Rule.EVENT)
        assert (finding.update["status"], finding.update["completed_at"]) == ("success", row["completed_at"])
        assert finding.evidence["ledger"] == json.loads(str(row["result"]))["ledger"]

    async def test_an_event_of_fees_is_no_success(self, app: App) -> None:
        tx_hash = "ef" * 32
        await app.add(transaction_hash=tx_hash)
        for order, operation in ((0, 0), (5, 4095), ((1 << 20) - 1, 0)):
            at = f"{truth().ledger << 32 | order << 12 | operation:019d}-{0:010d}"
            await app.connection.execute(
                "INSERT INTO chain.facts (key, position, kind, tx_hash, body) VALUES ('fee', $1, 'fee', $2, '{}')",
                at, tx_hash,
            )  # fmt: skip
        async with node() as net, asking(net) as client:
            [finding] = await app.survey(await app.context(client))
        assert rules([finding]) == [Rule.FOREIGN_ENVELOPE]
