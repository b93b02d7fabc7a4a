"""Which provisional rows are which loans. Pure: the evidence of all rows in, their links out.

A link is proven by a transaction hash (of a `loan_create` row that made a loan of the row's wallet, and whose envelope names the
provisional id), or by equal terms. Candidates are the loans that are left over: no row has their id, and no other row is
proven to be them. A proof counts only if it is unique in both directions, and only after the row's link window has closed: until
then another loan of the same terms may come. Possible matches prove nothing, but keep their loans claimed.
"""

from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

Reasons = Mapping[str, tuple[str, ...]]
"""Keys of loans, each with the reasons why it is no more than a possible match."""

HASH, TERMS, BOTH, POSSIBLE = "transaction hash", "terms", "transaction hash and terms", "possible match"


class LinkKind(Enum):
    """UNIQUE: one loan and no rival. TAKEN: all proofs lead to loans that other rows are. NONE: no loan fits."""

    UNIQUE = "unique"
    AMBIGUOUS = "ambiguous"
    TAKEN = "taken"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known about one row.

    hashed        loans of the row's wallet that were made by a transaction whose envelope names the row
    terms         loans whose terms all equal the row's
    near          loans that the row possibly matches
    contradicted  loans of the row's wallet and time that something known contradicts
    unknown       loans that the tables do not know and that the row may be as well, in words
    closes_at     when the row's link window closes; None where that is not known
    """

    hashed: Set[str] = frozenset()
    terms: Set[str] = frozenset()
    near: Reasons = field(default_factory=dict)
    contradicted: Collection[str] = ()
    unknown: tuple[str, ...] = ()
    closes_at: datetime | None = None

    @property
    def proofs(self) -> Set[str]:
        """Return the loans that something more than a possible match speaks for."""
        return self.hashed | self.terms


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What a provisional row may be.

    by            what speaks for the candidates
    candidates    the loans (keys) that the row may be; of a row with proofs only those that are proven
    rivals        other rows for which the same loans speak
    near          possible matches, with the reasons
    contradicted  loans of the row's wallet and time that no row is, and that are not this row's
    unknown       loans that the tables do not know and that the row may be as well, in words
    is_open       whether the row's link window is open at the watermark; `closes_at`: until when
    """

    kind: LinkKind
    by: str = POSSIBLE
    candidates: tuple[str, ...] = ()
    rivals: tuple[str, ...] = ()
    near: Reasons = field(default_factory=dict)
    contradicted: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    is_open: bool = False
    closes_at: datetime | None = None

    @property
    def key(self) -> str | None:
        """Return the loan's key, where exactly one loan speaks for itself."""
        return self.candidates[0] if self.kind is LinkKind.UNIQUE else None

    @property
    def is_proven(self) -> bool:
        """Return whether nothing that may still come or be learnt can change the link."""
        return self.kind is LinkKind.UNIQUE and not self.is_open and not self.unknown

    @property
    def loans(self) -> Set[str]:
        """Return every loan that the row's class depends on."""
        return {*self.candidates, *self.near, *self.contradicted}


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """Links by row id, and the loans that some row may be, so that they are not taken for missing."""

    of_row: Mapping[str, Link] = field(default_factory=dict)
    claimed: Set[str] = frozenset()


def resolve(evidence: Mapping[str, Evidence], *, with_row: Set[str], watermark_at: datetime | None) -> Links:
    """Decide all links at once.

    evidence      by row id
    with_row      keys of the loans whose own id a row has already
    watermark_at  close time of the watermark; None where it is not known: then no link window has closed
    """
    return _Resolver(evidence, with_row, watermark_at).links()


