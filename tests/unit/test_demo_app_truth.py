"""The oracle against what the contracts' own getters said at the end of each recorded history."""

import dataclasses
import gzip
import json
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from deploy.demo.app import chain, chain_truth, recording
from shared import errors

VECTORS = Path(__file__).parents[1] / "vectors"
HISTORIES = {
    "story-small": ("story-small.jsonl", "story-small.expected.json"),
    "random-1": ("random-1.jsonl.gz", "random-1.expected.json.gz"),
    "random-archive-6": ("random-archive-6.jsonl.gz", "random-archive-6.expected.json.gz"),
}
BIG = {
    *("created_at", "funded_at", "guarantee_amount", "interest_amount", "interest_outstanding", "loan_id"),
    *("late_fee_accrual_timestamp", "late_fees_outstanding", "principal_outstanding", "remaining_balance"),
    *("service_fee_amount", "service_fee_outstanding", "total_amount", "amount", "due_date", "paid_at"),
}
"""Fields that the expected files, as JSON readers need it, give as strings."""


@cache
def truth(history: str, ledger: int | None = None) -> chain.ChainTruth:
    return chain_truth.truth_at(VECTORS / HISTORIES[history][0], ledger)


@cache
def expected(history: str) -> dict[str, Any]:
    path = VECTORS / HISTORIES[history][1]
    data = path.read_bytes()
    parsed: dict[str, Any] = json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)
    return parsed


def as_expected(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: str(value) if name in BIG else value for name, value in fields.items()}


@pytest.mark.parametrize("history", HISTORIES)
class TestAtTheEnd:
    def test_all_fields_of_all_loans(self, history: str) -> None:
        found = truth(history)
        told = {int(loan["loan_id"]): loan for loan in expected(history)["loans"]}
        assert set(found.loans) == set(told)
        assert found.loan_counter == int(expected(history)["loanCount"])
        for loan_id, loan in found.loans.items():
            fields = {name: value for name, value in dataclasses.asdict(loan).items() if name in told[loan_id]}
            fields["repayment_schedule"] = [as_expected(slot) for slot in fields["repayment_schedule"]]
            assert as_expected(fields) == told[loan_id]
            assert len(fields) == 19

    def test_scores(self, history: str) -> None:
        users = expected(history)["users"]
        assert truth(history).scores.keys() <= users.keys()
        assert {user: truth(history).scores.get(user, 0) for user in users} == {
            user: told["score"] for user, told in users.items()
        }

    def test_the_last_change_of_a_score_is_the_score(self, history: str) -> None:
        last = {change.wallet: change.new for change in truth(history).score_changes}
        assert last == truth(history).scores
        assert len(truth(history).score_changes) == expected(history)["eventsByTopic"]["reputation:SCORECHGD"]

    def test_shares(self, history: str) -> None:
        assert {wallet: str(held.shares) for wallet, held in truth(history).providers.items()} == expected(history)[
            "lps"
        ]

    def test_shares_are_the_sum_of_the_movements(self, history: str) -> None:
        for held in truth(history).providers.values():
            assert sum(movement.shares for movement in held.movements) == held.shares
            assert (held.cost == 0) == (held.shares == 0)

    def test_vendors(self, history: str) -> None:
        assert {wallet: (vendor.name, vendor.status) for wallet, vendor in truth(history).vendors.items()} == {
            wallet: (told["name"], told["statusName"].lower()) for wallet, told in expected(history)["vendors"].items()
        }

    def test_transactions(self, history: str) -> None:
        outcomes = [transaction.succeeded for transaction in truth(history).transactions.values()]
        assert outcomes.count(True) == expected(history)["txSuccess"]
        assert outcomes.count(False) == expected(history)["txFailed"]
        assert all((made.error is None) == made.succeeded for made in truth(history).transactions.values())

    def test_a_loan_ended_when_its_status_says_so_and_not_before_it_began(self, history: str) -> None:
        for loan in truth(history).loans.values():
            assert (loan.completed_at is not None) == (loan.status == "Paid")
            assert (loan.defaulted_at is not None) == (loan.status == "Defaulted")
            assert (loan.cancelled_at is not None) == (loan.status == "Cancelled")
            assert loan.creation.closed_at == recording.instant(loan.created_at)
            assert loan.creation.event == ("LOANCRTD" if loan.funded_at else "LOANRQST")
            for end in (loan.completed_at, loan.defaulted_at, loan.cancelled_at):
                assert end is None or loan.creation.closed_at <= end <= loan.last_written_at

    def test_the_clock(self, history: str) -> None:
        assert truth(history).ledger == expected(history)["ledger"]
        assert truth(history).closed_at == recording.instant(expected(history)["closedAt"])


