"""Rows of transactions that are not as they should be: other schemas, several for one transaction, words that are none."""

from collections.abc import AsyncIterator

import pytest

from shared.settings import Sweep
from sweeper import long_values, plan
from sweeper.model import Both, Outcome
from tests.integration.transaction_parts import App, asking, node, opened


@pytest.fixture
async def app(database: str) -> AsyncIterator[App]:
    async with opened(database) as app:
        yield app


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
        assert [tuple(finding.guard) for finding in findings] == [("status", "submitted_at", "xdr")]


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
            [alone] = await app.subject.look_again(context, found)
            assert (alone.row_id, alone.drift_class) == (str(due.row_id), "orphaned_pending_transaction")
            assert not alone.can_be_written

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
        shown = long_values.shortened(word)
        assert found[str(due.row_id)].columns["status"] == Both(shown, "success")
        assert found[unproven].columns["status"] == Both(shown, None)
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
