"""The subject `loans`: what its rows ought to hold, and what the chain is asked about them."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from sqlalchemy import text

from shared.stepfi import amounts, entries, statuses
from shared.stepfi.settings import Stepfi
from sweeper import app_access, long_values, questions
from sweeper.comparison import Case, Comparison, KeyRange
from sweeper.context import Context
from sweeper.digest import spec
from sweeper.digest.match import Ids
from sweeper.digest.spec import Digest
from sweeper.model import Finding, Row, Value
from sweeper.spot_checks import Checked
from sweeper.stepfi import (
    loan_candidates,
    loan_confirm,
    loan_findings,
    loan_ids,
    loan_rules,
    loan_unknowns,
    loan_values,
)
from sweeper.stepfi.loan_links import Links
from sweeper.stepfi.loan_values import Surroundings
from sweeper.stepfi.wallets import TOLERANCE_SETTING
from sweeper.storage import ANY_TIME, Storage

_APP = """
SELECT row.id, {texts}, row.vendor_id, row.amount, row.loan_amount, row.guarantee, row.remaining_balance,
  row.completed_at, row.defaulted_at, row.created_at, row.updated_at
FROM loans AS row LEFT JOIN vendors AS vendor ON vendor.id = row.vendor_id
"""

_COUNTED = text(f"""
SELECT counter.loan_count,
  (SELECT count(*) FROM chain.loans WHERE {loan_unknowns.KNOWN} AND loan_id <= counter.loan_count) AS known
FROM chain.creditlines AS counter WHERE counter.contract = :contract
""")

_STORED = text("""
SELECT loan_id, position, borrower, vendor, status, remaining_balance, total_amount, guarantee_amount
FROM chain.loans WHERE contract = :contract AND loan_id = ANY(CAST(CAST(:ids AS text[]) AS numeric[]))
""")


class Loans(Comparison[Surroundings]):
    """`loans` against `chain.loans`; provisional rows by their links."""

    table = loan_findings.TABLE
    expected_table = "chain.loans"
    row_key = "loan_id"
    entity_kind = "loan"
    required = (
        "id", "loan_id", "user_wallet", "vendor_id", "amount", "loan_amount", "guarantee", "status", "remaining_balance",
        "completed_at", "defaulted_at", "created_at", "updated_at",
    )  # fmt: skip
    writes = loan_values.WRITES
    inserts = loan_values.INSERTS
    looks_up: ClassVar[Mapping[str, tuple[str, ...]]] = {"vendors": ("id", "wallet_address")}

    def __init__(self, settings: Stepfi) -> None:
        self._settings = settings
        self._contract = settings.creditline or ""
        self.grace_seconds = settings.insert_grace_seconds
        words = [statuses.app_loan_status(one, cancelled=settings.cancelled_status) for one in statuses.LOAN_STATUSES]
        self.storage = Storage(
            together=loan_values.TOGETHER,
            amounts=loan_values.AMOUNTS,
            tolerance=settings.amount_tolerance,
            tolerance_setting=TOLERANCE_SETTING,
            examples={
                "loan_id": (str((1 << 64) - 1),),
                "status": tuple(words),
                **dict.fromkeys(loan_values.AMOUNTS, (amounts.to_app(1, decimals=settings.amount_decimals),)),
                **dict.fromkeys(("completed_at", "defaulted_at", "created_at", "updated_at"), (ANY_TIME,)),
            },
        )

    @property
    def compares(self) -> str:
        """Return what is compared, and the settings that the links follow from."""
        settings = self._settings
        return repr(
            (super().compares, settings.link_window_seconds, settings.clock_skew_seconds, settings.amount_tolerance)
        )

    def app_query(self, _: Context, *, cut: bool = False) -> str:
        own = (long_values.column(name, cut=cut) for name in ("loan_id", "user_wallet", "status"))
        vendor = long_values.column("wallet_address", cut=cut, of="vendor", named="vendor_wallet")
        return _APP.format(texts=", ".join((*own, vendor)))

    def expected_query(self) -> tuple[str, Mapping[str, Any]]:
        def amount(expression: str) -> str:
            return amounts.to_app_sql(expression, decimals=self._settings.amount_decimals)

        total_repayment = amount("(entity.total_amount + entity.interest_amount + entity.service_fee_amount)")
        query = f"""
