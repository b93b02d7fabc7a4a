"""Reading the evidence that the links of rows are decided from: the rows without a loan's id, and the loans of their wallets.

All reads go in pages; what stays in memory is what matched, and the loans of a row's wallet and time that have no row.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from sqlalchemy import text

from shared.stepfi import amounts
from shared.stepfi.settings import Stepfi
from sweeper import app_access
from sweeper.context import Context
from sweeper.digest.match import Ids
from sweeper.model import Row
from sweeper.stepfi import app_pages, loan_hashes, loan_terms, loan_unknowns
from sweeper.stepfi.loan_ids import NEVER_ON_CHAIN, is_provisional, is_real_id
from sweeper.stepfi.loan_links import Evidence, Links, resolve
from sweeper.stepfi.loan_terms import Strength, Terms

_PAIRS = 1000
"""Pairs of a row and a loan that are read at once."""
_MOST_CONTRADICTED = 50
_WALLET_LENGTH = 200
"""No address is as long; a text that is longer names none, and is not read whole."""
_NO_PROVISIONAL_ID = "the row's id is neither a loan's number nor provisional"
_NUMBER_OF_NONE = "the row's id is a number that the contract has not given out"

# Rows whose id is the number of no loan claim their loans too, whatever the id is: a loan must not get a second row because of
# a typo. The cast stands in CASE, so that it is made of digits alone.
_ROWS = rf"""
SELECT row.id, left(row.loan_id, {_WALLET_LENGTH}) AS loan_id, left(row.user_wallet, {_WALLET_LENGTH}) AS user_wallet,
  row.vendor_id, row.amount, row.guarantee, row.created_at, left(vendor.wallet_address, {_WALLET_LENGTH}) AS vendor_wallet
FROM loans AS row LEFT JOIN vendors AS vendor ON vendor.id = row.vendor_id
WHERE CASE WHEN row.loan_id ~ '^(0|[1-9][0-9]{{{{0,19}}}})$'
    THEN CAST(row.loan_id AS numeric) NOT BETWEEN 1 AND {{given_out}} ELSE true END
  AND (row.status IS NULL OR CAST(row.status AS text) NOT IN ({", ".join(f"'{word}'" for word in sorted(NEVER_ON_CHAIN))}))
"""


@dataclass(slots=True)
class _Collected:
    """The evidence about one row while it is read. `reason`: why nothing can prove a link of it; None of a provisional id."""

    created_at: datetime | None
    reason: str | None
    hashed: set[str] = field(default_factory=set)
    terms: set[str] = field(default_factory=set)
    near: dict[str, tuple[str, ...]] = field(default_factory=dict)
    contradicted: list[str] = field(default_factory=list)

    def add(self, key: str, match: loan_terms.Match, *, has_row: bool) -> None:
        """Keep the loan: one that has its row only where its terms are the row's."""
        if match.strength is Strength.EQUAL and self.reason is None:
            self.terms.add(key)
            return
        if has_row:
            return
        if match.strength is not Strength.CONTRADICTED:
            self.near[key] = match.reasons if self.reason is None else (*match.reasons, self.reason)
        elif len(self.contradicted) < _MOST_CONTRADICTED:
            self.contradicted.append(key)


def terms_of(settings: Stepfi) -> Terms:
    """Return what counts as equal, by the settings."""
    return Terms(
        window=timedelta(seconds=settings.link_window_seconds),
        skew=timedelta(seconds=settings.clock_skew_seconds),
        tolerance=settings.amount_tolerance,
        unit=amounts.to_app(1, decimals=settings.amount_decimals),
    )


async def read_links(context: Context, settings: Stepfi, *, among: Ids | None) -> Links:
    """Return the links of all rows without a loan's id. `among`: ids that are known to hold all of them; None: not known."""
    terms = terms_of(settings)
    collected: dict[str, _Collected] = {}
    with_row: set[str] = set()
    is_any = False
    query = _ROWS.format(given_out=await loan_unknowns.given_out(context, settings))
    async for rows in app_pages.pages(context, query) if among is None else app_pages.of_ids(context, query, among):
        is_any = True
        await _collect(context, settings, terms, rows, collected, with_row)
    if is_any:
        for row_id, named in (await loan_hashes.read(context, settings)).items():
            one = collected.setdefault(row_id, _Collected(named.created_at, _why_not(named.loan_id)))
            one.hashed |= named.loans
            one.near = dict(named.near) | one.near
            one.created_at = one.created_at or named.created_at
        hashed = {key for one in collected.values() for key in (*one.hashed, *one.near)}
        with_row |= await _with_row(context, sorted(hashed - with_row))
    evidence = await _evidence(context, settings, terms, collected)
    closed_at = context.watermark.closed_at
    return resolve(
        evidence,
        with_row=with_row,
        watermark_at=None if closed_at is None else datetime.fromtimestamp(closed_at, UTC),
    )


