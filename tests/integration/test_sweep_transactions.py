"""Pending transactions on a real PostgreSQL, against nodes that play the recorded story."""

import uuid
from collections.abc import AsyncIterator

import pytest

from deploy.demo.app import envelopes, rows
from shared import pg_times
from shared.settings import Sweep
from sweeper import lock, plan, repair, runs, settling, sightings
from sweeper.journal import Journal
from sweeper.model import Answer, Both, Outcome
from sweeper.stepfi import transactions
from sweeper.stepfi.settlement import Rule
from tests.integration.stream_parts import database_settings
from tests.integration.transaction_parts import PENDING, App, asking, node, opened, rules, truth


@pytest.fixture
async def app(database: str) -> AsyncIterator[App]:
    async with opened(database) as app:
        yield app


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


async def test_the_second_look_brings_its_own_time(app: App) -> None:
    await app.inject("pending_though_succeeded")
    async with node() as net, asking(net) as client:
        context = await app.context(client)
        (first,) = await app.survey(context)
        assert first.update["updated_at"] == context.now
        context.begin_look()
        (second,) = await app.subject.look_again(context, [first])
    assert second.update == {**first.update, "updated_at": context.now}
    assert second.update != first.update


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


class TestRetryByFeeBump:
    """The row stores the hash of the outer transaction, which nobody has; its envelope is the inner one."""

    async def retried(self, app: App) -> tuple[str, str]:
        """The row, and the hash of what was included."""
        due = (await app.inject("pending_though_succeeded"))["pending_though_succeeded"]
        row_id, inner = str(due.row_id), str(due.entity).removeprefix("transaction:")
        await app.connection.execute(
            "UPDATE transactions SET transaction_hash = $2, hash = NULL WHERE id = $1", row_id, "ab" * 32
        )
        return row_id, inner

    async def test_the_first_submission_was_included(self, app: App) -> None:
        row_id, inner = await self.retried(app)
        async with node() as net, asking(net) as client:
            context = await app.context(client)
            [finding] = await app.survey(context)
            [again] = await app.subject.look_again(context, [finding])
        assert again == finding
        assert (finding.row_id, finding.entity) == (row_id, f"transaction:{'ab' * 32}")
        assert (finding.answer, finding.update["status"]) == (Answer.CONFIRMED, "success")
        assert (finding.evidence["hash"], finding.evidence["hashes"]) == (inner, ["ab" * 32, inner])
        assert finding.guard["xdr"] == (await app.row(row_id))["xdr"]

    @pytest.mark.parametrize(
        ("changed", "outcome"), [(None, Outcome.REPAIRED), ("xdr || ' '", Outcome.SKIPPED_CHANGED)]
    )
    async def test_it_is_written_where_its_envelope_is_still_the_same(
        self, app: App, changed: str | None, outcome: Outcome
    ) -> None:
        row_id, _ = await self.retried(app)
        async with node() as net, asking(net) as client:
            context = await app.context(client)
            findings = await app.survey(context)
        if changed is not None:
            await app.connection.execute(f"UPDATE transactions SET xdr = {changed} WHERE id = $1", row_id)
        async with lock.alone(database_settings(app.url)) as held:
            run_id = uuid.uuid4()
            await runs.begin(held, run_id=run_id, mode="repair", extent="full", started_at=context.now)
            context.lock = held
            [done] = await repair.repair(context, findings, journal=Journal(app.engine, run_id))
        assert done.outcome is outcome
        assert ((await app.row(row_id))["status"] == "success") is (outcome is Outcome.REPAIRED)

    async def test_its_event_is_enough(self, app: App) -> None:
        _, inner = await self.retried(app)
        await app.store_events(inner)
        async with node() as net, asking(net) as client:
            context = await app.context(client)
            context.chain_was_asked = False
            [finding] = await app.survey(context)
        assert finding.evidence["rule"] == Rule.EVENT
        assert finding.update["status"] == "success"

    async def test_what_another_row_stands_for_settles_this_one_not(self, app: App) -> None:
        row_id, inner = await self.retried(app)
        other = await app.add(transaction_hash=inner, status="success")
        async with node() as net, asking(net) as client:
            [finding] = await app.survey(await app.context(client))
        assert (finding.row_id, finding.outcome, finding.update) == (row_id, Outcome.UNKNOWN, {})
        assert rules([finding]) == [Rule.FOREIGN_ENVELOPE]
        assert other != row_id

    async def test_another_envelope_is_another_question(self, app: App) -> None:
        row_id, _ = await self.retried(app)
        async with node() as net, asking(net) as client:
            context = await app.context(client)
            findings = await app.survey(context)
            await app.connection.execute("UPDATE transactions SET xdr = '' WHERE id = $1", row_id)
            [again] = await app.subject.look_again(context, findings)
        assert not again.can_be_written
        assert settling.signature(again) != settling.signature(findings[0])


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
            finding, other = sorted(await app.subject.look_again(context, findings), key=lambda one: one.row_id != bad)
            assert net.requests["getTransaction"] == asked
        assert (other.row_id, other.entity, other.can_be_written) == (old, f"transaction:{'cd' * 32}", False)
        row = await app.row(bad)
        assert finding.row_id == bad
        assert (finding.guard["error"], finding.guard["updated_at"]) == ("late", row["updated_at"])
        assert finding.columns["error"].app == "late"
        assert finding.update["status"] == "failed"

    @pytest.mark.parametrize(
        ("changed", "name"),
        [
            (f"hash = '{'cd' * 32}'", "pending_though_failed"),
            ("hash = 'soon'", "pending_though_failed"),
            ("submitted_at = submitted_at + interval '1 second'", "pending_expired"),
            (f"hash = '{'cd' * 32}'", "pending_with_another_hash"),
        ],
    )
    async def test_a_verdict_is_of_what_was_asked_and_of_nothing_that_came_since(
        self, app: App, changed: str, name: str
    ) -> None:
        """A second hash that is filled in while the run waits was never asked about: the row is in motion, and not written."""
        if name == "pending_with_another_hash":
            row_id = await app.add(transaction_hash="ab" * 32)
        else:
            row_id = str((await app.inject(name))[name].row_id)
        async with node() as net, asking(net) as client:
            context = await app.context(client)
            findings = await app.survey(context)
            first = await sightings.note(app.engine, findings)
            await app.connection.execute(f"UPDATE transactions SET {changed} WHERE id = $1", row_id)
            again = await app.subject.look_again(context, findings)
            second = await sightings.note(app.engine, again)
        assert [(one.row_id, one.can_be_written, one.guard) for one in again] == [(row_id, False, {})]
        counted = settling.settled(first, second, again, ahead=set())
        assert (list(counted.findings), counted.in_motion) == ([], 1)

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


async def test_a_time_beyond_all_others_is_pending_for_ever_and_ends_nothing(app: App) -> None:
    ids = [await app.add(submitted_at=time) for time in (pg_times.LAST, pg_times.FIRST)]
    await app.connection.execute("UPDATE transactions SET submitted_at = 'infinity' WHERE id = $1", ids[0])
    await app.connection.execute("UPDATE transactions SET submitted_at = '-infinity' WHERE id = $1", ids[1])
    async with node() as net, asking(net) as client:
        findings = await app.survey(await app.context(client))
    assert {finding.row_id for finding in findings} <= set(ids)
    assert all(finding.update == {} for finding in findings)
