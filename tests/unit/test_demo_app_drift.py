"""The drift that is injected is the drift that is declared, whatever the seed."""

import dataclasses
import re
from datetime import timedelta
from functools import cache
from pathlib import Path

import pytest
from stellar_sdk import TransactionEnvelope, scval
from stellar_sdk.operation import InvokeHostFunction

from deploy.demo.app import chain, chain_truth, drift, rows, scene
from shared.settings import Policy

VECTORS = Path(__file__).parents[1] / "vectors"
CORE_CLASSES = {
    *("missing_row", "stale_status", "stale_value", "unresolved_provisional_id", "ambiguous_link"),
    "orphaned_pending_transaction",
}


@cache
def truth(name: str = "story-real.jsonl.gz") -> chain.ChainTruth:
    """The story, or (with a target for everything at once) a long random history."""
    return chain_truth.truth_at(VECTORS / name)


@cache
def with_twins(name: str = "story-real.jsonl.gz") -> chain.ChainTruth:
    """The same history, with a second loan of the terms of loan 9, made five minutes after it."""
    first = truth(name).loans[9]
    creation = dataclasses.replace(first.creation, closed_at=first.creation.closed_at + timedelta(minutes=5))
    number = truth(name).loan_counter + 1
    twin = dataclasses.replace(first, loan_id=number, creation=creation)
    return dataclasses.replace(truth(name), loans={**truth(name).loans, number: twin}, loan_counter=number)


@cache
def all_of_it(seed: int = 0) -> drift.Plan:
    return drift.plan(with_twins("random-1.jsonl.gz"), seed=seed)


@cache
def true_rows() -> rows.Tables:
    return rows.build(with_twins("random-1.jsonl.gz"))


def one(name: str, known: chain.ChainTruth | None = None, seed: int = 0) -> tuple[scene.Injection, drift.Plan]:
    planned = drift.plan(known or truth(), {name}, seed=seed)
    assert not planned.unavailable
    (injection,) = planned.injections
    return injection, planned


def row_after(name: str, finding: int = 0, seed: int = 0) -> tuple[rows.Row, scene.Expected]:
    injection, planned = one(name, seed=seed)
    expected = injection.findings[finding]
    assert expected.row_id is not None
    return planned.tables[expected.table][expected.row_id], expected


