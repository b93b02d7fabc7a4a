"""The subject `vendors`: the status by wallet, where the app has that column."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import text

from shared import errors, ledger_entry
from shared.stepfi import entries, statuses, values
from shared.stepfi.events import Role
from sweeper import contradiction, long_values, questions
from sweeper.comparison import Case, KeyRange
from sweeper.context import Context
from sweeper.contradiction import Verdict
from sweeper.digest import spec
from sweeper.digest.spec import Digest
from sweeper.model import Answer, Both, Finding, Row
from sweeper.spot_checks import Checked
from sweeper.stepfi.wallets import ByWallet, Rule, Surroundings
from sweeper.storage import ANY_TIME, Storage

_WORDS = frozenset(map(statuses.app_vendor_status, statuses.VENDOR_STATUSES))
_STORED = text("""
SELECT vendor, position, status FROM chain.vendors
WHERE contract = :contract AND vendor = ANY(CAST(:wallets AS text[]))
""")


class Vendors(ByWallet):
    """`vendors.status`, where the app has that column. `verified` and all else are the app's own."""

    table = "vendors"
    expected_table = "chain.vendors"
    row_key = "wallet_address"
    entity_kind = "vendor"
    optional = True  # the column `status` came with later versions of the app
    required = ("id", "wallet_address", "status", "updated_at")
    writes = frozenset({"status", "updated_at"})
    storage = Storage(
        examples={
            "status": tuple(map(statuses.app_vendor_status, statuses.VENDOR_STATUSES)),
            "updated_at": (ANY_TIME,),
        }
    )

    def app_query(self, _: Context, *, cut: bool = False) -> str:
        wallet, status = (long_values.column(name, cut=cut) for name in ("wallet_address", "status"))
        return f"SELECT row.id, {wallet}, {status}, row.updated_at FROM vendors AS row"

    def expected_query(self) -> tuple[str, Mapping[str, Any]]:
        query = """
SELECT entity.key, entity.position, entity.vendor, entity.status AS chain_status, lower(entity.status) AS status
FROM chain.vendors AS entity"""
        return query, {}

    def key_range(self) -> KeyRange:
        return KeyRange.of_prefix(f"vendor:{self._settings.vendor_registry}:")

    def chain_key(self, row: Row, _: Surroundings) -> str | None:
        wallet = row["wallet_address"]
        return None if wallet is None else f"vendor:{self._settings.vendor_registry}:{wallet}"

    def app_key(self, expected: Row) -> str:
        return str(expected["vendor"])

    def digest(self) -> Digest:
        """A word that is none of the registry's is a finding even of a vendor whom no wallet or no entity names."""
        words = ", ".join(f"'{word}'" for word in sorted(_WORDS))
        return Digest(
            app_key=f"CASE WHEN it.status IN ({words}) THEN it.wallet_address ELSE coalesce(it.wallet_address, '') END",
            expected_key="it.vendor",
            forms=(spec.text("status"), spec.flag(f"it.status IN ({words})")),
        )

    def rules(self) -> Sequence[Rule]:
        return (stale_vendor, unknown_word)

    async def confirm(self, context: Context, findings: Sequence[Finding]) -> list[Finding]:
        """Read the vendors' entries."""
        about = [one for one in findings if one.chain_key is not None]
        keys = {one.identity: entries.vendor_key(self._registry, _wallet(one)) for one in about}
        answered = await questions.ask(context, list(keys.values()))
        stored = await self._stored(context, [_wallet(one) for one in about])
        watermark = context.watermark.ledger
        return [
            _judge_vendor(one, answered.get(keys[one.identity]), stored=stored.get(_wallet(one)), watermark=watermark)
            if one.identity in keys
            else one
            for one in findings
        ]

    async def spot_check(self, context: Context, keys: Sequence[str]) -> list[Checked]:
        """Hold the vendors' entries against our tables."""
        wallets = {key: key.rpartition(":")[2] for key in keys}
        asked = {key: entries.vendor_key(self._registry, wallet) for key, wallet in wallets.items()}
        answered = await questions.ask(context, list(asked.values()))
        stored = await self._stored(context, list(wallets.values()))
        return [
            Checked.of(
                key,
                held := answered.get(asked[key]),
                _compare(held, stored.get(wallet), watermark=context.watermark.ledger),
            )
            for key, wallet in wallets.items()
        ]

    @property
    def _registry(self) -> str:
        return self._settings.vendor_registry or ""

    async def _stored(self, context: Context, wallets: Sequence[str]) -> dict[str, Row]:
        async with context.chain.connect() as connection:
            rows = await connection.execute(_STORED, {"contract": self._registry, "wallets": list(wallets)})
            return {row.vendor: dict(row._mapping) for row in rows}


