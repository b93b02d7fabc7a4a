"""Which differences between an application's row and the true one are drift.

The chain owns some columns outright. Some it only fills: the application's own value stands, a NULL does not. The rest is the
application's affair, whatever it holds.
"""

from collections.abc import Mapping

from deploy.demo.app.rows import Row

OWNED: Mapping[str, frozenset[str]] = {
    "loans": frozenset(
        {"loan_id", "user_wallet", "amount", "loan_amount", "guarantee", "remaining_balance", "status", "vendor_id"}
    ),
    "vendors": frozenset({"status"}),
    "reputation_cache": frozenset({"score", "tier"}),
    "liquidity_positions": frozenset({"deposited_amount"}),
}
FILLED: Mapping[str, frozenset[str]] = {"loans": frozenset({"completed_at", "defaulted_at"})}


def difference(table: str, found: Row, true: Row) -> frozenset[str]:
    """The columns in which `found` contradicts the chain; `true` is the row that agrees with it."""
    owned = {column for column in OWNED.get(table, ()) if found[column] != true[column]}
    filled = {column for column in FILLED.get(table, ()) if (found[column] is None) != (true[column] is None)}
    return frozenset(owned | filled)
