"""Which provisional rows are which loans. Pure: `resolve`; and the reading for it.

By transaction hash first: a `loan_create` row whose hash made the loan, and whose envelope names the provisional id. Else by
wallet, vendor, total and guarantee, the loan created within the link window after the row. A link counts only if it is unique
in both directions; nothing is ever linked by being the only one left, nor by being the only one that is known.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from enum import Enum

from shared.stepfi import amounts
from sweeper.model import Row


class LinkKind(Enum):
    UNIQUE = "unique"
    AMBIGUOUS = "ambiguous"
    TAKEN = "taken"


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What a provisional row may be: `candidates` are keys of loans, all of them; `by` says what speaks for it.

    `unknown`: loans, in words, that our tables do not know and that the row may be as well.
    """

    kind: LinkKind
    by: str
    candidates: tuple[str, ...]
    rivals: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def key(self) -> str | None:
        """The loan's key, where the link is proven."""
        return self.candidates[0] if self.kind is LinkKind.UNIQUE else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """Links by row id, and the loans that some row may be, so that they are not taken for missing."""

    of_row: Mapping[str, Link] = field(default_factory=dict)
    claimed: Set[str] = frozenset()


def matches(row: Row, loan: Row, *, window: timedelta, tolerance: Decimal) -> bool:
    """Whether wallet, vendor, total and guarantee agree, and the loan was created within the window after the row."""
    return (
        row["user_wallet"] == loan["borrower"]
        and row["vendor_wallet"] is not None
        and row["vendor_wallet"] == loan["vendor"]
        and not amounts.differ(row["amount"], loan["amount"], tolerance=tolerance)
        and not amounts.differ(row["guarantee"], loan["guarantee"], tolerance=tolerance)
        and row["created_at"] is not None
        and row["created_at"] <= loan["created_at"]
        and loan["created_at"] - row["created_at"] <= window
    )


def resolve(
    *,
    by_hash: Mapping[str, Collection[str]],
    by_terms: Mapping[str, Collection[str]],
    with_row: Set[str],
    unknown: Mapping[str, tuple[str, ...]] | None = None,
) -> Links:
    """Decide all links at once.

    by_hash, by_terms   row id to the keys of the loans that speak for it
    with_row            keys of the loans that have a row of their own already
    unknown             row id to loans that are not known and that may be its own, in words: terms alone then prove nothing
    """
    hashed = {row: sorted(set(loans)) for row, loans in by_hash.items() if loans}
    termed = {row: sorted(set(loans)) for row, loans in by_terms.items() if loans and row not in hashed}
    links = {
        **_resolve(hashed, by="transaction hash", with_row=with_row, rows_of=_rows_of(hashed)),
        # A hash outweighs terms: it is a rival of them, and they are none of it.
        **_resolve(termed, by="terms", with_row=with_row, rows_of=_rows_of(hashed | termed)),
    }
    links |= {row: replace(links[row], unknown=said) for row, said in (unknown or {}).items() if row in termed}
    candidates = {loan for loans in (*hashed.values(), *termed.values()) for loan in loans}
    return Links(of_row=links, claimed=frozenset(candidates - with_row))


def _rows_of(candidates: Mapping[str, Sequence[str]]) -> dict[str, set[str]]:
    rows: dict[str, set[str]] = defaultdict(set)
    for row, loans in candidates.items():
        for loan in loans:
            rows[loan].add(row)
    return rows


def _resolve(
    candidates: Mapping[str, Sequence[str]], *, by: str, with_row: Set[str], rows_of: Mapping[str, Set[str]]
) -> dict[str, Link]:
    links = {}
    for row, loans in candidates.items():
        rivals = sorted({rival for loan in loans for rival in rows_of[loan]} - {row})
        if all(loan in with_row for loan in loans):
            kind = LinkKind.TAKEN
        elif len(loans) == 1 and not rivals:
            kind = LinkKind.UNIQUE
        else:
            kind = LinkKind.AMBIGUOUS
        links[row] = Link(kind=kind, by=by, candidates=tuple(loans), rivals=tuple(rivals))
    return links
