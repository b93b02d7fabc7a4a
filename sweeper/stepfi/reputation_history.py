"""The subject `reputation_history`: one row a SCORECHGD event."""

from collections.abc import Mapping, Sequence
from typing import Any

from sweeper import long_values
from sweeper.comparison import Case, KeyRange
from sweeper.context import Context
from sweeper.digest import spec
from sweeper.digest.spec import Digest
from sweeper.model import Finding, Row
from sweeper.stepfi.wallets import ByWallet, Rule, Surroundings
from sweeper.storage import ANY_TIME, Storage


class ReputationHistory(ByWallet):
    """Insert-only, by event id: an event without a row is missing, and a row is never changed."""

    table = "reputation_history"
    expected_table = "chain.score_changes"
    row_key = "event_id"
    entity_kind = "event"
    required = ("id", "event_id", "user_wallet", "old_score", "new_score", "change_amount", "reason")
    inserts = frozenset({*required, "transaction_hash", "ledger_sequence", "created_at"} - {"id"})
    storage = Storage(examples={"ledger_sequence": ((1 << 32) - 1,), "created_at": (ANY_TIME,)})

    def app_query(self, _: Context, *, cut: bool = False) -> str:
        return f"SELECT row.id, {long_values.column('event_id', cut=cut)} FROM reputation_history AS row"

    def expected_query(self) -> tuple[str, Mapping[str, Any]]:
        query = """
SELECT entity.key, entity.position AS event_id, entity.user_address AS user_wallet, entity.old_score, entity.new_score,
  entity.new_score - entity.old_score AS change_amount, entity.reason, entity.tx_hash AS transaction_hash,
  entity.ledger AS ledger_sequence, to_timestamp(entity.closed_at) AS created_at
FROM chain.score_changes AS entity"""
        return query, {}

    def key_range(self) -> KeyRange:
        return KeyRange.of_prefix(f"score_change:{self._settings.reputation}:")

    def chain_key(self, row: Row, _: Surroundings) -> str | None:
        return f"score_change:{self._settings.reputation}:{row['event_id']}"

    def app_key(self, expected: Row) -> str:
        return str(expected["event_id"])

    async def relate(self, context: Context, rows: Sequence[Row], expected: Mapping[str, Row]) -> dict[str, Any]:  # noqa: ARG002 - the base's signature
        """The columns that the live table has."""
        return {"columns": frozenset(context.tables[self.table].types)}

    def digest(self) -> Digest:
        """A row is there, missing, or one of several; what it says was written once and is left alone."""
        return Digest(
            app_key="it.event_id", expected_key="it.event_id", forms=(spec.PRESENT,), rows_without_entity=False
        )

    def rules(self) -> Sequence[Rule]:
        return (missing_event,)


def missing_event(case: Case, around: Surroundings) -> Finding | None:
    expected = case.expected
    if case.row is not None or expected is None or not expected["user_wallet"].startswith("G"):
        return None
    if not around.is_due(expected["created_at"]):
        return None
    event, wallet = expected["event_id"], expected["user_wallet"]
    told = f"{expected['old_score']} to {expected['new_score']} ({expected['reason']})"
    columns = case.related["columns"]
    return Finding(
        drift_class="missing_row",
        table="reputation_history",
        row_id=None,
        entity=f"event:{event}",
        words=f"On chain the score of {wallet} went from {told}; the app's history has no row for that event.",
        insert={name: value for name, value in expected.items() if name in ReputationHistory.inserts & columns},
        evidence={"transaction": expected["transaction_hash"], "ledger": expected["ledger_sequence"]},
        chain_key=expected["key"],
    )
