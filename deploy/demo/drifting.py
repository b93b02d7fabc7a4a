"""What is done to the application's rows in the demo, chosen and put in words. Pure."""

from collections.abc import Iterator
from decimal import Decimal

from deploy.demo.app import chain, drift
from deploy.demo.app.rows import Row, Tables
from deploy.demo.app.scene import Change, Delete, Injection, Insert, Statement, Update

VARIANTS = frozenset({"status_paid_word", "completion_missing", "balance_of_the_app"}) | frozenset(
    {"app_defaulted_though_active", "default_missing", "status_pending_though_cancelled"}
    | {"provisional_by_hash_alone", "provisional_referenced", "provisional_of_linked_loan"}
)
"""Left out: the story has ten loans, and these are second forms of a class that the demo shows by another one."""
MAX_COLUMNS = 3

_NAMES = {
    "loans": ("loan", ("loan_id",)),
    "transactions": ("transaction", ("transaction_hash", "hash")),
    "vendors": ("vendor", ("name",)),
    "reputation_cache": ("score of", ("wallet_address",)),
    "reputation_history": ("score change of", ("user_wallet",)),
    "liquidity_positions": ("position of", ("provider_wallet",)),
}
"""What a person calls a row, and the columns that name it, the first that is filled."""


def choose(truth: chain.ChainTruth) -> frozenset[str]:
    """The injections: one at least of every class, and changes of which nothing may be reported."""
    wanted = drift.ALL - VARIANTS
    return wanted - drift.plan(truth, wanted).unavailable.keys()


def describe(injection: Injection, *, before: Tables, after: Tables) -> Iterator[str]:
    """Which row, and what is done to it."""
    for change in injection.changes:
        if not isinstance(change, Statement) and (words := _describe(change, before, after)):
            yield words


def _describe(change: Change, before: Tables, after: Tables) -> str:
    match change:
        case Update(table=table, row_id=row_id, columns=columns):
            old = before[table].get(row_id, {})
            told = [f"{name} = {_value(value)}" for name, value in columns.items() if old.get(name) != value]
            more = f" and {len(told) - MAX_COLUMNS} more" if len(told) > MAX_COLUMNS else ""
            return f"{_name(table, old or after[table][row_id])}: {', '.join(told[:MAX_COLUMNS])}{more}" if told else ""
        case Insert(table=table, row=row):
            status = f", status = {row['status']}" if "status" in row else ""
            return f"{_name(table, row)}: a row more{status}"
        case Delete(table=table, row_id=row_id):
            return f"{_name(table, before[table][row_id])}: its row is deleted"
    return ""


def _name(table: str, row: Row) -> str:
    words, columns = _NAMES.get(table, (f"a row of {table}", ("id",)))
    return f"{words} {next((row[column] for column in columns if row[column]), '')}"


def _value(value: object) -> str:
    if value is None:
        return "NULL"
    words = format(value, "f") if isinstance(value, Decimal) else str(value)
    return words if len(words) <= 64 else f"{words[:12]}…"
