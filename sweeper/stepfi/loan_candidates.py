"""Reading what the links of provisional rows are decided from: their rows, the loans that fit, and what envelopes name.

Both reads go in keyset pages; what stays in memory is only what matched.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import text

from shared.stepfi import amounts
from shared.stepfi.settings import Stepfi
from sweeper import app_access
from sweeper.comparison import pages
from sweeper.context import Context
from sweeper.digest import match
from sweeper.digest.match import Ids
from sweeper.model import Row
from sweeper.stepfi import envelope_arguments, envelopes, loan_unknowns
from sweeper.stepfi.loan_links import Links, matches, resolve

_PAGE_ROWS = 500

_PROVISIONAL_ROWS = r"""
SELECT row.id, row.loan_id, row.user_wallet, row.amount, row.guarantee, row.created_at, vendor.wallet_address AS vendor_wallet
FROM loans AS row LEFT JOIN vendors AS vendor ON vendor.id = row.vendor_id
WHERE row.loan_id ~ '^(pending[-_]|loan_)' AND coalesce(row.status, '') NOT IN ('under_review', 'rejected')
"""

_CREATIONS = f"""
SELECT row.id, {{hashes}} AS hashes, CASE WHEN octet_length(row.xdr) <= {envelopes.MAX_TEXT} THEN row.xdr END AS xdr
FROM transactions AS row WHERE row.type = 'loan_create'
"""


async def read_links(context: Context, settings: Stepfi, *, among: Ids | None) -> Links:
    """The links of all provisional rows. `among`: ids that are known to hold all of them, None where none are known."""
    named: dict[str, set[str]] | None = None
    by_hash: dict[str, list[str]] = {}
    by_terms: dict[str, list[str]] = {}
    made_at: dict[str, datetime] = {}
    async for rows in _pages(context, _PROVISIONAL_ROWS) if among is None else _of_ids(context, among):
        if named is None and rows:
            named = await _loans_named_by_envelopes(context, settings)
        for row in rows:
            if named and row["loan_id"] in named:
                by_hash[str(row["id"])] = sorted(named[row["loan_id"]])
        fitting = await _loans_of_same_terms(context, settings, rows)
        by_terms |= fitting
        made_at |= {str(row["id"]): row["created_at"] for row in rows if str(row["id"]) in fitting}
    candidates = {key for keys in (*by_hash.values(), *by_terms.values()) for key in keys}
    with_row = await _loans_with_row(context, sorted(candidates))
    unknown = await _unknown_of(context, settings, made_at)
    return resolve(by_hash=by_hash, by_terms=by_terms, with_row=with_row, unknown=unknown)


async def _unknown_of(
    context: Context, settings: Stepfi, made_at: Mapping[str, datetime]
) -> dict[str, tuple[str, ...]]:
    """The loans that our tables do not know and that the rows, by the moments at which they were made, may be."""
    spans = await loan_unknowns.read(context, settings) if made_at else []
    window = timedelta(seconds=settings.link_window_seconds)
    found = {row: loan_unknowns.possible(spans, row_made_at=at, window=window) for row, at in made_at.items()}
    return {row: said for row, said in found.items() if said}


async def _loans_named_by_envelopes(context: Context, settings: Stepfi) -> dict[str, set[str]]:
    """Provisional id to keys of loans: a transaction that made the loan carries an envelope that names the id."""
    named: dict[str, set[str]] = defaultdict(set)
    table = context.tables.get("transactions")
    if table is None or not (table.has("type") and table.has("xdr")):
        return named
    columns = [name for name in ("transaction_hash", "hash") if table.has(name)]
    hashes = f"ARRAY[{', '.join(f'lower(btrim(row.{name}))' for name in columns)}]::text[]"
    async for rows in _pages(context, _CREATIONS.format(hashes=hashes)):
        stored = {row["id"]: {one for one in row["hashes"] if one} for row in rows}
        loans = await _loans_of_rows(context, settings, stored)
        unmatched = {row["id"]: _own_hashes(row, context.passphrase) for row in rows if not loans.get(row["id"])}
        loans |= await _loans_of_rows(context, settings, unmatched)
        for row in rows:
            if loans.get(row["id"]):
                for word in envelope_arguments.named_strings(row["xdr"]):
                    named[word] |= loans[row["id"]]
    return named


def _own_hashes(row: Row, passphrase: str) -> set[str]:
    """What the row's envelope is called on chain: by its outer hash where it is a fee bump, by its inner one where the bump of an
    envelope that was taken already is what was stored.

    Read only where the stored hash made no loan: it costs a fraction of a millisecond, and there may be a million rows.
    """
    envelope = envelopes.read((row["xdr"] or "").lstrip(), passphrase=passphrase)
    return set() if envelope is None else set(envelope.hashes)


async def _loans_of_rows(
    context: Context, settings: Stepfi, hashes: Mapping[object, set[str]]
) -> dict[object, set[str]]:
    """The loans (keys) that the transactions of these rows made."""
    every = sorted(set().union(*hashes.values()))
    made = await _loans_made_by(context, settings, every) if every else {}
    return {row: {key for one in own for key in made.get(one, ())} for row, own in hashes.items()}


async def _loans_made_by(context: Context, settings: Stepfi, hashes: Sequence[str]) -> dict[str, set[str]]:
    statement = text("SELECT key, created_tx FROM chain.loans WHERE contract = :contract AND created_tx = ANY(:hashes)")
    made: dict[str, set[str]] = defaultdict(set)
    async with context.chain.connect() as connection:
        for row in await connection.execute(statement, {"contract": settings.creditline, "hashes": list(hashes)}):
            made[row.created_tx].add(row.key)
    return made


async def _loans_of_same_terms(context: Context, settings: Stepfi, rows: Sequence[Row]) -> dict[str, list[str]]:
    window = timedelta(seconds=settings.link_window_seconds)
    decimals = settings.amount_decimals
    statement = text(f"""
