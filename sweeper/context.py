"""What every step of a sweep is given: both databases, the chain, and the moment that the sweep stands on."""

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from sqlalchemy.ext.asyncio import AsyncEngine

from shared import rpc
from shared.coverage_store import Watermark
from shared.settings import Sweep
from sweeper.app_schema import AppTable
from sweeper.model import Answer, Finding
from sweeper.pace import Pace
from sweeper.storage import Storage

if TYPE_CHECKING:
    from sweeper.lock import Alone


@dataclass(slots=True)
class Compared:
    """Rows looked at on each side; `of_rows`: about how many the app's table has, where not all were looked at."""

    expected_rows: int = 0
    app_rows: int = 0
    of_rows: int = 0


@dataclass(kw_only=True)
class Context:
    """One sweep's surroundings.

    chain    chaintrue's own database          app    the application's
    rpc      the chain itself                  now    of the look that counts: what the intents set `updated_at` to
    lock     asked before each batch that is written
    paces    how much of each database the run may take    canaries   by table, whether the scan found its canary
    resumed  tables whose scan went on with hashes of an earlier run
    late_entries  ledger keys of entries that the chain changed more than the lag limit after the watermark, with that ledger
    not_reread  tables of which more rows were written while they were scanned than a scan reads again
    """

    chain: AsyncEngine
    app: AsyncEngine
    rpc: rpc.Client
    passphrase: str
    scope: str
    settings: Sweep
    lock: "Alone"
    watermark: Watermark
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    tables: Mapping[str, AppTable] = field(default_factory=dict)
    subjects: Mapping[str, "Subject"] = field(default_factory=dict)
    compared: dict[str, Compared] = field(default_factory=dict)
    answers: Counter[Answer] = field(default_factory=Counter)
    chain_was_asked: bool = True
    canaries: dict[str, bool] = field(default_factory=dict)
    resumed: list[str] = field(default_factory=list)
    late_entries: dict[str, int] = field(default_factory=dict)
    not_reread: list[str] = field(default_factory=list)
    paces: Mapping[str, Pace] = field(default_factory=lambda: {"app": Pace(), "chain": Pace()})
    say: Callable[[str], None] = lambda _: None

    def begin_look(self) -> None:
        """What is found from here on is written with the time of now, and no longer with that of an earlier look.

        A row may be written by others while a scan goes on or a difference settles: what replaces it must not look older.
        """
        self.now = datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Since:
    """What an earlier sweep could not see: all behind `position`; and `row_ids` and `keys` of the drift that was there."""

    position: str
    row_ids: Mapping[str, Sequence[str]] = field(default_factory=dict)
    keys: Mapping[str, Sequence[str]] = field(default_factory=dict)


class Subject(Protocol):
    """One table of the application, and how it is held against the chain."""

    @property
    def table(self) -> str: ...

    @property
    def row_key(self) -> str:
        """The column that names the entity; no two rows ought to hold the same."""
        ...

    @property
    def required(self) -> tuple[str, ...]:
        """Columns without which the table cannot be compared."""
        ...

    @property
    def optional(self) -> bool:
        """Whether an application without these columns is compared without the table, instead of refused."""
        ...

    @property
    def compares(self) -> str:
        """What is compared with what, as text: another one means that earlier sweeps say nothing."""
        ...

    @property
    def grace_seconds(self) -> int:
        """For how long what is new on chain may have no row before that is a finding; the longest of all subjects counts."""
        ...

    @property
    def writes(self) -> frozenset[str]:
        """The columns that a repair of it may set; nothing else is ever written to its rows."""
        ...

    @property
    def inserts(self) -> frozenset[str]:
        """The columns that it may fill of a row that is missing; none where it adds no rows."""
        ...

    @property
    def storage(self) -> Storage:
        """What its columns have to hold, and which of them are written together or not at all."""
        ...

    @property
    def looks_up(self) -> Mapping[str, tuple[str, ...]]:
        """Columns of other tables that it reads beside its own."""
        ...

    def fact_keys(self, finding: Finding) -> Sequence[str]:
        """Return the keys of `chain.facts` that the finding's entity is folded from."""
        ...

    def survey(self, context: Context) -> AsyncGenerator[Finding, None]:
        """Look at all of it, in bounded memory, both ways: rows without an entity and entities without a row."""
        ...

    def survey_changed(self, context: Context, since: Since) -> AsyncGenerator[Finding, None]:
        """Look at what changed on chain since then, and at the rows that drifted by then."""
        ...

    async def look_again(self, context: Context, findings: Sequence[Finding]) -> list[Finding]:
        """Read both sides again for these; those that are still so, as they are now."""
        ...

    async def examine(self, context: Context, findings: Sequence[Finding]) -> list[Finding]:
        """What is found of these rows and entities now, of whatever class: nothing else of the findings is believed."""
        ...

    async def confirm(self, context: Context, findings: Sequence[Finding]) -> list[Finding]:
        """Ask the chain: each finding with its answer, and the proof in its evidence."""
        ...
