"""The folds of reputation scores and of vendors."""

from dataclasses import dataclass

from shared import position
from shared.stepfi import tables, values
from streams.facts import Fact
from streams.fold import Fold, replace


@dataclass(frozen=True, kw_only=True)
class ScoreMapState:
    """A row of `chain.reputation_maps`."""

    key: str
    position: str
    observed_at: str | None = None
    asked_at: str | None = None
    contract: str


def _start_score_map(fact: Fact) -> ScoreMapState:
    return ScoreMapState(key=fact.key, position=fact.position, contract=fact.key.split(":")[1])


def _map_observed(state: ScoreMapState, fact: Fact, _: values.ScoreMapEntry) -> ScoreMapState:
    return replace(state, observed_at=fact.position)


@dataclass(frozen=True, kw_only=True)
class ScoreState:
    """A row of `chain.scores`; None is unknown. A user whom the newest map did not hold has 0: see `chain.reputation_maps`."""

    key: str
    position: str
    observed_at: str | None = None
    asked_at: str | None = None
    contract: str
    user_address: str
    score: int | None


def _start_score(fact: Fact) -> ScoreState:
    _, contract, user = fact.key.split(":")
    return ScoreState(key=fact.key, position=fact.position, contract=contract, user_address=user, score=0)


def _score_changed(state: ScoreState, _: Fact, event: values.ScoreChanged) -> ScoreState:
    return replace(state, score=event.new)


def _score_observed(state: ScoreState, fact: Fact, entry: values.ScoreEntry) -> ScoreState:
    return replace(state, score=entry.score, observed_at=fact.position)


def _score_unread(state: ScoreState, _: Fact, __: values.Unread) -> ScoreState:
    """The map of all scores is asked for by the contract's own row."""
    return replace(state, score=None)


@dataclass(frozen=True, kw_only=True)
class ScoreChangeState:
    """A row of `chain.score_changes`: one SCORECHGD event."""

    key: str
    position: str
    observed_at: str | None = None
    asked_at: str | None = None
    contract: str
    user_address: str
    old_score: int
    new_score: int
    reason: str
    tx_hash: str
    ledger: int
    closed_at: int


def _start_score_change(fact: Fact) -> ScoreChangeState:
    """The event is the only fact of its key, so its beginning is all of it."""
    event = fact.payload
    if not isinstance(event, values.ScoreChanged) or fact.tx_hash is None or fact.at is None:
        raise TypeError(f"{fact.key} begins with {type(event).__name__}, not with an event of a score")
    return ScoreChangeState(
        key=fact.key,
        position=fact.position,
        contract=fact.key.split(":")[1],
        user_address=event.user,
        old_score=event.old,
        new_score=event.new,
        reason=event.reason,
        tx_hash=fact.tx_hash,
        ledger=position.ledger_of(fact.position),
        closed_at=fact.at,
    )


def _score_change(state: ScoreChangeState, _: Fact, __: values.ScoreChanged) -> ScoreChangeState:
    return state


@dataclass(frozen=True, kw_only=True)
class VendorState:
    """A row of `chain.vendors`; None is unknown."""

    key: str
    position: str
    observed_at: str | None = None
    asked_at: str | None = None
    contract: str
    vendor: str
    created_at: int | None = None
    name: str | None = None
    status_since: str | None = None
    status: str | None = None


def _start_vendor(fact: Fact) -> VendorState:
    _, contract, vendor = fact.key.split(":")
    return VendorState(
        key=fact.key,
        position=fact.position,
        contract=contract,
        vendor=vendor,
        created_at=fact.at,
        asked_at=fact.position,
    )


def _registered(state: VendorState, fact: Fact, event: values.VendorRegistered) -> VendorState:
    """A registration does not tell the status, which differs by version of the contract: the entry is asked for."""
    return replace(state, name=event.name, asked_at=fact.position)


def _status_changed(state: VendorState, fact: Fact, event: values.VendorStatusChanged) -> VendorState:
    return replace(state, status=event.status, status_since=fact.position)


def _vendor_unread(state: VendorState, fact: Fact, _: values.Unread) -> VendorState:
    return replace(state, name=None, status=None, status_since=None, asked_at=fact.position)


def _vendor_observed(state: VendorState, fact: Fact, entry: values.VendorEntry) -> VendorState:
    return replace(
        state,
        observed_at=fact.position,
        asked_at=None,
        name=entry.name,
        status=entry.status,
        status_since=fact.position,
    )


SCORE_MAP = Fold(
    prefix="score_map",
    table=tables.reputation_maps,
    state=ScoreMapState,
    start=_start_score_map,
    steps={values.ScoreMapEntry: _map_observed},
    resets=True,
)

SCORE = Fold(
    prefix="score",
    table=tables.scores,
    state=ScoreState,
    start=_start_score,
    steps={values.ScoreChanged: _score_changed, values.ScoreEntry: _score_observed, values.Unread: _score_unread},
)

SCORE_CHANGE = Fold(
    prefix="score_change",
    table=tables.score_changes,
    state=ScoreChangeState,
    start=_start_score_change,
    steps={values.ScoreChanged: _score_change},
)

VENDOR = Fold(
    prefix="vendor",
    table=tables.vendors,
    state=VendorState,
    start=_start_vendor,
    steps={
        values.VendorRegistered: _registered,
        values.VendorStatusChanged: _status_changed,
        values.VendorEntry: _vendor_observed,
        values.Unread: _vendor_unread,
    },
)