class TestPlan:
    @pytest.mark.parametrize("seed", range(4))
    def test_rows_that_contradict_the_chain_are_those_with_a_finding(self, seed: int) -> None:
        """An oracle of its own for the declared findings: compare all rows with the true ones."""
        planned, true = all_of_it(seed), true_rows()
        assert not planned.unavailable
        declared = {(finding.table, finding.row_id) for finding in planned.findings if finding.row_id}
        silent = {row for injection in planned.injections if injection.name in drift.TRAPS for row in injection.rows}
        for table, found in planned.tables.items():
            for row_id, row in found.items():
                if row_id not in true[table]:
                    assert (
                        ((table, row_id) in declared)
                        or (table, row_id) in silent
                        or table == "default_detection_results"
                    )
                elif table == "transactions":
                    assert (row["status"] == "pending") == ((table, row_id) in declared)
                elif table in {"loans", "vendors", "reputation_cache"}:
                    assert contradicts(row, true[table][row_id]) == ((table, row_id) in declared), (table, row)

    @pytest.mark.parametrize("seed", range(4))
    def test_rows_that_are_gone_are_the_missing_ones(self, seed: int) -> None:
        planned, true = all_of_it(seed), true_rows()
        gone = {
            f"{table}:{row.get('loan_id') or row.get('event_id') or row.get('wallet_address')}"
            for table in true
            for row_id, row in true[table].items()
            if row_id not in planned.tables[table]
        }
        missing = {
            f"{finding.table}:{(finding.entity or '').partition(':')[2]}"
            for finding in planned.findings
            if finding.drift_class == "missing_row"
        }
        twins = {
            f"loans:{change_row(true, change)['loan_id']}"
            for injection in planned.injections
            if injection.name == "ambiguous_two_loans"
            for change in injection.changes
            if isinstance(change, scene.Delete)
        }
        assert len(twins) == 1
        assert gone == missing | twins

    def test_no_row_is_used_by_two_injections(self) -> None:
        seen: dict[tuple[str, str], str] = {}
        for injection in all_of_it().injections:
            if injection.name not in drift.TRAPS:
                for row in injection.rows:
                    assert row not in seen, (injection.name, seen.get(row))
                    seen[row] = injection.name

    def test_every_class_is_there(self) -> None:
        planned = all_of_it()
        assert {finding.drift_class for finding in planned.findings} == set(scene.POLICIES)
        core = {injection.drift_class for injection in planned.injections if injection.core}
        assert core == CORE_CLASSES

    def test_a_trap_has_no_finding_and_all_else_has(self) -> None:
        for injection in all_of_it().injections:
            assert (injection.name in drift.TRAPS) == (injection.findings == ()) == (injection.drift_class is None)
            assert injection.about
            assert injection.changes

    def test_the_outcome_follows_the_policy(self) -> None:
        words = {Policy.REPAIR: "repaired", Policy.PROPOSE: "proposed", Policy.REPORT: "reported"}
        for injection in all_of_it().injections:
            for finding in injection.findings:
                if finding.outcome not in {"unknown", "failed"}:
                    assert finding.outcome == words[finding.policy]
                if finding.table == "liquidity_positions":
                    assert finding.policy is Policy.REPORT

    def test_is_the_same_each_time_and_another_with_another_seed(self) -> None:
        assert drift.plan(truth()) == drift.plan(truth())
        assert drift.plan(truth()).tables != drift.plan(truth(), seed=1).tables

    def test_the_rows_it_was_given_stay_as_they_are(self) -> None:
        before = rows.build(truth())
        drift.plan(truth())
        assert rows.build(truth()) == before

    def test_only_what_was_asked_for(self) -> None:
        planned = drift.plan(truth(), {"missing_loan", "under_review"})
        assert [injection.name for injection in planned.injections] == ["missing_loan", "under_review"]
        assert drift.plan(truth(), ()).injections == ()

    def test_at_any_ledger_of_the_story(self) -> None:
        """Whatever there is of the chain by then: never an error, and only findings of rows that are there."""
        for ledger in sorted({made.ledger for made in truth().transactions.values()}):
            planned = drift.plan(chain_truth.truth_at(VECTORS / "story-real.jsonl.gz", ledger))
            assert len(planned.injections) + len(planned.unavailable) == len(drift.ALL)
            assert all(finding.row_id in {None, *planned.tables[finding.table]} for finding in planned.findings)

    def test_a_name_that_is_none(self) -> None:
        with pytest.raises(ValueError, match="no such injection: missing_lone"):
            drift.plan(truth(), {"missing_lone"})

    def test_the_story_has_targets_for_all_of_the_core_but_twins(self) -> None:
        planned = drift.plan(truth())
        assert planned.unavailable.keys() & drift.CORE == {"ambiguous_two_loans"}
        assert not planned.unavailable.keys() & drift.TRAPS

    def test_an_empty_chain_has_targets_for_none(self) -> None:
        start = chain_truth.truth_at(VECTORS / "story-real.jsonl.gz", truth().start_ledger)
        planned = drift.plan(start)
        assert planned.unavailable.keys() >= drift.CORE
        assert planned.findings == ()

    @pytest.mark.parametrize("name", sorted(drift.ALL - {"other_time_zone"}))
    def test_each_alone_says_what_it_changes(self, name: str) -> None:
        injection, planned = one(name, with_twins())
        true = rows.build(with_twins())
        changed = {
            (table, row_id)
            for table in true
            for row_id in true[table].keys() | planned.tables[table].keys()
            if true[table].get(row_id) != planned.tables[table].get(row_id)
        }
        # The same amount with other zeros is another row to the database, and the same to us.
        assert changed == set(injection.rows) if name != "numeric_form" else not changed


class TestLinks:
    def test_a_provisional_id_has_the_form_of_the_application(self) -> None:
        row, _ = row_after("provisional_by_terms")
        found = re.fullmatch(r"pending-(\d{13})-[0-9a-z]{8}", str(row["loan_id"]))
        assert found
        assert int(found[1]) // 1000 == int(row["created_at"].timestamp())  # type: ignore[union-attr] # a datetime

    def test_the_envelope_names_the_provisional_id_under_the_hash_of_the_loan(self) -> None:
        row, expected = row_after("provisional_by_hash")
        _, planned = one("provisional_by_hash")
        loan = truth().loans[int((expected.entity or "").removeprefix("loan:"))]
        (transaction,) = [
            found
            for found in planned.tables["transactions"].values()
            if found["transaction_hash"] == loan.creation.transaction_hash
        ]
        envelope = TransactionEnvelope.from_xdr(str(transaction["xdr"]), truth().passphrase)
        (operation,) = envelope.transaction.operations
        assert isinstance(operation, InvokeHostFunction)
        call = operation.host_function.invoke_contract
        assert call is not None
        assert scval.to_native(call.args[0]) == str(row["loan_id"])
        assert transaction["type"] == "loan_create"

    def test_by_terms_there_is_one_loan_within_the_window_and_one_row(self) -> None:
        for seed in range(10):
            row, expected = row_after("provisional_by_terms", seed=seed)
            _, planned = one("provisional_by_terms", seed=seed)
            true = rows.build(truth())["loans"]
            same = [
                loan
                for loan in truth().loans.values()
                if fits(row, true[rows.row_id("loans", str(loan.loan_id))], loan)
            ]
            assert [f"loan:{loan.loan_id}" for loan in same] == [expected.entity]
            fitting = [found for found in planned.tables["loans"].values() if fits(found, row, same[0])]
            assert [found["id"] for found in fitting] == [expected.row_id]

    def test_by_hash_alone_the_row_is_out_of_the_window(self) -> None:
        row, expected = row_after("provisional_by_hash_alone")
        loan = truth().loans[int((expected.entity or "").removeprefix("loan:"))]
        created_at = row["created_at"]
        assert loan.creation.closed_at - created_at > scene.LINK_WINDOW  # type: ignore[operator] # a datetime

    def test_two_rows_fit_one_loan(self) -> None:
        first, _ = row_after("ambiguous_two_rows", 0)
        second, _ = row_after("ambiguous_two_rows", 1)
        terms = ("user_wallet", "vendor_id", "amount", "guarantee")
        assert [first[name] for name in terms] == [second[name] for name in terms]
        assert first["loan_id"] != second["loan_id"]

    def test_one_row_fits_two_loans(self) -> None:
        injection, planned = one("ambiguous_two_loans", with_twins())
        (finding,) = injection.findings
        row = planned.tables["loans"][str(finding.row_id)]
        numbers = {str(found["loan_id"]) for found in planned.tables["loans"].values()}
        assert str(row["loan_id"]).startswith("pending-")
        assert not numbers & {"9", str(with_twins().loan_counter)}

    def test_a_row_of_no_loan_has_the_terms_of_none(self) -> None:
        for name in ("abandoned_provisional", "active_without_loan", "id_beyond_the_counter"):
            row, _ = row_after(name)
            assert row["amount"] not in {rows.amount(loan.total_amount, 7) for loan in truth().loans.values()}


