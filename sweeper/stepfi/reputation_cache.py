"""The subject `reputation_cache`: score and tier together, by wallet."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, ClassVar

from sqlalchemy import text

from shared import errors, ledger_entry
from shared.stepfi import entries, statuses, values
from shared.stepfi.events import Role
from shared.stepfi.settings import Stepfi
from sweeper import app_access, contradiction, long_values, questions
from sweeper.comparison import Case, KeyRange
from sweeper.context import Context, Since
from sweeper.contradiction import Verdict
from sweeper.digest import spec
from sweeper.digest.spec import Digest
from sweeper.model import Answer, Both, Finding, Row, Value
from sweeper.spot_checks import Checked
from sweeper.stepfi.wallets import ByWallet, Rule, Surroundings, is_address
from sweeper.storage import ANY_TIME, Storage

_SCORED = frozenset({"score", "tier", "last_synced_at"})
"""One value in several columns: written together or not at all."""
_SCORE = "CASE WHEN entity.position < map.position THEN 0 ELSE entity.score END"
# Who left the map has 0 since the map was read: that is the newer fact.
_POSITION = "greatest(entity.position, map.position)"
_FROM = "FROM chain.scores AS entity LEFT JOIN chain.reputation_maps AS map ON map.contract = entity.contract"
# Who is not in our tables has 0, once the whole map was read.
_STORED = text(f"""
SELECT wanted.wallet, {_POSITION} AS position,
  CASE WHEN entity.key IS NOT NULL THEN {_SCORE} WHEN map.key IS NOT NULL THEN 0 END AS score
FROM unnest(CAST(:wallets AS text[])) AS wanted (wallet)
LEFT JOIN chain.scores AS entity ON entity.contract = :contract AND entity.user_address = wanted.wallet
LEFT JOIN chain.reputation_maps AS map ON map.contract = :contract
""")

_MAP_SEEN = text("""
SELECT EXISTS (SELECT FROM chain.facts WHERE key = :key AND kind = 'observed' AND position <= :since)
""")


class ReputationCache(ByWallet):
    """Score and tier together; `last_synced_at` is set with them."""

    table = "reputation_cache"
    expected_table = "chain.scores"
    row_key = "wallet_address"
    entity_kind = "user"
    changed_at = _POSITION
    spot_whole = True  # all scores stand in one entry
    required = ("id", "user_id", "wallet_address", "score", "tier", "last_synced_at", "updated_at")
    writes = frozenset({"score", "tier", "last_synced_at", "updated_at"})
    inserts = frozenset({"user_id", "wallet_address", "score", "tier", "last_synced_at", "updated_at"})
    looks_up: ClassVar[Mapping[str, tuple[str, ...]]] = {"users": ("id", "wallet_address")}

    def __init__(self, settings: Stepfi) -> None:
        super().__init__(settings)
        self.storage = Storage(
            together={one: _SCORED - {one} for one in _SCORED},
            marks=frozenset({"last_synced_at"}),
            examples={
                "score": (0, 100),
                "tier": tuple(statuses.tier(score, low=settings.low_tier) for score in (0, 60, 75, 90)),
                **dict.fromkeys(("last_synced_at", "updated_at"), (ANY_TIME,)),
            },
        )

    def app_query(self, _: Context, *, cut: bool = False) -> str:
        wallet, tier = (long_values.column(name, cut=cut) for name in ("wallet_address", "tier"))
        return f"SELECT row.id, {wallet}, row.score, {tier}, row.last_synced_at, row.updated_at FROM reputation_cache AS row"

    def expected_query(self) -> tuple[str, Mapping[str, Any]]:
        query = f"""
