"""What one node knows at one moment: the ledgers it holds, and the state at its newest one."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from deploy.localnet import rpcerrors
from deploy.localnet.headers import Chain
from deploy.localnet.history import Entry, History

DEFAULT_RETENTION = 120_960
_CONTRACT_DATA = b"\x00\x00\x00\x06"
_TEMPORARY = b"\x00\x00\x00\x00"


@dataclass(frozen=True, slots=True)
class Range:
    """The ledgers a node holds (inclusive), and when the outer ones closed (unix seconds)."""

    oldest: int
    latest: int
    oldest_closed_at: int
    latest_closed_at: int

    def __contains__(self, ledger: int) -> bool:
        return self.oldest <= ledger <= self.latest


@dataclass(frozen=True, slots=True)
class Build:
    """What getVersionInfo says of the program."""

    version: str = "28.0.0"
    commit_hash: str = ""
    build_timestamp: str = ""
    captive_core_version: str = "stellar-core 28.0.0 (not running)"


@dataclass(frozen=True, slots=True)
class View:
    """A node at one moment.

    `tip` is the newest ledger (None: no ledger yet), `since` the first one it ever took in, `retention` how many it keeps.
    `clock` tells unix seconds and makes the node report itself unhealthy when the tip closed too long ago; without one it
    never does. Rows of ledgers before `rows_from` are gone already, though the range does not tell yet. A `lenient` node answers
    for ledgers that it does not hold, with nothing.
    """

    history: History
    headers: Chain
    tip: int | None
    since: int
    retention: int = DEFAULT_RETENTION
    clock: Callable[[], float] | None = None
    build: Build = Build()
    rows_from: int = 0
    lenient: bool = False

    def at(self, tip: int) -> "View":
        """The same node with another newest ledger: as of the past, when a backend lags."""
        return replace(self, tip=tip if tip >= self.since else None)

    def range(self, *, failing: str = rpcerrors.EMPTY_STORE) -> Range:
        """The ledgers held. Raises MethodError -32603 with the given message when there is none."""
        if self.tip is None:
            raise rpcerrors.internal(failing)
        oldest = max(self.since, self.tip - self.retention + 1)
        return Range(
            oldest=oldest,
            latest=self.tip,
            oldest_closed_at=self.history.closed_at(oldest),
            latest_closed_at=self.history.closed_at(self.tip),
        )

    @property
    def protocol(self) -> int:
        return self.history.protocol

    def entry(self, key: bytes, ledger: int) -> Entry | None:
        """An entry as the node sees it at a ledger: archived with live-until 0, None if it is absent or temporary and expired."""
        entry = self.history.entry(key, ledger)
        if entry is None:
            return None
        live_until = entry.get("liveUntilLedgerSeq")
        if live_until is None or live_until >= ledger:
            return entry
        if key.startswith(_CONTRACT_DATA) and key.endswith(_TEMPORARY):
            return None
        return {**entry, "liveUntilLedgerSeq": 0}