def stale_vendor(case: Case, around: Surroundings) -> Finding | None:
    row, expected = case.row, case.expected
    if row is None or expected is None or expected["status"] in (None, row["status"]):
        return None
    wallet, said = row["wallet_address"], "nothing" if row["status"] is None else row["status"]
    return Finding(
        drift_class="stale_status",
        table="vendors",
        row_id=str(row["id"]),
        entity=f"vendor:{wallet}",
        words=f"The app has vendor {wallet} as {said}; on chain it is {expected['chain_status']}.",
        columns={"status": Both(row["status"], expected["status"])},
        evidence={"known_at": expected["position"]},
        update={"status": expected["status"], "updated_at": around.now},
        guard={name: row[name] for name in ("wallet_address", "status", "updated_at")},
        chain_key=expected["key"],
    )


def unknown_word(case: Case, _: Surroundings) -> Finding | None:
    """A status that is none of the registry's, where the chain does not say what it ought to be: only reported."""
    row = case.row
    if row is None or row["status"] in _WORDS:
        return None
    wallet, said = row["wallet_address"], "no status" if row["status"] is None else f"the status {row['status'][:60]!r}"
    return Finding(
        drift_class="stale_status",
        table="vendors",
        row_id=str(row["id"]),
        entity=None if wallet is None else f"vendor:{wallet}",
        words=f"The app gives vendor {wallet or row['id']} {said}, which is none of {', '.join(sorted(_WORDS))}.",
        columns={"status": Both(row["status"], None)},
    )


def _wallet(finding: Finding) -> str:
    return (finding.chain_key or "").rpartition(":")[2]


def _entry(held: questions.Held | None) -> values.VendorEntry | None:
    if held is None or held.xdr is None:
        return None
    try:
        told = entries.read(Role.VENDOR_REGISTRY, ledger_entry.read_entry(held.xdr))
    except errors.Undecodable:
        return None
    return next((one for one in told if isinstance(one, values.VendorEntry)), None)


def _compare(held: questions.Held | None, stored: Row | None, *, watermark: int) -> Verdict:
    entry = _entry(held)
    known = None if stored is None else stored["status"]
    differs = entry is not None and known is not None and entry.status != known
    return contradiction.judge(
        held,
        readable=entry is not None,
        differing=["status"] if differs else [],
        known_at=None if stored is None else stored["position"],
        watermark=watermark,
    )


def _judge_vendor(finding: Finding, held: questions.Held | None, *, stored: Row | None, watermark: int) -> Finding:
    """What is to be written has to be what the entry says: our tables may have moved on since the comparison."""
    answer, chain, contradicts = _compare(held, stored, watermark=watermark)
    entry = _entry(held)
    if answer is Answer.CONFIRMED and entry is not None:
        said = statuses.app_vendor_status(entry.status)
        if said != finding.update["status"]:
            answer, chain = Answer.UNKNOWN, f"the vendor has moved on since it was compared: it is {entry.status}"
    proof = {} if held is None else held.evidence()
    return replace(finding, answer=answer, contradicted_by=held if contradicts else None).with_evidence(
        chain=chain, **proof
    )
