"""The seam to an application: what the engine needs to be told of its contracts. `streams/stepfi/` is the first one."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from shared import frames
from streams.facts import Fact
from streams.fold import Fold


class Application(Protocol):
    """Decoders, folds and the observer's wishes of one application, for one scope of contracts."""

    @property
    def scope(self) -> str:
        """The name of its set of contracts: one scope, one partition."""
        ...

    @property
    def contracts(self) -> tuple[str, ...]:
        """The contract ids (C…) of the scope; at most 25."""
        ...

    @property
    def folds(self) -> Sequence[Fold]: ...

    def facts_of_event(self, event: frames.Event) -> Iterable[Fact]:
        """At least one fact for every event; one that cannot be decoded becomes a fact with a `problem` (I9)."""
        ...

    def facts_of_entry(self, entry: frames.Entry, *, ledger: int) -> Iterable[Fact]:
        """The facts of an entry as observed at `ledger`; an absent one (`xdr` None) tells of no state."""
        ...

    def facts_of_origin(self, origin: frames.Origin) -> Iterable[Fact]:
        """What the beginning of the scope asks for: the instances of its contracts, at least."""
        ...

    def restore(self, *, key: str, position: str, kind: str, body: str) -> Fact:
        """The fact again, payload included, from what was stored of it."""
        ...

    async def wanted(self, connection: AsyncConnection, *, limit: int) -> list[str]:
        """The ledger keys (base64) to observe next, at most `limit`, oldest wish first; [] when nothing is wanted."""
        ...

    async def waiting(self, connection: AsyncConnection, *, limit: int) -> dict[str, str]:
        """Return the oldest wishes, at most `limit`, that nothing answered yet: by ledger key the position of the asking fact."""
        ...

    async def unseen(
        self, connection: AsyncConnection, *, since: str, contracts: Sequence[str], after: str | None, limit: int
    ) -> "Unseen":
        """Entities of the contracts that were not observed behind `since`, at most `limit`, from behind the cursor `after`.

        Entities that others stand on (a counter) come first.
        """
        ...

    async def seen_since(self, connection: AsyncConnection, *, since: str, contracts: Sequence[str]) -> str | None:
        """Of the observations of the contracts' entities behind `since` the oldest; None where there is none."""
        ...

    async def unknowable(self, connection: AsyncConnection) -> list["Unknown"]:
        """What only lost events could have told of the state that is known, so that it is listed and not invented."""
        ...


@dataclass(frozen=True, slots=True)
class Unseen:
    """Ledger keys (base64), and the cursor of what comes behind them; None at the end."""

    keys: list[str]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class Unknown:
    """So many entities of which this is not known, in words."""

    what: str
    count: int
