"""Reading which provisional rows the transactions of the application name: the proofs by transaction hash.

A `loan_create` row speaks for a loan if its hash made the loan, and for a provisional row if its envelope carries the row's id.
Anybody may have written such an envelope, so it proves nothing unless the loan's borrower is the row's wallet. Where the row's id
is not provisional, or its wallet is missing or written in another way, the row may still be the loan: a possible match.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy import text

from shared.stepfi.settings import Stepfi
from sweeper import app_access
from sweeper.context import Context
from sweeper.model import Row
from sweeper.stepfi import app_pages, envelope_arguments, envelopes, loan_terms
from sweeper.stepfi.loan_ids import NEVER_ON_CHAIN, is_provisional, is_real_id

_HASH_DIGITS = 64

_CREATIONS = f"""
SELECT row.id, {{hashes}} AS hashes, CASE WHEN octet_length(row.xdr) <= {envelopes.MAX_TEXT} THEN row.xdr END AS xdr
FROM transactions AS row WHERE row.type = 'loan_create'
"""

_ROWS = text(f"""
SELECT row.id, row.loan_id, row.user_wallet, row.created_at FROM loans AS row WHERE row.loan_id = ANY(CAST(:ids AS text[]))
  AND (row.status IS NULL OR CAST(row.status AS text) NOT IN ({", ".join(f"'{word}'" for word in sorted(NEVER_ON_CHAIN))}))
""")

_MADE = text("""
SELECT key, borrower, created_tx, created_at FROM chain.loans
WHERE contract = :contract AND created_tx = ANY(:hashes) AND borrower IS NOT NULL
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A loan, and the transaction that made it; `at`: its close time."""

    key: str
    borrower: str
    at: datetime


@dataclass(slots=True)
class Named:
    """A row that envelopes name, with the loans of its own wallet that their transactions made.

    near   loans that the row may be, for an envelope names it, with the reasons why that proves nothing
    """

    created_at: datetime | None
    loan_id: str
    loans: set[str] = field(default_factory=set)
    near: dict[str, tuple[str, ...]] = field(default_factory=dict)


async def read(context: Context, settings: Stepfi) -> dict[str, Named]:
    """Return the provisional rows (ids) that a transaction proves something about."""
    named: dict[str, Named] = {}
    table = context.tables.get("transactions")
    if table is None or not (table.has("type") and table.has("xdr")):
        return named
    columns = [name for name in ("transaction_hash", "hash") if table.has(name)]
    hashes = f"ARRAY[{', '.join(f'lower(left(btrim(row.{name}), {_HASH_DIGITS + 1}))' for name in columns)}]::text[]"
    async for rows in app_pages.pages(context, _CREATIONS.format(hashes=hashes)):
        loans_of_word = _loans_by_word(rows, await _loans_of(context, settings, rows))
        for row in await _rows_called(context, loans_of_word):
            own = [made for made in loans_of_word[row["loan_id"]] if loan_terms.wallet_of(row) in (None, made.borrower)]
            if own:  # a row without a time is as old as its loan
                created_at = row["created_at"] or max(made.at for made in own)
                found = named.setdefault(str(row["id"]), Named(created_at, row["loan_id"]))
                for made in own:
                    if reasons := _doubts(row, made):
                        found.near[made.key] = reasons
                    else:
                        found.loans.add(made.key)
    return named


def _doubts(row: Row, made: Made) -> tuple[str, ...]:
    """Return why the transaction that names the row does not prove that the row is the loan."""
    doubts = []
    if row["user_wallet"] != made.borrower:
        doubts.append("a transaction names the row, but the row's wallet is missing or written in another way")
    if not is_provisional(row["loan_id"]):
        doubts.append("a transaction names the row, but the row's id is not provisional")
    return tuple(doubts)


def _loans_by_word(rows: Iterable[Row], loans: Mapping[object, Sequence[Made]]) -> dict[str, list[Made]]:
    """Return what may be a row's own id in the rows' envelopes, each with the loans that the transactions made."""
    found: dict[str, list[Made]] = defaultdict(list)
    for row in rows:
        if loans.get(row["id"]):
            for word in envelope_arguments.named_strings(row["xdr"]):
                if word and not is_real_id(word) and "\0" not in word:  # no text of PostgreSQL holds a NUL
                    found[word] += loans[row["id"]]
    return found


async def _rows_called(context: Context, names: Iterable[str]) -> Sequence[Row]:
    wanted = sorted(names)
    if not wanted:
        return []
    async with context.paces["app"].working(), app_access.transaction(context.app) as connection:
        return [dict(row._mapping) for row in await connection.execute(_ROWS, {"ids": wanted})]


async def _loans_of(context: Context, settings: Stepfi, rows: Sequence[Row]) -> dict[object, list[Made]]:
    """Return the loans that the transactions of these rows made, by the stored hashes or else by the envelope's own."""
    stored = {row["id"]: {one for one in row["hashes"] if one} for row in rows}
    loans = await _made_by(context, settings, stored)
    others = {row["id"]: _own_hashes(row, context.passphrase) for row in rows if not loans.get(row["id"])}
    return loans | await _made_by(context, settings, others)


def _own_hashes(row: Row, passphrase: str) -> set[str]:
    """Return the envelope's hashes on chain: the outer one of a fee bump, and the inner one, which may have been taken before.

    Read only where the stored hash made no loan: it costs a fraction of a millisecond, and there may be a million rows.
    """
    envelope = envelopes.read((row["xdr"] or "").lstrip(), passphrase=passphrase)
    return set() if envelope is None else set(envelope.hashes)


async def _made_by(context: Context, settings: Stepfi, hashes: Mapping[object, set[str]]) -> dict[object, list[Made]]:
    every = sorted(set().union(*hashes.values()))
    made: dict[str, list[Made]] = defaultdict(list)
    if every:
        async with context.chain.connect() as connection:
            found = await connection.execute(_MADE, {"contract": settings.creditline, "hashes": every})
            for row in found:
                at = datetime.fromtimestamp(int(row.created_at or 0), UTC)
                made[row.created_tx].append(Made(key=row.key, borrower=row.borrower, at=at))
    return {row: [loan for one in sorted(own) for loan in made.get(one, ())] for row, own in hashes.items()}
