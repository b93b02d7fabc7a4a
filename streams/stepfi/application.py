"""StepFi for the stream: which facts its events and entries tell, and what of the ledger is to be read."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, lru_cache

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import errors, frames, position, scval
from shared import ledger_entry as ledger
from shared.stepfi import entries, events, values
from shared.stepfi.events import Role
from shared.stepfi.settings import Stepfi
from streams.application import Unknown, Unseen
from streams.facts import OBSERVED, Fact
from streams.fold import Fold
from streams.stepfi import contracts, keys, loans, people, pool, rereading, wishes

FOLDS = (
    contracts.CONTRACT,
    contracts.CREDITLINE,
    loans.FOLD,
    pool.POOL,
    pool.PROVIDER,
    people.SCORE,
    people.SCORE_CHANGE,
    people.SCORE_MAP,
    people.VENDOR,
)
SYSTEM = "system"
ORIGIN, ABSENT = "origin", "absent"
_NO_EVENTS = frozenset({OBSERVED, ORIGIN, ABSENT})


@dataclass(frozen=True)
class StepfiStream:
    """The application as `streams.application` asks for it; the settings say which contract is which."""

    settings: Stepfi
    scope: str = "stepfi"

    @cached_property
    def roles(self) -> dict[str, Role]:
        """Contract id to role, of the contracts that are configured."""
        named = {role: getattr(self.settings, role.value) for role in Role}
        return {contract: role for role, contract in named.items() if contract is not None}

    @property
    def contracts(self) -> tuple[str, ...]:
        return tuple(self.roles)

    @property
    def folds(self) -> tuple[Fold, ...]:
        return FOLDS

    def facts_of_event(self, event: frames.Event) -> Iterable[Fact]:
        """One fact for each entity that the event tells of; at least one, whatever it holds."""
        body = orjson.dumps(frames.event_to_wire(event)).decode()
        role = self.roles.get(event.contract)
        try:
            at = _unix_seconds(event.closed_at)
            topics = tuple(map(scval.read_topic, event.topics))
            kind = _kind(topics[0]) if topics and type(topics[0]) is scval.Symbol else event.type
            if event.type == SYSTEM:
                payload: object = values.Other(kind)
            else:
                payload = events.decode(self._role(event.contract), topics, scval.read_base64(event.value))
        except errors.Undecodable as error:
            yield from _unread(event, body, error, role)
            return
        for key in keys.of_event(event, payload, role=role):
            yield Fact(key=key, position=event.id, kind=kind, body=body, payload=payload, at=at, tx_hash=event.tx_hash)

    def facts_of_entry(self, entry: frames.Entry, *, ledger: int) -> Iterable[Fact]:
        """One fact for each entity that the entry tells of."""
        at = position.end_of(ledger)
        body = orjson.dumps(frames.entry_to_wire(entry)).decode()
        if entry.xdr is None:
            yield Fact(key=f"absent:{entry.key}", position=at, kind=ABSENT, body=body)
            return
        try:
            contract, told = self._read(entry)
        except errors.Undecodable as error:
            contract, name = _place(entry)
            key = f"undecodable:{contract}:{entry.key}"
            yield Fact(key=key, position=at, kind=name, body=body, problem=str(error))
            return
        for payload in told:
            yield Fact(key=keys.of_entry(contract, payload), position=at, kind=OBSERVED, body=body, payload=payload)
            if isinstance(payload, values.ScoreMapEntry):
                yield from _scores(contract, payload, at)

    def facts_of_origin(self, origin: frames.Origin) -> Iterable[Fact]:
        """The beginning asks for the instances of all contracts."""
        body = orjson.dumps({"contracts": origin.contracts, "through": origin.through}).decode()
        at = position.before_observations(position.ledger_of(origin.through))
        for contract in origin.contracts:
            yield Fact(key=f"contract:{contract}", position=at, kind=ORIGIN, body=body, payload=origin)

    def restore(self, *, key: str, position: str, kind: str, body: str) -> Fact:
        """The fact of this key, decoded again from what was stored."""
        record = orjson.loads(body)
        if kind == ORIGIN:
            origin = frames.Origin(network="", scope=self.scope, contracts=tuple(record["contracts"]), through=position)
            return Fact(key=key, position=position, kind=kind, body=body, payload=origin)
        if kind == OBSERVED:
            return self._restore_observed(key, position, body, record)
        told = self.facts_of_event(frames.event_from_wire(record))
        return _of_key(told, key, position)

    def _restore_observed(self, key: str, at: str, body: str, record: dict[str, object]) -> Fact:
        if "score" in record:
            entry = values.ScoreEntry(str(record["user"]), int(str(record["score"])))
            return Fact(key=key, position=at, kind=OBSERVED, body=body, payload=entry)
        told = self.facts_of_entry(frames.entry_from_wire(record), ledger=position.ledger_of(at))
        return _of_key(told, key, at)

    async def wanted(self, connection: AsyncConnection, *, limit: int) -> list[str]:
        """The ledger keys that the tables ask for, the oldest wish first."""
        return await wishes.wanted(connection, limit=limit)

    async def waiting(self, connection: AsyncConnection, *, limit: int) -> dict[str, str]:
        """The oldest wishes that nothing answered yet, by ledger key: when each was made."""
        return await wishes.waiting(connection, limit=limit)

    async def unseen(
        self, connection: AsyncConnection, *, since: str, contracts: Sequence[str], after: str | None, limit: int
    ) -> Unseen:
        """Entities that were not observed behind `since`."""
        return await rereading.unseen(connection, since=since, contracts=contracts, after=after, limit=limit)

    async def seen_since(self, connection: AsyncConnection, *, since: str, contracts: Sequence[str]) -> str | None:
        """The oldest of the observations behind `since`."""
        return await rereading.seen_since(connection, since=since, contracts=contracts)

    async def unknowable(self, connection: AsyncConnection) -> list[Unknown]:
        """What only lost events could have told."""
        return await rereading.unknowable(connection)

    def _role(self, contract: str) -> Role:
        try:
            return self.roles[contract]
        except KeyError:
            raise errors.Undecodable(f"{contract} is none of the configured contracts") from None

    def _read(self, entry: frames.Entry) -> tuple[str, tuple[object, ...]]:
        if entry.xdr is None:
            raise errors.Undecodable("an absent entry has no value")
        data = ledger.read_entry(entry.xdr)
        return data.contract, entries.read(self._role(data.contract), data)


def _of_key(facts: Iterable[Fact], key: str, at: str) -> Fact:
    for fact in facts:
        if fact.key == key:
            return fact
    raise errors.Undecodable(
        f"the fact of {key} at {at} was decoded by another version and cannot be read now",
        cure="rebuild the tables from the log with `chaintrue replay --swap`",
    )


def _scores(contract: str, told: values.ScoreMapEntry, at: str) -> Iterator[Fact]:
    """Each user's part of the map, small enough to be stored for each of them."""
    for user, score in told.scores:
        body = orjson.dumps({"user": user, "score": score}).decode()
        payload = values.ScoreEntry(user, score)
        yield Fact(key=f"score:{contract}:{user}", position=at, kind=OBSERVED, body=body, payload=payload)


