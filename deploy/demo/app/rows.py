"""The rows of an application that agrees with the chain in all that the chain owns.

Everything is a function of the truth: ids, times and all that is the application's own affair come out the same each time.
Only wallets (`G…`) have rows: the application knows no contract as a user. Its clean-up of old finished transactions is left
out, since a history is played in seconds. A row is a dict of column and value: `Decimal` for numeric, `datetime` in UTC for
timestamptz, `str` for uuid and jsonb.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Context, Decimal
from uuid import NAMESPACE_URL, uuid5

import asyncpg

from deploy.demo.app import chain, envelopes, recording, schema

Value = str | int | bool | Decimal | datetime | None
Row = dict[str, Value]
Tables = dict[str, dict[str, Row]]
"""Table, then the row's id, then the row."""

STATUSES = {
    "Pending": "pending",
    "Active": "active",
    "Paid": "completed",
    "Defaulted": "defaulted",
    "Cancelled": "cancelled",
}
"""The application's words for a loan's status on chain."""

TRANSACTION_TYPES = {
    ("creditline", "create_loan"): "loan_create",
    ("creditline", "request_loan"): "loan_create",
    ("creditline", "repay_loan"): "loan_repay",
    ("creditline", "repay_installment"): "loan_repay",
    ("creditline", "mark_defaulted"): "loan_default",
    ("pool", "deposit"): "deposit",
    ("pool", "withdraw"): "withdraw",
    ("vendors", "approve_vendor"): "vendor_approve",
    ("vendors", "suspend_vendor"): "vendor_suspend",
}
"""The calls that the API makes, by contract and function, and what it names them."""

SIGNING = timedelta(seconds=12)
"""Between the API's row and the ledger that closes with it, a user signs."""

_EXACT = Context(prec=60)
_VENDOR_TYPES = ("electronics", "books", "courses", "housing")


def amount(raw: int, decimals: int) -> Decimal:
    """Smallest units of the token in the application's units, exactly."""
    return Decimal(raw).scaleb(-decimals, _EXACT)


def tier(score: int, low_tier: str = "poor") -> str:
    """The application's word for a score."""
    if score >= 90:
        return "gold"
    if score >= 75:
        return "silver"
    return "bronze" if score >= 60 else low_tier


def row_id(table: str, key: str) -> str:
    """The id (uuid) of the row of `table` for `key`: a wallet, a loan's id, a transaction's hash, an event's id."""
    return str(uuid5(NAMESPACE_URL, f"chaintrue:demo:{table}:{key}"))


def build(
    truth: chain.ChainTruth, *, decimals: int = 7, low_tier: str = "poor", cancelled_status: str = "cancelled"
) -> Tables:
    """The rows of all tables, those first that others refer to; tables that nothing is known of are empty."""
    statuses = {**STATUSES, "Cancelled": cancelled_status}
    changes = [change for change in truth.score_changes if _is_wallet(change.wallet)]
    loans = [loan for loan in truth.loans.values() if _is_wallet(loan.borrower)]
    providers = {wallet: provider for wallet, provider in truth.providers.items() if _is_wallet(wallet)}
    scores = {wallet: score for wallet, score in truth.scores.items() if _is_wallet(wallet)}
    filled: dict[str, Iterable[Row]] = {
        "users": [_user(wallet, truth) for wallet in sorted({loan.borrower for loan in loans} | {*providers, *scores})],
        "vendors": [
            _vendor(wallet, vendor, number)
            for number, (wallet, vendor) in enumerate(truth.vendors.items())
            if _is_wallet(wallet)
        ],
        "loans": [_loan(loan, truth, decimals=decimals, status=statuses[loan.status]) for loan in loans],
        "transactions": [
            _transaction(transaction, truth)
            for transaction in truth.transactions.values()
            if (transaction.contract, transaction.function) in TRANSACTION_TYPES and _is_wallet(transaction.source)
        ],
        "reputation_cache": [_cached(wallet, score, truth, low_tier) for wallet, score in scores.items()],
        "reputation_history": [_change(change) for change in changes],
        "liquidity_positions": [_position(wallet, held, decimals) for wallet, held in providers.items()],
    }
    return {table: {str(row["id"]): row for row in filled.get(table, ())} for table in schema.TABLES}