class TestAtALedger:
    def test_nothing_at_the_start(self) -> None:
        start = truth("story-small").start_ledger
        found = truth("story-small", start)
        assert (found.ledger, found.closed_at) == (start, datetime(2026, 7, 5, tzinfo=UTC))
        assert not found.loans
        assert not found.score_changes
        assert found.loan_counter == 0

    def test_a_loan_as_it_was_made(self) -> None:
        made = truth("story-small").loans[1].creation
        assert 1 not in truth("story-small", made.ledger - 1).loans
        loan = truth("story-small", made.ledger).loans[1]
        assert (loan.status, loan.remaining_balance, loan.completed_at) == ("Active", 1_050, None)
        assert loan.creation == made

    def test_each_ledger_is_a_prefix_of_the_end(self) -> None:
        end = truth("story-small")
        for ledger in sorted({transaction.ledger for transaction in end.transactions.values()}):
            found = truth("story-small", ledger)
            assert found.score_changes == end.score_changes[: len(found.score_changes)]
            assert {hash_ for hash_, made in end.transactions.items() if made.ledger <= ledger} == set(
                found.transactions
            )
            assert all(loan.creation.ledger <= ledger for loan in found.loans.values())

    def test_before_the_history(self) -> None:
        with pytest.raises(ValueError, match="before the history's first"):
            truth("story-small", 3_399_999)

    def test_after_the_history_a_ledger_closes_every_five_seconds(self) -> None:
        end = truth("story-small")
        later = truth("story-small", end.ledger + 12)
        assert later.closed_at == end.closed_at + timedelta(minutes=1)
        assert later.loans == end.loans

    def test_between_two_ledgers_the_clock_runs_evenly(self, tmp_path: Path) -> None:
        history = tmp_path / "history.jsonl"
        header = {"kind": "header", "startLedger": 10, "startClosedAt": 1_000}
        other = {"kind": "other", "ledger": 14, "closedAt": 1_021}
        history.write_text(f"{json.dumps(header)}\n{json.dumps(other)}\n")
        closed = [recording.read(history, ledger).closed_at.timestamp() for ledger in range(10, 17)]
        assert closed == [1_000, 1_005, 1_010, 1_015, 1_021, 1_026, 1_031]


class TestCost:
    """Each withdrawal takes floor(cost x burned / held) off the cost."""

    @pytest.mark.parametrize(
        ("moves", "cost"),
        [
            ([], 0),
            ([(100, 100)], 100),
            ([(100, 100), (-40, 44)], 60),
            ([(100, 90), (-31, 35)], 100 - 34),  # 100 x 31 / 90 = 34.4
            ([(100, 90), (-31, 35), (-59, 70)], 0),
            ([(100, 90), (-90, 1), (7, 5)], 7),
            ([(10, 10), (10, 5), (-5, 9)], 20 - 6),  # 20 x 5 / 15 = 6.7
        ],
    )
    def test_by_hand(self, moves: list[tuple[int, int]], cost: int) -> None:
        movements = [
            chain.Movement(
                event_id="",
                transaction_hash="",
                closed_at=datetime(2026, 1, 1, tzinfo=UTC),
                amount=second if first < 0 else first,
                shares=first if first < 0 else second,
            )
            for first, second in moves
        ]
        assert chain_truth.cost(movements) == cost


class TestRefused:
    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("", "not the header"),
            ('{"kind": "tx"}\n', "not the header"),
            ("not json\n", "line 1 is not JSON"),
            ("[1, 2]\n", "line 1 is not a line of a recorded history"),
            ('{"kind": "header", "startLedger": 1, "startClosedAt": 1}\n{"kind": "tx", "led', "line 2 is not JSON"),
        ],
    )
    def test_a_file_that_is_no_recording(self, tmp_path: Path, text: str, words: str) -> None:
        history = tmp_path / "history.jsonl"
        history.write_text(text)
        with pytest.raises(errors.Undecodable, match=words):
            recording.read(history)

    def test_a_file_that_is_cut_short(self, tmp_path: Path) -> None:
        history = tmp_path / "history.jsonl.gz"
        history.write_bytes(gzip.compress(b'{"kind": "header", "startLedger": 1, "startClosedAt": 1}\n')[:-9])
        with pytest.raises(errors.Undecodable, match="cannot be unpacked"):
            recording.read(history)
