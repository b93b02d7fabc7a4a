"""The subject `reputation_cache`: score and tier together, by wallet."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from sqlalchemy import text

from shared import errors, ledger_entry
from shared.stepfi import entries, statuses, values
from shared.stepfi.events import Role
from sweeper import app_access, questions
from sweeper.comparison import Case, KeyRange
from sweeper.context import Context
from sweeper.digest import spec
from sweeper.digest.spec import Digest
from sweeper.model import Answer, Both, Finding, Row, Value
from sweeper.stepfi.wallets import ByWallet, Rule, Surroundings


class ReputationCache(ByWallet):
    """Score and tier together; `last_synced_at` is set with them."""

    table = "reputation_cache"
    expected_table = "chain.scores"
    row_key = "wallet_address"
    required = ("id", "user_id", "wallet_address", "score", "tier", "last_synced_at", "updated_at")
    writes = frozenset({"score", "tier", "last_synced_at", "updated_at"})
    inserts = frozenset({"user_id", "wallet_address", "score", "tier", "last_synced_at", "updated_at"})
    looks_up: ClassVar[Mapping[str, tuple[str, ...]]] = {"users": ("id", "wallet_address")}

    def app_query(self, _: Context) -> str:
        return (
            "SELECT row.id, row.wallet_address, row.score, row.tier, row.last_synced_at, row.updated_at "
            "FROM reputation_cache AS row"
        )

    def expected_query(self) -> tuple[str, Mapping[str, Any]]:
        score = "CASE WHEN entity.position < map.position THEN 0 ELSE entity.score END"
        query = f"""
SELECT entity.key, entity.position, entity.user_address AS wallet_address, {score} AS score,
  {statuses.tier_sql(f"({score})", low="low")} AS tier,
  (SELECT to_timestamp(min(change.closed_at)) FROM chain.score_changes AS change
   WHERE change.contract = entity.contract AND change.user_address = entity.user_address) AS created_at
FROM chain.scores AS entity LEFT JOIN chain.reputation_maps AS map ON map.contract = entity.contract"""
        return query, {"low": self._settings.low_tier}

    def key_range(self) -> KeyRange:
        return KeyRange.of_prefix(f"score:{self._settings.reputation}:")

    def chain_key(self, row: Row, _: Surroundings) -> str | None:
        return f"score:{self._settings.reputation}:{row['wallet_address']}"

    def app_key(self, expected: Row) -> str:
        return str(expected["wallet_address"])

    async def relate(self, context: Context, rows: Sequence[Row], expected: Mapping[str, Row]) -> dict[str, Any]:
        """For users without a row: their ids in `users`, without which none could be written."""
        if rows:
            return {}
        wallets = [one["wallet_address"] for one in expected.values()]
        statement = text("SELECT id, wallet_address FROM users WHERE wallet_address = ANY(:wallets)")
        async with app_access.transaction(context.app) as connection:
            found = await connection.execute(statement, {"wallets": wallets})
            return {"users": {row.wallet_address: row.id for row in found}}

    def digest(self) -> Digest:
        forms = (spec.number("score"), spec.text("tier"))
        return Digest(app_key="it.wallet_address", expected_key="it.wallet_address", forms=forms)

    def rules(self) -> Sequence[Rule]:
        return (stale_score, missing_score)

    async def confirm(self, context: Context, findings: Sequence[Finding]) -> list[Finding]:
        """Everybody's score is in one entry: one question for all of them."""
        if not findings:
            return []
        key = entries.instance_key(self._settings.reputation or "")
        held = (await questions.ask(context, [key])).get(key)
        scores = _score_map(held)
        return [_judge_score(finding, held, scores) for finding in findings]


def stale_score(case: Case, around: Surroundings) -> Finding | None:
    """Score and tier are one value in two columns; a user that the chain's whole map does not hold has 0."""
    row, expected = case.row, case.expected
    if row is None or (expected is None and not around.map_seen):
        return None
    score = 0 if expected is None else expected["score"]
    if score is None:
        return None
    tier = statuses.tier(score, low=around.low_tier)
    columns = {name: Both(row[name], value) for name, value in (("score", score), ("tier", tier)) if row[name] != value}
    if not columns:
        return None
    wallet = row["wallet_address"]
    update: dict[str, Value] = {"score": score, "tier": tier, "last_synced_at": around.now, "updated_at": around.now}
    return Finding(
        drift_class="stale_value",
        table="reputation_cache",
        row_id=str(row["id"]),
        entity=f"user:{wallet}",
        words=f"The app gives {wallet} {row['score']} ({row['tier']}); on chain the score is {score} ({tier}).",
        columns=columns,
        evidence={} if expected is None else {"known_at": expected["position"]},
        update=update,
        guard={name: row[name] for name in ("wallet_address", "score", "tier", "last_synced_at", "updated_at")},
        chain_key=wallet,
    )


def missing_score(case: Case, around: Surroundings) -> Finding | None:
    expected = case.expected
    if case.row is not None or expected is None or not expected["wallet_address"].startswith("G"):
        return None
    if expected["score"] is None or not around.is_due(expected["created_at"]):
        return None
    wallet = expected["wallet_address"]
    user = case.related["users"].get(wallet)
    words = f"On chain {wallet} has the score {expected['score']}; the app has no row for it"
    insert = {
        "user_id": user,
        "wallet_address": wallet,
        "score": expected["score"],
        "tier": expected["tier"],
        "last_synced_at": around.now,
        "updated_at": around.now,
    }
    return Finding(
        drift_class="missing_row",
        table="reputation_cache",
        row_id=None,
        entity=f"user:{wallet}",
        words=f"{words}, nor for the user, and users are never made." if user is None else f"{words}.",
        insert=None if user is None else insert,
        chain_key=expected["key"],
    )


def _score_map(held: questions.Held | None) -> dict[str, int] | None:
    if held is None or held.xdr is None:
        return None
    try:
        told = entries.read(Role.REPUTATION, ledger_entry.read_entry(held.xdr))
    except errors.Undecodable:
        return None
    return next((dict(one.scores) for one in told if isinstance(one, values.ScoreMapEntry)), None)


def _judge_score(finding: Finding, held: questions.Held | None, scores: dict[str, int] | None) -> Finding:
    if held is None or scores is None:
        return replace(finding, answer=Answer.UNKNOWN).with_evidence(chain="no node gave the scores")
    wallet = (finding.entity or "").removeprefix("user:")
    now = scores.get(wallet, 0)
    source: Mapping[str, Value] = finding.update or finding.insert or {"score": now}
    same = now == source["score"]
    chain = (
        "the entry says the same as our tables" if same else f"the entry says {now}: it has moved on from our tables"
    )
    return replace(finding, answer=Answer.CONFIRMED if same else Answer.UNKNOWN).with_evidence(
        chain=chain, **held.evidence()
    )
