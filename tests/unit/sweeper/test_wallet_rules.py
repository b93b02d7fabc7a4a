"""The rules of the tables that are keyed by people and events, and what the chain says to their findings."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, ClassVar
from uuid import UUID

import pytest
from stellar_sdk import scval as sdk

from shared import position
from shared.stepfi.events import Role
from shared.stepfi.settings import Stepfi
from sweeper.comparison import Case
from sweeper.model import Answer, Both, Finding, Row
from sweeper.questions import Held
from sweeper.same_key import SameKey
from sweeper.stepfi import liquidity_positions, reputation_cache, reputation_history, vendors
from sweeper.stepfi.wallets import Surroundings
from tests.unit.stepfi import contracts as stepfi
from tests.unit.stepfi.contracts import BORROWER, CONTRACTS, VENDOR, u32

NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)
TIP, HOUR = NOW - timedelta(seconds=30), timedelta(hours=1)
LONG_AGO = NOW - timedelta(days=10)
ROW, USER = UUID(int=1), UUID(int=2)
CONTRACT = CONTRACTS[Role.VOUCHING]


def around(**changed: Any) -> Surroundings:
    values: dict[str, Any] = {
        "now": NOW,
        "watermark_at": TIP,
        "grace": HOUR,
        "low_tier": "poor",
        "tolerance": Decimal(0),
        "map_seen": True,
    }
    return Surroundings(**values | changed)


def case(row: Row | None, expected: Row | None, **related: Any) -> Case:
    return Case(row=row, expected=expected, related=related)


def the(finding: Finding | None) -> Finding:
    assert finding is not None
    return finding


def held(entry: Any, *, live_until: int = 5000) -> Held:
    xdr = None if entry is None else entry.xdr
    return Held(key="k", xdr=xdr, last_modified=40, live_until=live_until, ledger=50, node="https://one")


class TestGrace:
    def test_a_row_is_missing_once_it_had_its_time(self) -> None:
        assert not around().is_due(TIP - HOUR)
        assert around().is_due(TIP - HOUR - timedelta(seconds=1))
        assert around().is_due((TIP - 2 * HOUR).astimezone(timezone(timedelta(hours=9))))

    def test_what_was_there_before_all_events_is_due_and_without_a_clock_nothing_is(self) -> None:
        assert around().is_due(None)
        assert not around(watermark_at=None).is_due(LONG_AGO)


class TestVendors:
    row: ClassVar[Row] = {"id": ROW, "wallet_address": VENDOR, "status": "pending", "updated_at": LONG_AGO}
    stored: ClassVar[Row] = {"vendor": VENDOR, "position": position.end_of(35), "status": "Approved"}

    def expected(self, chain: str | None) -> Row:
        word = None if chain is None else chain.lower()
        return {"key": f"vendor:C:{VENDOR}", "position": "p", "vendor": VENDOR, "chain_status": chain, "status": word}

    def found(self, chain: str | None = "Approved", **row: Any) -> Finding | None:
        return vendors.stale_vendor(case({**self.row, **row}, self.expected(chain)), around())

    @pytest.mark.parametrize("chain", ["Approved", "Suspended", "Rejected"])
    def test_another_status_is_stale(self, chain: str) -> None:
        finding = the(self.found(chain))
        assert (finding.drift_class, finding.entity) == ("stale_status", f"vendor:{VENDOR}")
        assert finding.columns == {"status": Both("pending", chain.lower())}
        assert finding.update == {"status": chain.lower(), "updated_at": NOW}
        assert finding.guard == {"wallet_address": VENDOR, "status": "pending", "updated_at": LONG_AGO}

    @pytest.mark.parametrize("word", ["foo", "APPROVED", "", None])
    def test_a_word_that_is_none_is_repaired_where_the_chain_knows_better_and_else_reported(
        self, word: str | None
    ) -> None:
        assert the(self.found("Approved", status=word)).update["status"] == "approved"
        for wallet in (VENDOR, None):
            lost = the(
                vendors.unknown_word(case({**self.row, "status": word, "wallet_address": wallet}, None), around())
            )
            assert (lost.drift_class, lost.update, lost.chain_key) == ("stale_status", {}, None)
        assert vendors.unknown_word(case(self.row, None), around()) is None

    def test_the_same_and_the_unknown_are_not(self) -> None:
        assert self.found("Pending") is None
        assert self.found(None) is None
        assert vendors.stale_vendor(case(self.row, None), around()) is None
        assert vendors.stale_vendor(case(None, self.expected("Approved")), around()) is None

    @pytest.mark.parametrize(
        ("fields", "live_until", "answer"),
        [
            ({"status": u32(1)}, 5000, Answer.CONFIRMED),
            ({"active": stepfi.boolean(True)}, 5000, Answer.CONFIRMED),
            ({"status": u32(1)}, 0, Answer.CONFIRMED),
            ({"status": u32(2)}, 5000, Answer.UNKNOWN),
            ({"status": u32(2)}, 0, Answer.UNKNOWN),
            ({"status": u32(9)}, 5000, Answer.UNKNOWN),
            ({}, 5000, Answer.UNKNOWN),
        ],
    )
    def test_the_entry_confirms_what_would_be_written(
        self, fields: dict[str, Any], live_until: int, answer: Answer
    ) -> None:
        entry = stepfi.vendor_entry(name=stepfi.text("Books"), **fields)
        judged = vendors._judge_vendor(
            the(self.found()), held(entry, live_until=live_until), stored=self.stored, watermark=39
        )
        assert judged.answer is answer
        assert judged.contradicted_by is None  # the entry changed behind the watermark

    def test_an_entry_that_the_watermark_vouches_for_contradicts_our_tables(self) -> None:
        entry = held(stepfi.vendor_entry(name=stepfi.text("Books"), status=u32(2)))
        judged = vendors._judge_vendor(the(self.found()), entry, stored=self.stored, watermark=40)
        assert judged.answer is Answer.UNKNOWN
        assert judged.contradicted_by == entry

    def test_tables_that_moved_on_with_the_entry_confirm_no_finding_of_before(self) -> None:
        entry = held(stepfi.vendor_entry(name=stepfi.text("Books"), status=u32(2)))
        stored = {**self.stored, "status": "Suspended"}
        judged = vendors._judge_vendor(the(self.found()), entry, stored=stored, watermark=40)
        assert (judged.answer, judged.contradicted_by) == (Answer.UNKNOWN, None)

    def test_no_entry_is_no_answer(self) -> None:
        for silence in (None, held(None), held(None, live_until=0)):
            judged = vendors._judge_vendor(the(self.found()), silence, stored=self.stored, watermark=39)
            assert judged.answer is Answer.UNKNOWN


class TestReputation:
    stored: ClassVar[Row] = {"wallet": BORROWER, "position": position.end_of(35), "score": 65}
    row: ClassVar[Row] = {
        "id": ROW,
        "wallet_address": BORROWER,
        "score": 50,
        "tier": "poor",
        "last_synced_at": LONG_AGO,
        "updated_at": LONG_AGO,
    }

    def expected(self, score: int | None = 65, **changed: Any) -> Row:
        return {
            "key": f"score:C:{BORROWER}",
            "position": "p",
            "wallet_address": BORROWER,
            "score": score,
            "tier": "bronze",
            "created_at": LONG_AGO,
            **changed,
        }

    def stale(self, expected: Row | None, surroundings: Surroundings | None = None, **row: Any) -> Finding | None:
        return reputation_cache.stale_score(case({**self.row, **row}, expected), surroundings or around())

    def test_score_and_tier_are_repaired_together(self) -> None:
        finding = the(self.stale(self.expected()))
        assert finding.columns == {"score": Both(50, 65), "tier": Both("poor", "bronze")}
        assert finding.update == {"score": 65, "tier": "bronze", "last_synced_at": NOW, "updated_at": NOW}
        assert set(finding.guard) == {"wallet_address", "score", "tier", "last_synced_at", "updated_at"}
        assert finding.drift_class == "stale_value"

    @pytest.mark.parametrize(
        ("score", "tier"),
        [
            (0, "poor"),
            (59, "poor"),
            (60, "bronze"),
            (74, "bronze"),
            (75, "silver"),
            (89, "silver"),
            (90, "gold"),
            (100, "gold"),
        ],
    )
    def test_the_tier_is_of_the_score(self, score: int, tier: str) -> None:
        finding = the(self.stale(self.expected(score), tier="?"))
        assert finding.columns["tier"] == Both("?", tier)
        assert self.stale(self.expected(score), score=score, tier=tier) is None

    def test_the_lowest_tier_has_the_app_s_word(self) -> None:
        assert self.stale(self.expected(50), around(low_tier="poor")) is None
        finding = the(self.stale(self.expected(50), around(low_tier="starter")))
        assert finding.columns == {"tier": Both("poor", "starter")}
        assert finding.update["score"] == 50

    @pytest.mark.parametrize("wallet", [BORROWER.lower(), f" {BORROWER}", "", None, "G"])
    def test_what_is_no_address_is_reported_and_not_set_to_zero(self, wallet: str | None) -> None:
        finding = the(self.stale(None, wallet_address=wallet))
        assert (finding.drift_class, finding.update) == ("stale_value", {})
        assert "no address" in finding.words

    def test_a_score_that_is_unknown_is_not_compared(self) -> None:
        assert self.stale(self.expected(None)) is None

    def test_whom_the_whole_map_does_not_hold_has_zero_and_before_it_was_read_nobody_has(self) -> None:
        finding = the(self.stale(None))
        assert (finding.update["score"], finding.update["tier"]) == (0, "poor")
        assert self.stale(None, around(map_seen=False)) is None
        assert self.stale(None, score=0) is None

    def missing(
        self, expected: Row, surroundings: Surroundings | None = None, user: UUID | None = USER
    ) -> Finding | None:
        users = {} if user is None else {BORROWER: user}
        return reputation_cache.missing_score(case(None, expected, users=users), surroundings or around())

    def test_a_user_without_a_row_gets_one(self) -> None:
        finding = the(self.missing(self.expected()))
        assert (finding.drift_class, finding.row_id, finding.entity) == ("missing_row", None, f"user:{BORROWER}")
        assert finding.insert == {
            "user_id": USER,
            "wallet_address": BORROWER,
            "score": 65,
            "tier": "bronze",
            "last_synced_at": NOW,
            "updated_at": NOW,
        }

    def test_users_are_never_made(self) -> None:
        finding = the(self.missing(self.expected(), user=None))
        assert finding.insert is None
        assert "users are never made" in finding.words

    def test_contracts_the_young_and_the_unknown_are_not_missing(self) -> None:
        assert self.missing(self.expected(wallet_address=CONTRACT)) is None
        assert self.missing(self.expected(created_at=TIP)) is None
        assert self.missing(self.expected(None)) is None
        assert self.missing(self.expected(), around(watermark_at=None)) is None
        assert reputation_cache.missing_score(case(self.row, self.expected(), users={}), around()) is None

    @pytest.mark.parametrize(
        ("scores", "answer"),
        [({BORROWER: 65}, Answer.CONFIRMED), ({BORROWER: 64}, Answer.UNKNOWN), ({VENDOR: 65}, Answer.UNKNOWN)],
    )
    def test_the_map_confirms_what_would_be_written(self, scores: dict[str, int], answer: Answer) -> None:
        pairs = {stepfi.address(user): u32(score) for user, score in scores.items()}
        entry = held(stepfi.instance(Role.REPUTATION, {"SCORES": sdk.to_map(pairs)}))
        found = reputation_cache._score_map(entry)
        for finding in (the(self.stale(self.expected())), the(self.missing(self.expected()))):
            judged = reputation_cache._judge_score(finding, entry, found, stored=self.stored, watermark=39)
            assert (judged.answer, judged.contradicted_by) == (answer, None)
            vouched = reputation_cache._judge_score(finding, entry, found, stored=self.stored, watermark=40)
            assert (vouched.contradicted_by == entry) is (answer is Answer.UNKNOWN)

    def test_a_user_that_the_map_lost_is_confirmed_to_have_zero(self) -> None:
        entry = held(stepfi.instance(Role.REPUTATION, {"SCORES": sdk.to_map({})}))
        found = reputation_cache._score_map(entry)
        stored = {**self.stored, "score": 0}
        judged = reputation_cache._judge_score(the(self.stale(None)), entry, found, stored=stored, watermark=39)
        assert judged.answer is Answer.CONFIRMED

    def test_without_a_map_nobody_is_judged(self) -> None:
        broken = stepfi.instance(Role.REPUTATION, {"SCORES": u32(1)})
        for silence in (None, held(None), held(broken), held(stepfi.loan_entry())):
            found = reputation_cache._score_map(silence)
            assert found is None
            finding = the(self.stale(self.expected()))
            judged = reputation_cache._judge_score(finding, silence, found, stored=self.stored, watermark=40)
            assert judged.answer is Answer.UNKNOWN


class TestHistory:
    columns = frozenset(
        {"id", "event_id", "user_wallet", "old_score", "new_score", "change_amount", "reason", "created_at"}
    )

    def expected(self, **changed: Any) -> Row:
        return {
            "key": "score_change:C:1",
            "event_id": "0000000429496729600-0000000001",
            "user_wallet": BORROWER,
            "old_score": 50,
            "new_score": 65,
            "change_amount": 15,
            "reason": "increase",
            "transaction_hash": "ab",
            "ledger_sequence": 100,
            "created_at": LONG_AGO,
            **changed,
        }

    def found(
        self, expected: Row | None, row: Row | None = None, surroundings: Surroundings | None = None
    ) -> Finding | None:
        return reputation_history.missing_event(case(row, expected, columns=self.columns), surroundings or around())

    def test_an_event_without_a_row_brings_what_the_live_table_has_columns_for(self) -> None:
        finding = the(self.found(self.expected()))
        assert (finding.drift_class, finding.entity) == ("missing_row", "event:0000000429496729600-0000000001")
        assert finding.insert is not None
        assert set(finding.insert) == self.columns - {"id"}
        assert finding.evidence == {"transaction": "ab", "ledger": 100}

    def test_a_row_is_never_changed_and_the_young_and_contracts_are_not_missing(self) -> None:
        assert self.found(self.expected(), row={"id": ROW, "event_id": "x"}) is None
        assert self.found(None, row={"id": ROW, "event_id": "x"}) is None
        assert self.found(self.expected(created_at=TIP)) is None
        assert self.found(self.expected(user_wallet=CONTRACT)) is None


class TestPositions:
    row: ClassVar[Row] = {
        "id": ROW,
        "provider_wallet": BORROWER,
        "deposited_amount": Decimal("100.00"),
        "updated_at": LONG_AGO,
    }

    def expected(self, cost: str | None = "90.0000000", **changed: Any) -> Row:
        return {
            "key": f"provider:C:{BORROWER}",
            "position": "p",
            "provider_wallet": BORROWER,
            "shares": Decimal(500),
            "deposited_amount": None if cost is None else Decimal(cost),
            "created_at": LONG_AGO,
            **changed,
        }

    def stale(self, expected: Row | None, tolerance: str = "0") -> Finding | None:
        surroundings = around(tolerance=Decimal(tolerance))
        return liquidity_positions.stale_position(case(self.row, expected), surroundings)

    def test_another_cost_is_stale(self) -> None:
        finding = the(self.stale(self.expected()))
        assert (finding.drift_class, finding.entity) == ("stale_value", f"provider:{BORROWER}")
        assert finding.update == {"deposited_amount": Decimal(90), "updated_at": NOW}
        assert set(finding.guard) == {"provider_wallet", "deposited_amount", "updated_at"}

    def test_a_position_that_was_left_costs_nothing(self) -> None:
        assert the(self.stale(self.expected("0", shares=Decimal(0)))).update["deposited_amount"] == 0

    def test_the_same_the_unknown_and_what_no_deposit_told_are_not(self) -> None:
        assert self.stale(self.expected("100")) is None
        assert self.stale(self.expected("99.99"), tolerance="0.01") is None
        assert self.stale(self.expected("99.9899999"), tolerance="0.01") is not None
        assert self.stale(self.expected(None)) is None
        assert self.stale(None) is None

    def test_of_several_rows_none_is_picked(self) -> None:
        subject = liquidity_positions.LiquidityPositions(Stepfi())
        several = SameKey(2, (str(ROW), "other"))
        found = the(subject.classify(Case(row=self.row, expected=self.expected(), same_key=several), around()))
        assert (found.drift_class, found.entity, found.update) == ("duplicate_row", f"provider:{BORROWER}", {})
        assert found.evidence == {"rows": [str(ROW), "other"], "row_count": 2}
        alone = the(subject.classify(case(self.row, self.expected()), around()))
        assert alone.drift_class == "stale_value"

    def missing(self, expected: Row) -> Finding | None:
        return liquidity_positions.missing_position(case(None, expected), around())

    def test_a_position_without_a_row(self) -> None:
        finding = the(self.missing(self.expected()))
        assert finding.insert == {"provider_wallet": BORROWER, "deposited_amount": Decimal(90), "updated_at": NOW}
        assert the(self.missing(self.expected(None))).insert is None

    @pytest.mark.parametrize(
        "changed",
        [
            {"shares": Decimal(0)},
            {"shares": None},
            {"provider_wallet": CONTRACT},
            {"created_at": TIP},
        ],
        ids=["left", "unknown", "contract", "young"],
    )
    def test_what_needs_no_row(self, changed: dict[str, Any]) -> None:
        assert self.missing(self.expected(**changed)) is None
