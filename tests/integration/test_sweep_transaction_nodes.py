"""Pending transactions and the nodes that are asked about them: what is proven, by whom, and what is not."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator

import pytest

from deploy.demo.app import rows
from deploy.localnet import faults
from sweeper import app_access
from sweeper.model import Answer
from sweeper.stepfi import row_verdicts, transaction_rows
from sweeper.stepfi.inquiry import Inquiry
from sweeper.stepfi.settlement import Rule
from tests import stepfi_frames
from tests.integration.transaction_parts import (
    BEFORE_THE_END,
    ENOUGH,
    PENDING,
    STORY,
    TOO_LITTLE,
    App,
    asking,
    node,
    opened,
    rules,
    truth,
)


@pytest.fixture
async def app(database: str) -> AsyncIterator[App]:
    async with opened(database) as app:
        yield app


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


class TestEveryNodeIsAsked:
    """A NOT_FOUND of one node is no proof: its transactions may have a hole."""

    async def test_a_node_that_has_it_outweighs_one_whose_history_has_a_hole(
        self, app: App, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The transaction was included in the last second of its time; the first node lost it."""
        await app.inject("pending_expired")
        included = next(
            str(row["transaction_hash"])
            for row in rows.build(truth())["transactions"].values()
            if row["status"] == "success" and row["transaction_hash"]
        )
        async with node() as holed, node() as whole, asking(holed, whole) as client:
            number = whole.recording.number_of(bytes.fromhex(included))
            monkeypatch.setattr(whole.recording, "number_of", lambda _: number)
            [finding] = await app.survey(await app.context(client))
        assert (finding.answer, *rules([finding])) == (Answer.CONFIRMED, Rule.FOUND)
        assert (finding.update["status"], finding.evidence["node"]) == ("success", whole.url)

    async def test_all_that_reach_back_are_asked_twice_and_no_more(self, app: App) -> None:
        await app.inject("pending_expired")
        async with node() as one, node() as two, node(retention=TOO_LITTLE) as short, asking(one, two, short) as client:
            [finding] = await app.survey(await app.context(client))
            asked = [net.requests["getTransaction"] for net in (one, two, short)]
        assert (finding.answer, *rules([finding])) == (Answer.ABSENT, Rule.EXPIRED)
        assert asked == [2, 2, 1]
        assert len(finding.evidence["nodes"]) == 3

    async def test_one_that_does_not_answer_makes_it_unknown(self, app: App) -> None:
        await app.inject("pending_expired")
        async with node() as one, node() as dead, asking(one, dead) as client:
            dead.fault = lambda _: faults.unavailable()
            [finding] = await app.survey(await app.context(client))
            assert (finding.answer, *rules([finding])) == (Answer.UNKNOWN, Rule.SILENT)
            assert finding.evidence["silent_nodes"] == [dead.url]
            assert finding.update == {}
            dead.fault = None
            await asyncio.sleep(0.5)
            [finding] = await app.survey(await app.context(client))
        assert finding.answer is Answer.ABSENT

    async def test_one_that_is_known_to_be_too_short_is_not_waited_for(self, app: App) -> None:
        await app.inject("pending_expired", "pending_though_failed")
        async with node() as one, node(retention=TOO_LITTLE) as short, asking(one, short) as client:
            inquiry = Inquiry(client, chain_time=0)
            context = await app.context(client)
            async with app_access.transaction(app.engine) as connection:
                rows_ = await transaction_rows.unfinished(
                    connection, context.tables["transactions"], after=None, limit=10, canary=str(uuid.UUID(int=0))
                )
            said = [transaction_rows.reading(row, passphrase=context.passphrase) for row in rows_]
            said = [one for one in said if one.hashes]
            first = await inquiry.about(said, {})
            short.fault = lambda _: faults.unavailable()
            second = await inquiry.about(said, {})
        verdicts = [
            [
                row_verdicts.decide(row, told, chain_time=inquiry.chain_time).rule
                for row, told in zip(said, of, strict=True)
            ]
            for of in (first, second)
        ]
        assert Rule.EXPIRED in verdicts[0]
        assert verdicts[0] == verdicts[1]


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