SELECT loan.key, loan.borrower, loan.vendor, to_timestamp(loan.created_at) AS created_at,
  {amounts.to_app_sql("loan.total_amount", decimals=decimals)} AS amount,
  {amounts.to_app_sql("loan.guarantee_amount", decimals=decimals)} AS guarantee
FROM unnest(CAST(:wallets AS text[]), CAST(:times AS timestamptz[])) AS row (wallet, created_at)
JOIN chain.loans AS loan ON loan.borrower = row.wallet AND loan.contract = :contract
  AND loan.created_at BETWEEN extract(epoch FROM row.created_at) AND extract(epoch FROM row.created_at) + :window
WHERE loan.terms_since IS NOT NULL
""")
    parameters = {
        "wallets": [row["user_wallet"] for row in rows],
        "times": [row["created_at"] for row in rows],
        "contract": settings.creditline,
        "window": Decimal(settings.link_window_seconds),
    }
    async with context.chain.connect() as connection:
        loans: dict[str, dict[str, Any]] = {}
        for one in await connection.execute(statement, parameters):
            loans[one.key] = dict(one._mapping)
    fitting = {
        str(row["id"]): [
            key for key, loan in loans.items() if matches(row, loan, window=window, tolerance=settings.amount_tolerance)
        ]
        for row in rows
    }
    return {row: keys for row, keys in fitting.items() if keys}


async def _loans_with_row(context: Context, keys: Sequence[str]) -> set[str]:
    """Those of the loans (keys) whose own id a row of the app has."""
    by_id = {key.rpartition(":")[2]: key for key in keys}
    if not by_id:
        return set()
    statement = text("SELECT loan_id FROM loans WHERE loan_id = ANY(:ids)")
    async with app_access.transaction(context.app) as connection:
        return {by_id[row.loan_id] for row in await connection.execute(statement, {"ids": list(by_id)})}


async def _of_ids(context: Context, ids: Ids) -> AsyncIterator[list[Row]]:
    """The provisional rows among the ids."""
    statement = text(f"{_PROVISIONAL_ROWS} AND row.id = ANY(CAST(CAST(:ids AS text[]) AS uuid[])) ORDER BY row.id")
    for some in pages(ids, _PAGE_ROWS):
        async with context.paces["app"].working(), app_access.transaction(context.app) as connection:
            found = await connection.execute(statement, {"ids": match.texts(some)})
            rows: list[Row] = [dict(row._mapping) for row in found]
        if rows:
            yield rows


async def _pages(context: Context, query: str) -> AsyncIterator[list[Row]]:
    """The rows of a query with `row.id` and a WHERE, in the order of their ids."""
    after: object = None
    while True:
        bound = "" if after is None else " AND row.id > :after"
        statement = text(f"{query}{bound} ORDER BY row.id LIMIT {_PAGE_ROWS}")
        async with context.paces["app"].working(), app_access.transaction(context.app) as connection:
            result = await connection.execute(statement, {} if after is None else {"after": after})
            rows: list[Row] = [dict(row._mapping) for row in result]
        if rows:
            yield rows
        if len(rows) < _PAGE_ROWS:
            return
        after = rows[-1]["id"]
