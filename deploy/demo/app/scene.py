"""What an injection is made of, and the scene in which they are planned: the truth, and the rows as they will then be."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import TypeVar

from deploy.demo.app import chain, ownership
from deploy.demo.app.rows import Row, Tables, Value, amount
from shared.settings import Policy

LINK_WINDOW = timedelta(hours=1)
"""The default of STEPFI__LINK_WINDOW_SECONDS: a loan is created within it after its row."""
INSERT_GRACE = timedelta(hours=1)
"""The default of STEPFI__INSERT_GRACE_SECONDS."""

POLICIES: Mapping[str, Policy] = {
    "duplicate_row": Policy.REPORT,
    "forged_owner": Policy.REPORT,
    "ambiguous_link": Policy.REPORT,
    "absent_on_chain": Policy.REPORT,
    "abandoned_provisional": Policy.REPORT,
    "unresolved_provisional_id": Policy.REPAIR,
    "app_ahead_of_chain": Policy.PROPOSE,
    "stale_status": Policy.REPAIR,
    "terms_mismatch": Policy.REPORT,
    "stale_value": Policy.REPAIR,
    "missing_row": Policy.PROPOSE,
    "orphaned_pending_transaction": Policy.REPAIR,
}
"""The drift classes and what may be done about them where no setting says otherwise."""
REPORTED_TABLES = frozenset({"liquidity_positions"})
"""Tables that are only reported where no setting says otherwise."""

_OUTCOMES = {Policy.REPAIR: "repaired", Policy.PROPOSE: "proposed", Policy.REPORT: "reported"}
T = TypeVar("T")

_BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"


class NoTargetError(LookupError):
    """The history has nothing, or nothing left, that this injection could be done to."""


@dataclass(frozen=True, kw_only=True)
class Update:
    table: str
    row_id: str
    columns: Row


@dataclass(frozen=True, kw_only=True)
class Insert:
    table: str
    row_id: str
    row: Row


@dataclass(frozen=True, kw_only=True)
class Delete:
    table: str
    row_id: str


@dataclass(frozen=True, kw_only=True)
class Statement:
    """SQL that changes no row."""

    sql: str


Change = Update | Insert | Delete | Statement


@dataclass(frozen=True, kw_only=True)
class Expected:
    """A finding that a sweep must report.

    `columns` are those that its `columns` lists, None where that is left open (there is no row, or no entity, to compare it
    with); of a transaction they are the least. `row_id` is None for a missing row, `entity` where no single entity can be
    named. `outcome` is that of `sweep --repair` under the default settings.
    """

    drift_class: str
    table: str
    row_id: str | None
    entity: str | None
    columns: frozenset[str] | None
    policy: Policy
    outcome: str


@dataclass(frozen=True, kw_only=True)
class Injection:
    """One thing done to the application's rows, and what a sweep must say of it.

    A trap has no class and no finding. `core` is False for a class that is told apart only by the finer rules.
    """

    name: str
    drift_class: str | None
    core: bool
    about: str
    changes: tuple[Change, ...]
    findings: tuple[Expected, ...]

    @property
    def rows(self) -> frozenset[tuple[str, str]]:
        """Table and id of every row that this changes, adds or takes away."""
        return frozenset((change.table, change.row_id) for change in self.changes if not isinstance(change, Statement))


class Scene:
    """The truth, the true rows, and the rows after all that was planned so far. No loan, wallet or row is used twice."""

    def __init__(self, truth: chain.ChainTruth, true: Tables, *, seed: int, decimals: int, low_tier: str) -> None:
        self.truth = truth
        self.true = true
        self.rows: Tables = {table: {row_id: dict(row) for row_id, row in rows.items()} for table, rows in true.items()}
        self.decimals = decimals
        self.low_tier = low_tier
        self._alike: dict[tuple[str, str, int, int], list[chain.Loan]] = {}
        for loan in truth.loans.values():
            self._alike.setdefault(loan.terms, []).append(loan)
        self._seed = seed
        self._taken: set[tuple[str, str]] = set()
        self.begin("")

    def begin(self, name: str) -> None:
        """Choices for the injection `name` depend on the seed, on it, and on what is already taken."""
        self.random = Random(f"{self._seed}:{name}")  # noqa: S311 - chooses rows, guards nothing
        self.changes: list[Change] = []

    # What to do it to

    def loan(self, wanted: Callable[[chain.Loan], bool] = lambda _: True) -> tuple[chain.Loan, str]:
        """A loan with its row's id: not used yet, older than the grace of a missing row, and alone in its terms."""
        row_of = {str(row["loan_id"]): row_id for row_id, row in self.true["loans"].items()}
        candidates = [
            (loan, row_of[str(loan.loan_id)])
            for loan in self.truth.loans.values()
            if str(loan.loan_id) in row_of
            and loan.creation.closed_at + INSERT_GRACE < self.truth.closed_at
            and wanted(loan)
            and len(self.twins(loan)) == 1
        ]
        return self.take("loans", candidates)

    def twins(self, loan: chain.Loan) -> list[chain.Loan]:
        """The loans (itself too) that one row without an id could mean as well as this one."""
        near = 2 * LINK_WINDOW
        return [
            other
            for other in self._alike[loan.terms]
            if abs(other.creation.closed_at - loan.creation.closed_at) <= near
        ]

    def row(self, table: str, wanted: Callable[[Row], bool] = lambda _: True) -> tuple[Row, str]:
        """A true row with its id, not used yet."""
        return self.take(table, [(row, row_id) for row_id, row in self.true[table].items() if wanted(row)])

    def take(self, table: str, candidates: Sequence[tuple[T, str]]) -> tuple[T, str]:
        """One of these, marked as used; raises NoTargetError when all are."""
        free = [candidate for candidate in candidates if self.is_free(table, candidate[1])]
        if not free:
            raise NoTargetError(f"the history has no free target in {table}")
        chosen = self.random.choice(free)
        self._taken.add((table, chosen[1]))
        return chosen

    def is_free(self, table: str, row_id: str) -> bool:
        """Whether no injection uses this row yet."""
        return (table, row_id) not in self._taken

    def before(self, age: timedelta) -> datetime:
        """A time so long before the truth's ledger closed; raises NoTargetError if the history is too short for it."""
        instant = self.truth.closed_at - age
        if instant - LINK_WINDOW < self.truth.started_at:
            raise NoTargetError(f"the history does not reach {age} back")
        return instant

    # What to do

    def update(self, table: str, row_id: str, **columns: Value) -> None:
        self.rows[table][row_id] |= columns
        self.changes.append(Update(table=table, row_id=row_id, columns=columns))

    def insert(self, table: str, row: Row) -> None:
        row_id = str(row["id"])
        self.rows[table][row_id] = dict(row)
        self.changes.append(Insert(table=table, row_id=row_id, row=row))

    def delete(self, table: str, row_id: str) -> None:
        del self.rows[table][row_id]
        self.changes.append(Delete(table=table, row_id=row_id))

    def execute(self, sql: str) -> None:
        self.changes.append(Statement(sql=sql))

    # What to say about it

    def finding(
        self,
        drift_class: str,
        table: str,
        row_id: str | None,
        entity: str | None,
        *,
        columns: frozenset[str] | None = None,
        outcome: str | None = None,
        compare: bool = True,
    ) -> Expected:
        """An expected finding; with `compare` the columns of a row that has a true one are computed."""
        if columns is None and compare and row_id in self.rows[table] and row_id in self.true[table]:
            columns = ownership.difference(table, self.rows[table][row_id], self.true[table][row_id])
        policy = Policy.REPORT if table in REPORTED_TABLES else POLICIES[drift_class]
        return Expected(
            drift_class=drift_class,
            table=table,
            row_id=row_id,
            entity=entity,
            columns=columns,
            policy=policy,
            outcome=outcome or _OUTCOMES[policy],
        )

    # What the application would have written

    def amount(self, raw: int) -> Decimal:
        return amount(raw, self.decimals)

    def provisional_id(self, created_at: datetime) -> str:
        """`pending-<unix ms>-<8 base36 characters>`."""
        milliseconds = int(created_at.timestamp()) * 1000 + self.random.randrange(1000)
        return f"pending-{milliseconds}-{''.join(self.random.choices(_BASE36, k=8))}"

    def quote(self, row: Row) -> Decimal:
        """What the API takes a loan to cost, by its own formula: never what the chain says."""
        loan_amount, rate, term = row["loan_amount"], row["interest_rate"], row["term"]
        if not (isinstance(loan_amount, Decimal) and isinstance(rate, Decimal) and isinstance(term, int)):
            raise TypeError(f"not a row of loans: {row}")
        unit = Decimal(1).scaleb(-self.decimals)
        cost = (loan_amount * (1 + rate / 100 * term / 12)).quantize(unit)
        return cost + unit if cost == row["remaining_balance"] else cost