SELECT entity.key, entity.position, entity.loan_id::text AS loan_id, entity.borrower AS user_wallet, entity.vendor,
  entity.status AS chain_status, {statuses.app_loan_status_sql("entity.status", cancelled="cancelled")} AS status,
  {amount("entity.total_amount")} AS amount, {amount("entity.guarantee_amount")} AS guarantee,
  {amount("entity.remaining_balance")} AS remaining_balance, {total_repayment} AS total_repayment,
  entity.interest_rate_bps / 100.0 AS interest_rate,
  CASE WHEN entity.schedule IS NOT NULL THEN greatest(1, jsonb_array_length(entity.schedule)) END AS term,
  to_timestamp(entity.created_at) AS created_at,
  to_timestamp(entity.completed_at) AS completed_at, to_timestamp(entity.defaulted_at) AS defaulted_at
FROM chain.loans AS entity"""
        return query, {"cancelled": self._settings.cancelled_status}

    def key_range(self) -> KeyRange:
        return KeyRange.of_prefix(f"loan:{self._contract}:")

    def chain_key(self, row: Row, surroundings: Surroundings) -> str | None:
        if loan_ids.is_real_id(row["loan_id"] or ""):
            return f"loan:{self._contract}:{row['loan_id']}"
        link = surroundings.links.of_row.get(str(row["id"]))
        return None if link is None else link.key

    def app_key(self, expected: Row) -> str:
        return str(expected["loan_id"])

    def entity_of(self, name: str) -> str | None:
        """Return `loan:NAME`; None for an id that the app made up, which names no loan of the chain."""
        return None if loan_ids.is_provisional(name) else super().entity_of(name)

    def digest(self) -> Digest:
        """A time that is missing, or that another status left behind, is the app's own: on chain every status has its time.

        A row without an id is one that no entity has, and is looked at as such.
        """
        tolerance = self._settings.amount_tolerance
        never = ", ".join(f"'{word}'" for word in sorted(loan_ids.NEVER_ON_CHAIN))
        provisional = " OR ".join(f"starts_with(it.loan_id, '{prefix}')" for prefix in loan_ids.PROVISIONAL_PREFIXES)
        timed = (
            "CASE it.status WHEN 'completed' THEN it.completed_at IS NOT NULL"
            " WHEN 'defaulted' THEN it.defaulted_at IS NOT NULL ELSE true END"
        )
        return Digest(
            app_key=f"CASE WHEN it.status IN ({never}) AND ({provisional}) THEN NULL ELSE coalesce(it.loan_id, '') END",
            expected_key="it.loan_id",
            forms=(
                spec.text("user_wallet"),
                spec.text("status"),
                spec.text("vendor_wallet", "vendor"),
                spec.number("amount", tolerance=tolerance),
                spec.number("guarantee", tolerance=tolerance),
                spec.number("remaining_balance", tolerance=tolerance),
                spec.flag(timed),
            ),
        )

    def rows_of(self, around: Surroundings, keys: Sequence[str]) -> list[str]:
        """Return the rows that may be one of the loans, or whose absence one of the loans puts in doubt."""
        wanted = set(keys)
        return [row for row, link in around.links.of_row.items() if not wanted.isdisjoint(link.loans)]

    async def surroundings(self, context: Context, *, alone: Ids | None) -> Surroundings:
        closed_at = context.watermark.closed_at
        links, counted = Links(), None
        if alone is None or len(alone):  # else every row has its loan: nothing can be linked, absent or abandoned
            links = await loan_candidates.read_links(context, self._settings, among=alone)
            async with context.chain.connect() as connection:
                counted = (await connection.execute(_COUNTED, {"contract": self._contract})).one_or_none()
        return Surroundings(
            links=links,
            now=context.now,
            watermark_at=None if closed_at is None else datetime.fromtimestamp(closed_at, UTC),
            link_window=timedelta(seconds=self._settings.link_window_seconds),
            clock_skew=timedelta(seconds=self._settings.clock_skew_seconds),
            insert_grace=timedelta(seconds=self._settings.insert_grace_seconds),
            tolerance=self._settings.amount_tolerance,
            cancelled=self._settings.cancelled_status,
            all_known=counted is not None and counted.known == counted.loan_count,
        )

    async def relate(self, context: Context, rows: Sequence[Row], expected: Mapping[str, Row]) -> dict[str, Any]:  # noqa: ARG002 - the base's signature
        """Return the app's vendors (ids) by wallet, of the loans' vendors; `vendor_choices` where several have one wallet."""
        wallets = sorted({one["vendor"] for one in expected.values() if one["vendor"] is not None})
        statement = text("SELECT id, wallet_address FROM vendors WHERE wallet_address = ANY(:wallets) ORDER BY id")
        async with app_access.transaction(context.app) as connection:
            found = await connection.execute(statement, {"wallets": wallets})
            ids: dict[str, list[Value]] = defaultdict(list)
            for row in found:
                ids[row.wallet_address].append(row.id)
        return {
            "vendors": {wallet: some[0] for wallet, some in ids.items() if len(some) == 1},
            "vendor_choices": {wallet: some for wallet, some in ids.items() if len(some) > 1},
        }

    def rules(self) -> Sequence[Callable[[Case, Surroundings], Finding | None]]:
        return loan_rules.RULES

    async def confirm(self, context: Context, findings: Sequence[Finding]) -> list[Finding]:
        """Read the loans' entries: what is to be written has to be what they say now."""
        numbers = {finding.identity: loan_confirm.number_of(finding) for finding in findings}
        keys = {one: entries.loan_key(self._contract, one) for one in numbers.values() if one is not None}
        if not keys:
            return list(findings)
        instance = entries.instance_key(self._contract)
        answered = await questions.ask(context, [instance, *keys.values()])
        counter = loan_confirm.counter(answered.get(instance))
        stored = await self._stored(context, list(keys))
        confirmed = []
        for finding in findings:
            number = numbers[finding.identity]
            if number is not None:
                held = answered.get(keys[number])
                finding = loan_confirm.judge(  # noqa: PLW2901 - the finding, judged
                    finding,
                    number,
                    held,
                    stored=stored.get(number),
                    counter=counter,
                    watermark=context.watermark.ledger,
                    settings=self._settings,
                )
            confirmed.append(finding)
        return confirmed

    async def spot_check(self, context: Context, keys: Sequence[str]) -> list[Checked]:
        """Hold the loans' entries against our tables; the counter is asked for only where an entry is missing."""
        numbers = {key: int(key.rpartition(":")[2]) for key in keys}
        asked = {key: entries.loan_key(self._contract, number) for key, number in numbers.items()}
        answered = await questions.ask(context, list(asked.values()))
        counter = None
        if any(held.xdr is None for held in answered.values()):
            instance = entries.instance_key(self._contract)
            counter = loan_confirm.counter((await questions.ask(context, [instance])).get(instance))
        stored = await self._stored(context, list(numbers.values()))
        return [
            Checked.of(
                key,
                held := answered.get(asked[key]),
                loan_confirm.compare(
                    number, held, stored=stored.get(number), counter=counter, watermark=context.watermark.ledger
                ),
            )
            for key, number in numbers.items()
        ]

    async def _stored(self, context: Context, numbers: Sequence[int]) -> dict[int, Row]:
        """What our tables say of the loans, in the chain's own words."""
        parameters = {"contract": self._contract, "ids": [str(number) for number in numbers]}
        async with context.chain.connect() as connection:
            rows = await connection.execute(_STORED, parameters)
            return {int(row.loan_id): dict(row._mapping) for row in rows}