async def insert(connection: asyncpg.Connection, tables: Mapping[str, Mapping[str, Row]]) -> None:
    """COPY the rows into the application's database, all or none; a column that a row does not name has its default."""
    async with connection.transaction():
        for table in schema.TABLES:
            alike: dict[tuple[str, ...], list[tuple[Value, ...]]] = {}
            for row in tables.get(table, {}).values():
                alike.setdefault(tuple(row), []).append(tuple(row.values()))
            for columns, records in alike.items():
                await connection.copy_records_to_table(table, records=records, columns=columns)


def _is_wallet(address: str) -> bool:
    return address.startswith("G")


def _user(wallet: str, truth: chain.ChainTruth) -> Row:
    return {
        "id": row_id("users", wallet),
        "wallet_address": wallet,
        "display_name": f"Student {wallet[1:5]}",
        "status": "active",
        "created_at": truth.started_at,
        "updated_at": truth.started_at,
    }


def _vendor(wallet: str, vendor: chain.Vendor, number: int) -> Row:
    registered_at = recording.instant(vendor.registered_at)
    return {
        "id": row_id("vendors", wallet),
        "wallet_address": wallet,
        "name": vendor.name,
        "type": _VENDOR_TYPES[number % len(_VENDOR_TYPES)],
        "verified": vendor.status == "approved",
        "status": vendor.status,
        "created_at": registered_at,
        "updated_at": registered_at,
    }


def _loan(loan: chain.Loan, truth: chain.ChainTruth, *, decimals: int, status: str) -> Row:
    due_dates = [installment.due_date for installment in loan.repayment_schedule]
    total_repayment = loan.total_amount + loan.interest_amount + loan.service_fee_amount
    return {
        "id": row_id("loans", str(loan.loan_id)),
        "loan_id": str(loan.loan_id),
        "user_wallet": loan.borrower,
        "vendor_id": row_id("vendors", loan.vendor)
        if loan.vendor in truth.vendors and _is_wallet(loan.vendor)
        else None,
        "amount": amount(loan.total_amount, decimals),
        "loan_amount": amount(loan.total_amount - loan.guarantee_amount, decimals),
        "guarantee": amount(loan.guarantee_amount, decimals),
        "interest_rate": amount(loan.interest_rate_bps, 2),
        "total_repayment": amount(total_repayment, decimals),
        "remaining_balance": amount(loan.remaining_balance, decimals),
        "term": max(1, len(due_dates)),
        "status": status,
        "next_payment_due": recording.instant(due_dates[0]) if due_dates else None,
        "created_at": loan.creation.closed_at - SIGNING,
        "updated_at": loan.last_written_at,
        "completed_at": loan.completed_at,
        "defaulted_at": loan.defaulted_at,
    }


def _transaction(transaction: chain.Transaction, truth: chain.ChainTruth) -> Row:
    return {
        "id": row_id("transactions", transaction.hash),
        "user_wallet": transaction.source,
        "hash": None,
        "transaction_hash": transaction.hash,
        "type": TRANSACTION_TYPES[transaction.contract, transaction.function],
        "status": "success" if transaction.succeeded else "failed",
        "xdr": envelopes.recorded(truth, transaction),
        "result": json.dumps({"ledger": transaction.ledger, "successful": transaction.succeeded}),
        "error": transaction.error,
        "submitted_at": transaction.closed_at - SIGNING / 2,
        "completed_at": transaction.closed_at,
        "updated_at": transaction.closed_at,
    }


def _cached(wallet: str, score: int, truth: chain.ChainTruth, low_tier: str) -> Row:
    return {
        "id": row_id("reputation_cache", wallet),
        "user_id": row_id("users", wallet),
        "wallet_address": wallet,
        "score": score,
        "tier": tier(score, low_tier),
        "last_synced_at": truth.closed_at,
        "created_at": truth.started_at,
        "updated_at": truth.closed_at,
    }


def _change(change: chain.ScoreChange) -> Row:
    return {
        "id": row_id("reputation_history", change.event_id),
        "event_id": change.event_id,
        "user_wallet": change.wallet,
        "old_score": change.old,
        "new_score": change.new,
        "change_amount": change.new - change.old,
        "reason": change.reason,
        "transaction_hash": change.transaction_hash,
        "ledger_sequence": change.ledger,
        "created_at": change.closed_at,
    }


def _position(wallet: str, provider: chain.Provider, decimals: int) -> Row:
    return {
        "id": row_id("liquidity_positions", wallet),
        "provider_wallet": wallet,
        "deposited_amount": amount(provider.cost, decimals),
        "created_at": provider.movements[0].closed_at,
        "updated_at": provider.movements[-1].closed_at,
    }