async def _evidence(
    context: Context, settings: Stepfi, terms: Terms, collected: Mapping[str, _Collected]
) -> dict[str, Evidence]:
    """Return what was collected, with the loans that the tables do not know and that rows linked by terms may be."""
    by_terms = any(one.terms for one in collected.values())
    spans = await loan_unknowns.read(context, settings) if by_terms else []
    evidence = {}
    for row_id, one in collected.items():
        unknown: tuple[str, ...] = ()
        if one.terms and one.created_at is not None:
            unknown = loan_unknowns.possible(spans, row_made_at=one.created_at, window=terms.window)
        evidence[row_id] = Evidence(
            hashed=one.hashed,
            terms=one.terms,
            near=one.near,
            contradicted=one.contradicted,
            unknown=unknown,
            closes_at=terms.closes_at(one.created_at),
        )
    return evidence


async def _collect(
    context: Context,
    settings: Stepfi,
    terms: Terms,
    rows: Sequence[Row],
    collected: dict[str, _Collected],
    with_row: set[str],
) -> None:
    """Compare a page of rows with the loans of their wallets and times."""
    async for pairs in _pairs(context, settings, terms, rows):
        have_row = await _with_row(context, sorted({loan["key"] for _, loan in pairs}))
        for row, loan in pairs:
            match, has_row = loan_terms.match(row, loan, terms), loan["key"] in have_row
            if has_row and match.strength is not Strength.EQUAL:
                continue
            if has_row:
                with_row.add(loan["key"])
            made = _Collected(row["created_at"], _why_not(row["loan_id"] or ""))
            collected.setdefault(str(row["id"]), made).add(loan["key"], match, has_row=has_row)


def _why_not(loan_id: str) -> str | None:
    """Why a row with this id may be a loan, and yet nothing proves that it is; None of a provisional id."""
    if is_provisional(loan_id):
        return None
    return _NUMBER_OF_NONE if is_real_id(loan_id) else _NO_PROVISIONAL_ID


async def _pairs(
    context: Context, settings: Stepfi, terms: Terms, rows: Sequence[Row]
) -> AsyncIterator[list[tuple[Row, Row]]]:
    """Yield rows with the loans of their wallets that were created at about their time, some pairs at once.

    OFFSET 0 keeps PostgreSQL from reading all loans for a join: it looks each wallet up by the index on borrowers.
    """
    decimals = settings.amount_decimals
    statement = text(f"""
SELECT row.number, loan.key, loan.borrower, loan.vendor, to_timestamp(loan.created_at) AS created_at,
  {amounts.to_app_sql("loan.total_amount", decimals=decimals)} AS amount,
  {amounts.to_app_sql("loan.guarantee_amount", decimals=decimals)} AS guarantee
FROM unnest(CAST(:wallets AS text[]), CAST(:earliest AS numeric[]), CAST(:latest AS numeric[]))
  WITH ORDINALITY AS row (wallet, earliest, latest, number)
CROSS JOIN LATERAL (
  SELECT * FROM chain.loans AS one
  WHERE one.borrower = row.wallet AND one.contract = :contract
    AND (one.created_at IS NULL OR one.created_at BETWEEN row.earliest AND row.latest)
  OFFSET 0
) AS loan
""")
    named = [(row, wallet) for row in rows if (wallet := loan_terms.wallet_of(row)) is not None and "\0" not in wallet]
    if not named:
        return
    bounds: list[tuple[Decimal, Decimal]] = [terms.seconds(row["created_at"]) for row, _ in named]
    parameters = {
        "wallets": [wallet for _, wallet in named],
        "earliest": [earliest for earliest, _ in bounds],
        "latest": [latest for _, latest in bounds],
        "contract": settings.creditline,
    }
    async with context.chain.connect() as connection, connection.stream(statement, parameters) as result:
        async for partition in result.mappings().partitions(_PAIRS):
            yield [(named[pair["number"] - 1][0], dict(pair)) for pair in partition]


async def _with_row(context: Context, keys: Sequence[str]) -> set[str]:
    """Return those of the loans (keys) whose own id a row of the app has."""
    by_id = {key.rpartition(":")[2]: key for key in keys}
    if not by_id:
        return set()
    statement = text("SELECT loan_id FROM loans WHERE loan_id = ANY(:ids)")
    async with app_access.transaction(context.app) as connection:
        return {by_id[row.loan_id] for row in await connection.execute(statement, {"ids": list(by_id)})}
