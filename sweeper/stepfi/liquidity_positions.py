"""The subject `liquidity_positions`: what a provider paid in, at average cost. Reported unless the settings say otherwise."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import text

from shared import coverage_store, errors, ledger_entry
from shared.stepfi import amounts, entries, values
from shared.stepfi.events import Role
from shared.stepfi.settings import Stepfi
from sweeper import contradiction, long_values, questions
from sweeper.comparison import Case, KeyRange
from sweeper.context import Context
from sweeper.contradiction import Verdict
from sweeper.digest import spec
from sweeper.digest.spec import Digest
from sweeper.model import Answer, Both, Finding, Row
from sweeper.questions import Held
from sweeper.spot_checks import Checked
from sweeper.stepfi.wallets import TOLERANCE_SETTING, ByWallet, Rule, Surroundings
from sweeper.storage import ANY_TIME, Storage

TABLE = "liquidity_positions"

# Deposits and withdrawals that were missed change the cost, and no entry tells it.
_MISSED = coverage_store.missed_sql(contract="entity.contract", since="entity.cost_since", until="entity.position")

_STORED = text("""
SELECT provider, position, shares FROM chain.liquidity_positions
WHERE contract = :contract AND provider = ANY(CAST(:providers AS text[]))
""")


class LiquidityPositions(ByWallet):
    """`deposited_amount` by the provider's wallet, which the app's table does not keep unique."""

    table = TABLE
    expected_table = "chain.liquidity_positions"
    row_key = "provider_wallet"
    entity_kind = "provider"
    required = ("id", "provider_wallet", "deposited_amount", "updated_at")
    writes = frozenset({"deposited_amount", "updated_at"})
    inserts = frozenset({"provider_wallet", "deposited_amount", "updated_at"})

    def __init__(self, settings: Stepfi) -> None:
        super().__init__(settings)
        smallest = amounts.to_app(1, decimals=settings.amount_decimals)
        self.storage = Storage(
            amounts=frozenset({"deposited_amount"}),
            tolerance=settings.amount_tolerance,
            tolerance_setting=TOLERANCE_SETTING,
            examples={"deposited_amount": (smallest,), "updated_at": (ANY_TIME,)},
        )

    def app_query(self, _: Context, *, cut: bool = False) -> str:
        wallet = long_values.column("provider_wallet", cut=cut)
        return f"SELECT row.id, {wallet}, row.deposited_amount, row.updated_at FROM liquidity_positions AS row"

    def expected_query(self) -> tuple[str, Mapping[str, Any]]:
        cost = amounts.to_app_sql("entity.cost", decimals=self._settings.amount_decimals)
        query = f"""
SELECT entity.key, entity.position, entity.provider AS provider_wallet, entity.shares,
  CASE WHEN NOT {_MISSED} THEN {cost} END AS deposited_amount,
  to_timestamp(entity.created_at) AS created_at
FROM chain.liquidity_positions AS entity"""
        return query, {}

    def key_range(self) -> KeyRange:
        return KeyRange.of_prefix(f"provider:{self._settings.liquidity_pool}:")

    def chain_key(self, row: Row, _: Surroundings) -> str | None:
        return f"provider:{self._settings.liquidity_pool}:{row['provider_wallet']}"

    def app_key(self, expected: Row) -> str:
        return str(expected["provider_wallet"])

    def digest(self) -> Digest:
        forms = (spec.number("deposited_amount", tolerance=self._settings.amount_tolerance),)
        return Digest(app_key="it.provider_wallet", expected_key="it.provider_wallet", forms=forms)

    async def confirm(self, context: Context, findings: Sequence[Finding]) -> list[Finding]:
        """Read the entries of the shares: a deposit that our tables do not know yet would show in them."""
        told = await self._ask(context, [one.chain_key for one in findings if one.chain_key is not None])
        return [one if one.chain_key is None else _judge_position(one, *told[one.chain_key]) for one in findings]

    async def spot_check(self, context: Context, keys: Sequence[str]) -> list[Checked]:
        """Hold the entries of the providers' shares against our tables."""
        told = await self._ask(context, keys)
        return [Checked.of(key, held, verdict) for key, (held, verdict) in told.items()]

    async def _ask(self, context: Context, keys: Sequence[str]) -> dict[str, tuple[Held | None, Verdict]]:
        """The entries of the positions' shares, and what each says to our tables."""
        pool = self._settings.liquidity_pool or ""
        providers = {key: key.rpartition(":")[2] for key in keys}
        asked = {key: entries.shares_key(pool, provider) for key, provider in providers.items()}
        answered = await questions.ask(context, list(asked.values()))
        parameters = {"contract": pool, "providers": list(providers.values())}
        async with context.chain.connect() as connection:
            stored = {row.provider: row for row in await connection.execute(_STORED, parameters)}
        found = {key: (answered.get(asked[key]), stored.get(provider)) for key, provider in providers.items()}
        watermark = context.watermark.ledger
        return {key: (held, _compare(held, row, watermark=watermark)) for key, (held, row) in found.items()}

    def rules(self) -> Sequence[Rule]:
        return (stale_position, missing_position)


