"""The subject `vendors`: the status by wallet, where the app has that column."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from shared import errors, ledger_entry
from shared.stepfi import entries, statuses, values
from shared.stepfi.events import Role
from sweeper import questions
from sweeper.comparison import Case, KeyRange, pages
from sweeper.context import Context
from sweeper.digest import spec
from sweeper.digest.spec import Digest
from sweeper.model import Answer, Both, Finding, Row
from sweeper.stepfi.wallets import ByWallet, Rule, Surroundings


class Vendors(ByWallet):
    """`vendors.status`, where the app has that column. `verified` and all else are the app's own."""

    table = "vendors"
    expected_table = "chain.vendors"
    row_key = "wallet_address"
    optional = True  # the column `status` came with later versions of the app
    required = ("id", "wallet_address", "status", "updated_at")
    writes = frozenset({"status", "updated_at"})

    def app_query(self, _: Context) -> str:
        return "SELECT row.id, row.wallet_address, row.status, row.updated_at FROM vendors AS row"

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
        return Digest(
            app_key="it.wallet_address",
            expected_key="it.vendor",
            forms=(spec.text("status"),),
            rows_without_entity=False,
        )

    def rules(self) -> Sequence[Rule]:
        return (stale_vendor,)

    async def confirm(self, context: Context, findings: Sequence[Finding]) -> list[Finding]:
        """Read the vendors' entries."""
        registry = self._settings.vendor_registry or ""
        keys = {one.identity: entries.vendor_key(registry, _wallet(one)) for one in findings}
        answered: dict[str, questions.Held] = {}
        for some in pages(list(keys.values()), len(keys) or 1):
            answered |= await questions.ask(context, some)
        return [_judge_vendor(finding, answered.get(keys[finding.identity])) for finding in findings]


def stale_vendor(case: Case, around: Surroundings) -> Finding | None:
    row, expected = case.row, case.expected
    if row is None or expected is None or expected["status"] in (None, row["status"]):
        return None
    wallet = row["wallet_address"]
    return Finding(
        drift_class="stale_status",
        table="vendors",
        row_id=str(row["id"]),
        entity=f"vendor:{wallet}",
        words=f"The app has vendor {wallet} as {row['status']}; on chain it is {expected['chain_status']}.",
        columns={"status": Both(row["status"], expected["status"])},
        evidence={"known_at": expected["position"]},
        update={"status": expected["status"], "updated_at": around.now},
        guard={name: row[name] for name in ("wallet_address", "status", "updated_at")},
        chain_key=expected["key"],
    )


def _wallet(finding: Finding) -> str:
    return (finding.chain_key or "").rpartition(":")[2]


def _judge_vendor(finding: Finding, held: questions.Held | None) -> Finding:
    entry = None
    if held is not None and held.xdr is not None:
        try:
            told = entries.read(Role.VENDOR_REGISTRY, ledger_entry.read_entry(held.xdr))
            entry = next((one for one in told if isinstance(one, values.VendorEntry)), None)
        except errors.Undecodable:
            entry = None
    if held is None or entry is None:
        return replace(finding, answer=Answer.UNKNOWN).with_evidence(chain="no node gave a readable entry")
    same = statuses.app_vendor_status(entry.status) == finding.update["status"]
    chain = "the entry says the same as our tables" if same else f"the entry says {entry.status}: it has moved on"
    return replace(finding, answer=Answer.CONFIRMED if same else Answer.UNKNOWN).with_evidence(
        chain=chain, **held.evidence()
    )