class TestPendingTransactions:
    def test_expired_the_hash_is_the_envelopes_and_its_time_is_over(self) -> None:
        row, expected = row_after("pending_expired")
        envelope = TransactionEnvelope.from_xdr(str(row["xdr"]), truth().passphrase)
        assert envelope.hash_hex() == row["transaction_hash"]
        assert expected.entity == f"transaction:{envelope.hash_hex()}"
        bounds = envelope.transaction.preconditions
        assert bounds is not None
        assert bounds.time_bounds is not None
        assert 0 < bounds.time_bounds.max_time < truth().closed_at.timestamp()

    @pytest.mark.parametrize("name", ["pending_of_another_envelope", "pending_fee_bump"])
    def test_unproven_the_hash_is_not_the_envelopes(self, name: str) -> None:
        row, expected = row_after(name)
        envelope = TransactionEnvelope.from_xdr(str(row["xdr"]), truth().passphrase)
        assert envelope.hash_hex() != row["transaction_hash"]
        assert expected.outcome == "unknown"

    def test_unproven_the_envelope_is_none(self) -> None:
        row, _ = row_after("pending_without_envelope")
        with pytest.raises(ValueError):  # noqa: PT011 - the SDK's words are its own
            TransactionEnvelope.from_xdr(str(row["xdr"]), truth().passphrase)

    def test_unproven_the_envelope_never_expires(self) -> None:
        row, _ = row_after("pending_without_expiry")
        envelope = TransactionEnvelope.from_xdr(str(row["xdr"]), truth().passphrase)
        bounds = envelope.transaction.preconditions
        assert bounds is not None
        assert bounds.time_bounds is not None
        assert bounds.time_bounds.max_time == 0
        assert envelope.hash_hex() == row["transaction_hash"]

    @pytest.mark.parametrize(
        "name", [name for name in sorted(drift.CORE) if name.startswith("pending_") and "though" not in name]
    )
    def test_the_chain_knows_those_that_were_recorded_and_no_other(self, name: str) -> None:
        row, _ = row_after(name)
        known = (row["hash"] or row["transaction_hash"]) in truth().transactions
        assert known == (name == "pending_in_the_old_column")


def contradicts(row: rows.Row, true: rows.Row) -> bool:
    """Whether anything differs that the chain owns; a time only where one of the two has none."""
    owned = {"loan_id", "user_wallet", "vendor_id", "amount", "loan_amount", "guarantee", "remaining_balance", "status"}
    owned |= {"score"} if "tier" in row else set()
    owned |= {"tier"}
    times = {"completed_at", "defaulted_at"}
    return any(row.get(name) != true.get(name) for name in owned) or any(
        (row.get(name) is None) != (true.get(name) is None) for name in times
    )


def fits(row: rows.Row, other: rows.Row, loan: chain.Loan) -> bool:
    """Whether `row` could be a request for `loan`, whose terms `other` has."""
    terms = ("user_wallet", "vendor_id", "amount", "guarantee")
    age = loan.creation.closed_at - row["created_at"]  # type: ignore[operator] # a datetime
    return timedelta(0) <= age <= scene.LINK_WINDOW and all(row[name] == other[name] for name in terms)


def change_row(true: rows.Tables, change: scene.Delete) -> rows.Row:
    return true[change.table][change.row_id]