def stale_position(case: Case, around: Surroundings) -> Finding | None:
    row, expected = case.row, case.expected
    if row is None or expected is None or expected["deposited_amount"] is None:
        return None
    held, cost = row["deposited_amount"], expected["deposited_amount"]
    if not amounts.differ(held, cost, tolerance=around.tolerance):
        return None
    wallet, said = row["provider_wallet"], "nothing" if held is None else f"{held:f}"
    return Finding(
        drift_class="stale_value",
        table=TABLE,
        row_id=str(row["id"]),
        entity=f"provider:{wallet}",
        words=f"The app says {wallet} paid in {said}; by its deposits and withdrawals it is {cost:f}.",
        columns={"deposited_amount": Both(held, cost)},
        evidence={"known_at": expected["position"], "shares": expected["shares"]},
        update={"deposited_amount": cost, "updated_at": around.now},
        guard={name: row[name] for name in ("provider_wallet", "deposited_amount", "updated_at")},
        chain_key=expected["key"],
    )


def missing_position(case: Case, around: Surroundings) -> Finding | None:
    """A position that was left again needs no row."""
    expected = case.expected
    if case.row is not None or expected is None or not expected["shares"]:
        return None
    if not expected["provider_wallet"].startswith("G") or not around.is_due(expected["created_at"]):
        return None
    wallet, cost = expected["provider_wallet"], expected["deposited_amount"]
    insert = {"provider_wallet": wallet, "deposited_amount": cost, "updated_at": around.now}
    return Finding(
        drift_class="missing_row",
        table=TABLE,
        row_id=None,
        entity=f"provider:{wallet}",
        words=f"On chain {wallet} holds {expected['shares']:f} shares of the pool; the app has no row for it.",
        evidence={"known_at": expected["position"], "shares": expected["shares"]},
        insert=None if cost is None else insert,
        chain_key=expected["key"],
    )


def _judge_position(finding: Finding, held: Held | None, verdict: Verdict) -> Finding:
    """What was paid in is known from events alone; it is right only where the shares are those that it was compared with."""
    answer, chain, contradicts = verdict
    if answer is Answer.CONFIRMED and _shares(held) != finding.evidence["shares"]:
        answer, chain = Answer.UNKNOWN, "the position has moved on since it was compared"
    proof = {} if held is None else held.evidence()
    return replace(finding, answer=answer, contradicted_by=held if contradicts else None).with_evidence(
        chain=chain, **proof
    )


def _shares(held: Held | None) -> int | None:
    if held is None or held.xdr is None:
        return None
    try:
        told = entries.read(Role.LIQUIDITY_POOL, ledger_entry.read_entry(held.xdr))
    except errors.Undecodable:
        return None
    return next((one.shares for one in told if isinstance(one, values.SharesEntry)), None)


def _compare(held: Held | None, stored: Any, *, watermark: int) -> Verdict:
    """Only the shares stand in the entry; what they cost is known from events alone."""
    shares, known = _shares(held), None if stored is None else stored.shares
    return contradiction.judge(
        held,
        readable=shares is not None,
        differing=["shares"] if known is not None and shares is not None and known != shares else [],
        known_at=None if stored is None else stored.position,
        watermark=watermark,
    )