def _unread(event: frames.Event, body: str, error: errors.Undecodable, role: Role | None) -> Iterator[Fact]:
    """The finding, with its reason; and what makes unknown whatever the event may have changed."""
    name = _name(event)
    finding = f"undecodable:{event.contract}"
    yield Fact(key=finding, position=event.id, kind=name, tx_hash=event.tx_hash, body=body, problem=str(error))
    for key in keys.of_unread(event, role=role):
        yield Fact(key=key, position=event.id, kind=name, tx_hash=event.tx_hash, body=body, payload=values.Unread())


def _place(entry: frames.Entry) -> tuple[str, str]:
    """The contract of an entry that cannot be read, and the name under which it is counted, as far as its key tells."""
    try:
        place = ledger.read_key(entry.key)
    except errors.Undecodable:
        return "", "entry"
    if isinstance(place.key, ledger.InstanceKey):
        return place.contract, "entry instance"
    first = place.key[0] if type(place.key) is tuple and place.key else place.key
    return place.contract, f"entry {first}" if type(first) is scval.Symbol else "entry"


def _name(event: frames.Event) -> str:
    """The name under which an undecodable event is counted: its first topic where that can be read."""
    try:
        first = scval.read_base64(event.topics[0]) if event.topics else None
    except errors.Undecodable:
        first = None
    return _kind(first) if type(first) is scval.Symbol else "unnamed"


def _kind(name: str) -> str:
    """The event's name as the kind of its facts; no event may pass for one of the facts that are none."""
    return f"event {name}" if name in _NO_EVENTS else str(name)


@lru_cache(maxsize=1024)
def _unix_seconds(closed_at: str) -> int:
    """Ledgers have many events: their close time is read once."""
    try:
        moment = datetime.strptime(closed_at, "%Y-%m-%dT%H:%M:%SZ")  # noqa: DTZ007 - the Z is matched, UTC is set below
    except (TypeError, ValueError):
        raise errors.Undecodable(f"ledgerClosedAt is {closed_at!r}, no time of the form 2026-08-20T10:10:22Z") from None
    return int(moment.replace(tzinfo=UTC).timestamp())