class _Resolver:
    """Each proven link takes its loan away from the other rows, which are then decided again."""

    def __init__(self, evidence: Mapping[str, Evidence], with_row: Set[str], watermark_at: datetime | None) -> None:
        self._evidence = evidence
        self._with_row = with_row
        self._watermark_at = watermark_at
        self._owner: dict[str, str] = {}
        self._proven: dict[str, str] = {}
        self._rows_of = _rows_of((row, one.proofs) for row, one in evidence.items())
        self._near_rows_of = _rows_of((row, one.near.keys()) for row, one in evidence.items())

    def links(self) -> Links:
        self._prove()
        links = {row: self._link(row) for row in self._evidence}
        claimed = {loan for row in links for loan in self._claims(row)}
        return Links(
            of_row={row: link for row, link in links.items() if link.kind is not LinkKind.NONE or link.contradicted},
            claimed=frozenset(claimed),
        )

    def _prove(self) -> None:
        """Find every proven link. A proof only ever takes candidates and rivals away, so the order does not matter."""
        waiting = deque(row for row, one in self._evidence.items() if one.proofs)
        while waiting:
            row = waiting.popleft()
            if row in self._proven:
                continue
            link = self._link(row)
            if link.is_proven and link.key is not None:
                self._proven[row], self._owner[link.key] = link.key, row
                waiting.extend({other for loan in self._evidence[row].proofs for other in self._rows_of[loan]} - {row})

    def _is_free(self, loan: str, row: str) -> bool:
        """Whether no other row is proven to be the loan."""
        return self._owner.get(loan, row) == row

    def _is_left_over(self, loan: str, row: str) -> bool:
        return loan not in self._with_row and self._is_free(loan, row)

    def _claims(self, row: str) -> Iterator[str]:
        """Yield the loans that must not be taken for missing because of the row."""
        if row in self._proven:
            yield self._proven[row]
            return
        one = self._evidence[row]
        yield from (loan for loan in (*one.proofs, *one.near) if self._is_left_over(loan, row))

    def _link(self, row: str) -> Link:
        one = self._evidence[row]
        kind, by, candidates = self._decide(row, one)
        rivals: set[str] = set()
        if kind is LinkKind.TAKEN:
            rivals = {self._owner[loan] for loan in candidates if loan in self._owner}
        elif kind is LinkKind.AMBIGUOUS:
            rivals = self._rivals(candidates, row)
        near = {} if kind is LinkKind.UNIQUE else self._near(row, one)
        if not candidates and near:
            kind, candidates = LinkKind.AMBIGUOUS, tuple(near)
            rivals = self._rivals(candidates, row) | {
                other for loan in near for other in self._near_rows_of[loan] if other not in self._proven
            }
        return Link(
            kind=kind,
            by=by,
            candidates=candidates,
            rivals=tuple(sorted(rivals - {row})),
            near=near,
            contradicted=tuple(sorted(loan for loan in one.contradicted if self._is_left_over(loan, row))),
            unknown=one.unknown if by == TERMS else (),
            is_open=self._watermark_at is None or one.closes_at is None or self._watermark_at <= one.closes_at,
            closes_at=one.closes_at,
        )

    def _near(self, row: str, one: Evidence) -> Reasons:
        return {loan: one.near[loan] for loan in sorted(one.near) if self._is_left_over(loan, row)}

    def _decide(self, row: str, one: Evidence) -> tuple[LinkKind, str, tuple[str, ...]]:
        """Return the kind, what it follows from, and the candidates, by the row's proofs alone."""
        if not one.proofs:
            return LinkKind.NONE, POSSIBLE, ()
        if one.hashed:
            return self._decide_by_hash(row, one)
        left_over = tuple(sorted(loan for loan in one.terms if self._is_left_over(loan, row)))
        if not left_over:
            return LinkKind.TAKEN, TERMS, tuple(sorted(one.terms))
        is_unique = len(left_over) == 1 and not self._rivals(left_over, row)
        return LinkKind.UNIQUE if is_unique else LinkKind.AMBIGUOUS, TERMS, left_over

    def _decide_by_hash(self, row: str, one: Evidence) -> tuple[LinkKind, str, tuple[str, ...]]:
        hashed = tuple(sorted(one.hashed))
        is_taken = all(loan in self._with_row for loan in hashed)
        against = {loan for loan in one.terms if self._is_left_over(loan, row)}
        if against and (is_taken or not one.hashed & one.terms):
            return LinkKind.AMBIGUOUS, BOTH, tuple(sorted({*hashed, *against}))
        if is_taken:
            return LinkKind.TAKEN, HASH, hashed
        if len(hashed) == 1 and hashed[0] not in one.terms and self._has_equal_terms_elsewhere(hashed[0], row):
            return LinkKind.AMBIGUOUS, BOTH, hashed
        others = [other for loan in hashed for other in self._rows_of[loan] if other != row]
        is_unique = len(hashed) == 1 and not any(hashed[0] in self._evidence[other].hashed for other in others)
        return LinkKind.UNIQUE if is_unique else LinkKind.AMBIGUOUS, HASH, hashed

    def _has_equal_terms_elsewhere(self, loan: str, row: str) -> bool:
        """Whether the terms of another row, not proven to be another loan, are those of this loan alone.

        That is a conflict with a hash of a row without these terms: one of the two proofs has to be wrong.
        """
        return any({*self._evidence[other].terms} - self._with_row == {loan} for other in self._rivals((loan,), row))

    def _rivals(self, loans: Iterable[str], row: str) -> set[str]:
        """Return the other rows that a proof connects with the loans, but for those that are proven to be another loan."""
        rows = {other for loan in loans for other in self._rows_of[loan]}
        return {other for other in rows if other != row and other not in self._proven}


def _rows_of(pairs: Iterable[tuple[str, Iterable[str]]]) -> dict[str, set[str]]:
    rows: dict[str, set[str]] = defaultdict(set)
    for row, loans in pairs:
        for loan in loans:
            rows[loan].add(row)
    return rows