SELECT entity.key, {_POSITION} AS position, entity.user_address AS wallet_address, {_SCORE} AS score,
  {statuses.tier_sql(f"({_SCORE})", low="low")} AS tier,
  (SELECT to_timestamp(min(change.closed_at)) FROM chain.score_changes AS change
   WHERE change.contract = entity.contract AND change.user_address = entity.user_address) AS created_at
{_FROM}"""
        return query, {"low": self._settings.low_tier}

    def key_range(self) -> KeyRange:
        return KeyRange.of_prefix(f"score:{self._settings.reputation}:")

    def chain_key(self, row: Row, _: Surroundings) -> str | None:
        return f"score:{self._settings.reputation}:{row['wallet_address']}"

    def fact_keys(self, finding: Finding) -> Sequence[str]:
        """Return the user's own facts and those of the map: a score follows from both."""
        contract = self._settings.reputation
        return f"score:{contract}:{_wallet(finding)}", f"score_map:{contract}"

    def app_key(self, expected: Row) -> str:
        return str(expected["wallet_address"])

    async def relate(self, context: Context, rows: Sequence[Row], expected: Mapping[str, Row]) -> dict[str, Any]:
        """For users without a row: their ids in `users`, without which none can be written, and wallets of several users."""
        if rows:
            return {}
        wallets = [one["wallet_address"] for one in expected.values()]
        statement = text(
            "SELECT wallet_address, (array_agg(id ORDER BY id))[1:2] AS ids FROM users"
            " WHERE wallet_address = ANY(:wallets) GROUP BY wallet_address"
        )
        async with app_access.transaction(context.app) as connection:
            found = await connection.execute(statement, {"wallets": wallets})
            ids = {row.wallet_address: row.ids for row in found}
        return {
            "users": {wallet: own[0] for wallet, own in ids.items() if len(own) == 1},
            "of_several": frozenset(wallet for wallet, own in ids.items() if len(own) > 1),
        }

    def digest(self) -> Digest:
        forms = (spec.number("score"), spec.text("tier"))
        return Digest(app_key="it.wallet_address", expected_key="it.wallet_address", forms=forms)

    def rules(self) -> Sequence[Rule]:
        return (stale_score, missing_score)

    async def survey_changed(self, context: Context, since: Since) -> AsyncGenerator[Finding, None]:
        """Survey all, where the map was not seen by then: users of whom our tables hold nothing have had 0 only since."""
        parameters = {"key": f"score_map:{self._settings.reputation}", "since": since.position}
        async with context.chain.connect() as connection:
            was_seen = (await connection.execute(_MAP_SEEN, parameters)).scalar_one()
        survey = super().survey_changed(context, since) if was_seen else self.survey(context)
        async with aclosing(survey) as findings:
            async for finding in findings:
                yield finding

    async def confirm(self, context: Context, findings: Sequence[Finding]) -> list[Finding]:
        """Everybody's score is in one entry: one question for all of them."""
        asked = [one for one in findings if one.chain_key is not None]
        if not asked:
            return list(findings)
        held, scores = await self._ask(context)
        stored = await self._stored(context, [_wallet(one) for one in asked])
        watermark = context.watermark.ledger
        return [
            one
            if one.chain_key is None
            else _judge_score(one, held, scores, stored=stored.get(_wallet(one)), watermark=watermark)
            for one in findings
        ]

    async def spot_check(self, context: Context, keys: Sequence[str]) -> list[Checked]:
        """Hold the map of scores against our tables."""
        held, scores = await self._ask(context)
        wallets = {key: key.rpartition(":")[2] for key in keys}
        stored = await self._stored(context, list(wallets.values()))
        return [
            Checked.of(
                key, held, _compare(wallet, held, scores, stored.get(wallet), watermark=context.watermark.ledger)
            )
            for key, wallet in wallets.items()
        ]

    async def _ask(self, context: Context) -> tuple[questions.Held | None, dict[str, int] | None]:
        key = entries.instance_key(self._settings.reputation or "")
        held = (await questions.ask(context, [key])).get(key)
        return held, _score_map(held)

    async def _stored(self, context: Context, wallets: Sequence[str]) -> dict[str, Row]:
        """What our tables say of the users' scores, and since when."""
        parameters = {"contract": self._settings.reputation, "wallets": list(wallets)}
        async with context.chain.connect() as connection:
            return {row.wallet: dict(row._mapping) for row in await connection.execute(_STORED, parameters)}


def stale_score(case: Case, around: Surroundings) -> Finding | None:
    """Score and tier are one value in two columns; a user that the chain's whole map does not hold has 0.

    What is no address at all (in lower case, say) has no score either, but whose row it is nobody can say: it is only reported.
    """
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
    known = expected is not None or is_address(wallet)
    known_at = around.map_at if expected is None else expected["position"]
    update: dict[str, Value] = {"score": score, "tier": tier, "last_synced_at": around.now, "updated_at": around.now}
    return Finding(
        drift_class="stale_value",
        table="reputation_cache",
        row_id=str(row["id"]),
        entity=f"user:{wallet}",
        words=f"The app gives {wallet} {row['score']} ({row['tier']}); on chain the score is {score} ({tier})."
        if known
        else f"The app gives {wallet} {row['score']} ({row['tier']}), and that is no address: no score can be its own.",
        columns=columns,
        evidence={} if known_at is None else {"known_at": known_at},
        update=update if known else {},
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
    if wallet in case.related.get("of_several", ()):
        words += ", and several users have this wallet. A person has to decide which one counts"
    elif user is None:
        words += ", nor for the user, and users are never made"
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
        words=f"{words}.",
        evidence={"known_at": expected["position"]},
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


def _wallet(finding: Finding) -> str:
    return (finding.entity or "").removeprefix("user:")


def _compare(
    wallet: str,
    held: questions.Held | None,
    scores: Mapping[str, int] | None,
    stored: Row | None,
    *,
    watermark: int,
) -> Verdict:
    """The map is whole: who is not in it has 0. The entry holds more than scores, so it may be newer than they are."""
    now = (scores or {}).get(wallet, 0)
    known = None if stored is None else stored["score"]
    return contradiction.judge(
        held,
        readable=scores is not None,
        differing=["score"] if known is not None and known != now else [],
        known_at=None if stored is None else stored["position"],
        watermark=watermark,
    )


def _judge_score(
    finding: Finding,
    held: questions.Held | None,
    scores: Mapping[str, int] | None,
    *,
    stored: Row | None,
    watermark: int,
) -> Finding:
    """What is to be written has to be what the entry says: our tables may have moved on since the comparison."""
    wallet = _wallet(finding)
    answer, chain, contradicts = _compare(wallet, held, scores, stored, watermark=watermark)
    now = (scores or {}).get(wallet, 0)
    source: Mapping[str, Value] = finding.update or finding.insert or {"score": now}
    if answer is Answer.CONFIRMED and now != source["score"]:
        answer, chain = Answer.UNKNOWN, f"the score has moved on since it was compared: it is {now}"
    proof = {} if held is None else held.evidence()
    return replace(finding, answer=answer, contradicted_by=held if contradicts else None).with_evidence(
        chain=chain, **proof
    )
