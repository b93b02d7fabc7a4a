"""What may be done: the policy of class and table, the chain's answer, and the limits under which nothing is written."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from shared import errors
from shared.settings import Policy, Sweep
from sweeper import classes, plan
from sweeper.context import Compared
from sweeper.model import NEEDS_SETTING, Answer, Finding, Outcome

REPAIR, PROPOSE, REPORT = Policy.REPAIR, Policy.PROPOSE, Policy.REPORT
TABLES = ("loans", "vendors")


def finding(number: int = 1, **changed: Any) -> Finding:
    values: dict[str, Any] = {
        "drift_class": "stale_status",
        "table": "loans",
        "row_id": str(number),
        "entity": f"loan:{number}",
        "words": "",
        "update": {"status": "active"},
        "answer": Answer.CONFIRMED,
    }
    return Finding(**values | changed)


def planned(*findings: Finding, app_rows: int = 100, **settings: Any) -> plan.Plan:
    compared = {"loans": Compared(app_rows=app_rows), "vendors": Compared(app_rows=app_rows)}
    return plan.make(findings, settings=Sweep(**settings), compared=compared)


def decided(one: Finding, **settings: Any) -> tuple[Policy, Outcome]:
    (found,) = planned(one, **settings).findings
    return found.action, found.outcome


class TestTimesOfWriting:
    NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)

    def written(self, update: dict[str, Any], guard: dict[str, Any]) -> dict[str, Any]:
        (one,) = planned(finding(update=update, guard=guard)).to_write
        return dict(one.update)

    def test_they_are_behind_what_they_replace_though_the_application_s_clock_is_ahead(self) -> None:
        ahead = self.NOW + timedelta(minutes=3)
        update = {
            "score": 3,
            "synced_at": self.NOW,
            "updated_at": self.NOW,
            "completed_at": self.NOW - timedelta(days=1),
        }
        for guard in (
            {"updated_at": ahead, "synced_at": None},
            {"updated_at": None, "synced_at": ahead},
            {"updated_at": ahead, "synced_at": self.NOW},
            {"updated_at": ahead.astimezone(timezone(timedelta(hours=-4)))},
        ):
            moment = ahead + timedelta(microseconds=1)
            assert self.written(update, guard) == {**update, "updated_at": moment, "synced_at": moment}
        assert self.written(update, {"updated_at": self.NOW})["updated_at"] == self.NOW + timedelta(microseconds=1)

    @pytest.mark.parametrize("before", [None, NOW - timedelta(microseconds=1), datetime.max.replace(tzinfo=UTC)])
    def test_they_stay_as_they_were_chosen_otherwise(self, before: datetime | None) -> None:
        update = {"status": "active", "updated_at": self.NOW}
        ahead = self.NOW + timedelta(days=1)
        assert self.written(update, {"status": "x", "updated_at": before, "created_at": ahead}) == update
        assert self.written({"status": "active"}, {"updated_at": ahead}) == {"status": "active"}


class TestClasses:
    def test_the_twelve_and_their_policies(self) -> None:
        assert {name: one.policy for name, one in classes.CLASSES.items()} == {
            "duplicate_row": REPORT,
            "forged_owner": REPORT,
            "ambiguous_link": REPORT,
            "absent_on_chain": REPORT,
            "abandoned_provisional": REPORT,
            "unresolved_provisional_id": REPAIR,
            "app_ahead_of_chain": PROPOSE,
            "stale_status": REPAIR,
            "terms_mismatch": REPORT,
            "stale_value": REPAIR,
            "missing_row": PROPOSE,
            "orphaned_pending_transaction": REPAIR,
        }

    @pytest.mark.parametrize("of_class", list(Policy))
    @pytest.mark.parametrize("of_table", list(Policy))
    def test_the_table_caps_the_class_and_never_raises_it(self, of_class: Policy, of_table: Policy) -> None:
        strictness = [REPORT, PROPOSE, REPAIR]
        found = classes.policy(
            "stale_value", "loans", policies={"stale_value": of_class}, table_policies={"loans": of_table}
        )
        assert found == min(of_class, of_table, key=strictness.index)

    def test_positions_are_only_reported_unless_the_settings_say_otherwise(self) -> None:
        def policy(**tables: Policy) -> Policy:
            return classes.policy("stale_value", "liquidity_positions", policies={}, table_policies=tables)

        assert policy() is REPORT
        assert policy(liquidity_positions=PROPOSE) is PROPOSE
        assert policy(liquidity_positions=REPAIR) is REPAIR
        assert policy(loans=REPAIR) is REPORT

    def test_a_class_that_does_not_exist_is_refused_by_the_name_of_its_setting(self) -> None:
        classes.check_settings(Sweep(policy={"stale_value": REPORT}), tables=TABLES)
        with pytest.raises(errors.SettingError, match="CHAINTRUE_SWEEP__POLICY__STALE_VALUES"):
            classes.check_settings(Sweep(policy={"stale_values": REPORT}), tables=TABLES)

    def test_a_table_that_is_not_compared_is_refused_by_the_name_of_its_setting(self) -> None:
        """Nothing would be capped by it, and the table that was meant be written."""
        classes.check_settings(Sweep(table_policy={"LOANS": REPORT, "vendors": PROPOSE}), tables=TABLES)
        with pytest.raises(errors.SettingError, match="CHAINTRUE_SWEEP__TABLE_POLICY__LOAN: ") as raised:
            classes.check_settings(Sweep(table_policy={"loan": REPORT}), tables=TABLES)
        assert raised.value.cure == "one of loans, vendors"
        classes.check_settings(Sweep(insert_without_unique_key="LOANS, vendors"), tables=TABLES)
        with pytest.raises(errors.SettingError, match="INSERT_WITHOUT_UNIQUE_KEY: there is no table 'loan'") as raised:
            classes.check_settings(Sweep(insert_without_unique_key=("loans", "loan")), tables=TABLES)
        assert raised.value.cure == "one of loans, vendors"


class TestDecision:
    def test_repair_is_proposed_until_it_is_done(self) -> None:
        assert decided(finding()) == (REPAIR, Outcome.PROPOSED)

    @pytest.mark.parametrize("policy", list(Policy))
    def test_what_the_chain_did_not_answer_is_unknown_whatever_the_policy(self, policy: Policy) -> None:
        one = finding(answer=Answer.UNKNOWN)
        assert decided(one, policy={"stale_status": policy}) == (policy, Outcome.UNKNOWN)
        assert planned(one, policy={"stale_status": policy}).to_write == ()

    @pytest.mark.parametrize("policy", list(Policy))
    def test_an_insert_that_needs_a_setting_is_proposed_and_never_written(self, policy: Policy) -> None:
        one = finding(update={}, insert={"loan_id": "1"}, row_id=None, drift_class="missing_row")
        one = one.with_evidence(**{NEEDS_SETTING: "X", "reason": "no unique index"})
        policies: dict[str, Any] = {"policy": {"missing_row": policy}}
        is_report = policy is REPORT
        assert decided(one, **policies) == ((REPORT, Outcome.REPORTED) if is_report else (PROPOSE, Outcome.PROPOSED))
        assert planned(one, **policies).to_write == ()
        assert planned(one, max_repairs=0, **policies).refused == ()
        assert plan.review([one], settings=Sweep(**policies)).to_write == ()

    @pytest.mark.parametrize("answer", [Answer.CONFIRMED, Answer.ABSENT, None])
    def test_proofs_of_both_kinds_and_events_themselves_allow_a_repair(self, answer: Answer | None) -> None:
        assert decided(finding(answer=answer)) == (REPAIR, Outcome.PROPOSED)

    def test_what_cannot_be_written_is_reported(self) -> None:
        assert decided(finding(update={})) == (REPORT, Outcome.REPORTED)
        assert decided(finding(update={}, insert={"loan_id": "1"})) == (REPAIR, Outcome.PROPOSED)

    def test_a_row_that_flaps_is_reported_and_keeps_what_policy_would_do(self) -> None:
        flaps = {"flapping": {"repaired_times": 3, "since": "2026-09-01T00:00:00Z"}}
        assert decided(finding(evidence=flaps)) == (REPAIR, Outcome.REPORTED)
        assert decided(finding(drift_class="app_ahead_of_chain", evidence=flaps)) == (PROPOSE, Outcome.REPORTED)
        assert decided(finding(drift_class="forged_owner", evidence=flaps)) == (REPORT, Outcome.REPORTED)
        assert decided(finding(evidence=flaps, answer=Answer.UNKNOWN)) == (REPAIR, Outcome.UNKNOWN)
        assert planned(finding(evidence=flaps)).to_write == ()

    def test_a_row_that_is_missing_is_proposed_and_not_written(self) -> None:
        one = finding(drift_class="missing_row", row_id=None, update={}, insert={"loan_id": "1"})
        assert decided(one) == (PROPOSE, Outcome.PROPOSED)
        assert planned(one).to_write == ()

    def test_only_repairs_are_written(self) -> None:
        several = (
            finding(1),
            finding(2, drift_class="app_ahead_of_chain"),
            finding(3, drift_class="forged_owner"),
            finding(4, answer=Answer.UNKNOWN),
            finding(5, update={}),
            finding(6, table="liquidity_positions", drift_class="stale_value"),
            finding(7, drift_class="stale_value"),
        )
        assert [one.row_id for one in planned(*several).to_write] == ["1", "7"]
        assert len(planned(*several).findings) == 7
        assert planned(*several, table_policy={"loans": REPORT}).to_write == ()


class TestLimits:
    many = tuple(map(finding, range(5)))

    def test_the_number_of_repairs(self) -> None:
        assert len(planned(*self.many, max_repairs=5).to_write) == 5
        over = planned(*self.many, max_repairs=4)
        assert (over.to_write, len(over.findings)) == ((), 5)
        assert over.refused == ("5 rows would be repaired, CHAINTRUE_SWEEP__MAX_REPAIRS allows 4: nothing is written",)
        assert planned(*self.many, max_repairs=0).to_write == ()

    def test_what_is_not_repaired_is_not_counted(self) -> None:
        proposals = [finding(number, drift_class="app_ahead_of_chain") for number in range(50)]
        unknown = [finding(number, answer=Answer.UNKNOWN) for number in range(50, 90)]
        assert planned(*self.many, *proposals, *unknown, max_repairs=5, max_drift_ratio=Decimal("0.05")).refused == ()

    def test_the_share_of_a_table_s_rows(self) -> None:
        assert planned(*self.many, app_rows=50, max_drift_ratio=Decimal("0.1")).refused == ()
        (reason,) = planned(*self.many, app_rows=49, max_drift_ratio=Decimal("0.1")).refused
        assert "5 of 49 rows of loans" in reason
        assert "CHAINTRUE_SWEEP__MAX_DRIFT_RATIO allows 0.1" in reason

    def test_one_table_over_its_share_stops_all_of_them(self) -> None:
        vendor = finding(9, table="vendors")
        both = plan.make(
            (*self.many, vendor),
            settings=Sweep(max_drift_ratio=Decimal("0.5")),
            compared={"loans": Compared(app_rows=1000), "vendors": Compared(app_rows=1)},
        )
        assert both.to_write == ()
        assert len(both.refused) == 1

    def test_a_table_that_was_not_counted_has_no_share_to_give(self) -> None:
        found = plan.make(self.many[:2], settings=Sweep(max_drift_ratio=Decimal(1)), compared={})
        assert found.to_write == ()

    def test_nothing_found_is_nothing_refused(self) -> None:
        assert planned(max_repairs=0, max_drift_ratio=Decimal(0)) == plan.Plan(findings=())
