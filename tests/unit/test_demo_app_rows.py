"""The rows that agree with the chain."""

import dataclasses
import json
import re
from decimal import Decimal
from functools import cache
from pathlib import Path

import pytest
from stellar_sdk import TransactionEnvelope

from deploy.demo.app import chain, chain_truth, rows, schema

VECTORS = Path(__file__).parents[1] / "vectors"
CONTRACT = "CDLZFC3SYJYDZT7K67VZ75HPJVIEUVNIXF47ZG2FB2RMQQVU2HHGCYSC"


@cache
def truth(name: str = "story-real.jsonl.gz") -> chain.ChainTruth:
    return chain_truth.truth_at(VECTORS / name)


def by(table: str, column: str, tables: rows.Tables) -> dict[str, rows.Row]:
    return {str(row[column]): row for row in tables[table].values()}


class TestAmount:
    @pytest.mark.parametrize(
        ("raw", "decimals", "text"),
        [
            (0, 7, "0"),
            (1, 7, "0.0000001"),
            (-5, 2, "-0.05"),
            (123_400_000, 7, "12.34"),
            (2**127 - 1, 7, "17014118346046923173168730371588.4105727"),
            (-(2**127), 0, "-170141183460469231731687303715884105728"),
        ],
    )
    def test_is_exact(self, raw: int, decimals: int, text: str) -> None:
        assert rows.amount(raw, decimals) == Decimal(text)


class TestTier:
    @pytest.mark.parametrize(
        ("score", "word"),
        [
            (100, "gold"),
            (90, "gold"),
            (89, "silver"),
            (75, "silver"),
            (74, "bronze"),
            (60, "bronze"),
            (59, "low"),
            (0, "low"),
        ],
    )
    def test_by_score(self, score: int, word: str) -> None:
        assert rows.tier(score, "low") == word


class TestBuild:
    def test_a_loan_by_hand(self) -> None:
        """Loan 1 of the story: 1,000 with 200 guaranteed, 4 % interest, 1 % fee, three installments, paid."""
        tables = rows.build(truth())
        row = by("loans", "loan_id", tables)["1"]
        assert {
            name: row[name] for name in ("amount", "loan_amount", "guarantee", "total_repayment", "remaining_balance")
        } == {
            "amount": Decimal("0.0001"),
            "loan_amount": Decimal("0.00008"),
            "guarantee": Decimal("0.00002"),
            "total_repayment": Decimal("0.000105"),
            "remaining_balance": Decimal(0),
        }
        assert (row["interest_rate"], row["term"], row["status"]) == (Decimal(4), 3, "completed")
        vendor = tables["vendors"][str(row["vendor_id"])]
        assert (vendor["wallet_address"], vendor["name"]) == (truth().loans[1].vendor, "Campus Laptops")

    def test_the_scale_is_a_setting(self) -> None:
        assert by("loans", "loan_id", rows.build(truth(), decimals=2))["1"]["amount"] == 10

    def test_the_words_are_settings(self) -> None:
        tables = rows.build(truth(), low_tier="starter", cancelled_status="rejected")
        assert {row["status"] for row in tables["loans"].values()} == {"active", "completed", "defaulted", "rejected"}
        assert "starter" in {row["tier"] for row in tables["reputation_cache"].values()}

    def test_every_table_is_named_and_rows_refer_to_rows(self) -> None:
        tables = rows.build(truth("random-1.jsonl.gz"))
        assert tuple(tables) == schema.TABLES
        assert all(row["user_id"] in tables["users"] for row in tables["reputation_cache"].values())
        assert all(row["vendor_id"] in tables["vendors"] for row in tables["loans"].values())
        wallets = by("users", "wallet_address", tables)
        assert {row["user_wallet"] for row in tables["loans"].values()} <= wallets.keys()
        assert len(tables["loans"]) == 298
        for table, found in tables.items():
            assert all(row["id"] == row_id for row_id, row in found.items()), table

    def test_is_the_same_each_time(self) -> None:
        assert rows.build(truth()) == rows.build(chain_truth.truth_at(VECTORS / "story-real.jsonl.gz"))

    def test_a_contract_has_no_row(self) -> None:
        loans = {**truth().loans, 1: dataclasses.replace(truth().loans[1], borrower=CONTRACT)}
        loans[2] = dataclasses.replace(truth().loans[2], vendor=CONTRACT)
        found = dataclasses.replace(
            truth(),
            loans=loans,
            scores={**truth().scores, CONTRACT: 80},
            providers={**truth().providers, CONTRACT: next(iter(truth().providers.values()))},
            vendors={**truth().vendors, CONTRACT: next(iter(truth().vendors.values()))},
        )
        tables = rows.build(found)
        assert "1" not in by("loans", "loan_id", tables)
        assert by("loans", "loan_id", tables)["2"]["vendor_id"] is None
        assert CONTRACT not in str(tables)

    def test_an_empty_chain_has_no_rows(self) -> None:
        start = chain_truth.truth_at(VECTORS / "story-real.jsonl.gz", truth().start_ledger)
        built = rows.build(start)
        assert all(not built[table] for table in ("loans", "users", "reputation_history", "liquidity_positions"))


class TestTransactions:
    def test_an_envelope_is_that_of_the_stored_hash(self) -> None:
        found = [row for row in rows.build(truth())["transactions"].values() if row["status"] == "success"]
        assert found
        for row in found:
            envelope = TransactionEnvelope.from_xdr(str(row["xdr"]), truth().passphrase)
            assert envelope.hash_hex() == row["transaction_hash"]

    def test_of_a_fee_bump_the_inner_envelope_is_kept(self) -> None:
        bumped = [made for made in truth().transactions.values() if made.inner_hash is not None]
        assert bumped
        approvals = {
            made.hash: dataclasses.replace(made, contract="vendors", function="approve_vendor") for made in bumped
        }
        tables = rows.build(dataclasses.replace(truth(), transactions=approvals))
        for row in tables["transactions"].values():
            envelope = TransactionEnvelope.from_xdr(str(row["xdr"]), truth().passphrase)
            assert envelope.hash_hex() == approvals[str(row["transaction_hash"])].inner_hash

    def test_a_recording_without_envelopes_has_rows_with_envelopes(self) -> None:
        found = rows.build(truth("random-1.jsonl.gz"))["transactions"].values()
        assert len(found) > 1_000
        for row in list(found)[::100]:
            assert TransactionEnvelope.from_xdr(str(row["xdr"]), truth().passphrase).transaction.operations

    def test_outcomes(self) -> None:
        for row in rows.build(truth())["transactions"].values():
            made = truth().transactions[str(row["transaction_hash"])]
            assert row["status"] == ("success" if made.succeeded else "failed")
            assert (row["error"] is None) == made.succeeded
            assert json.loads(str(row["result"]))["ledger"] == made.ledger
            assert re.fullmatch(r"[0-9a-f]{64}", str(row["transaction_hash"]))
