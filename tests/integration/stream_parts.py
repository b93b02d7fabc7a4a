"""What the tests of the stream share: settings for the running servers, an application that stores nothing, frames of the log."""

import asyncio
import itertools
import json
import uuid
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiokafka import TopicPartition
from aiokafka.admin.records_to_delete import RecordsToDelete
from pydantic import SecretStr
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared import chain_tables, coverage_store, frames, kafka, position
from shared.settings import Database, EngineSettings, Kafka, Network, Rpc
from streams.application import Unknown, Unseen
from streams.facts import Fact
from streams.fold import Fold

NETWORK = "Chaintrue Test Network"
SCOPE = "test"
CONTRACT = "CAKNWUFCM4ZB3W73TPZCYWBEJUCT4HLWLEGHYZFONSTXMGOMTWFNUZLG"
PARTITION = 0


def kafka_settings(servers: str, name: str) -> Kafka:
    return Kafka(bootstrap_servers=servers, topic=name, group=f"group-{uuid.uuid4().hex}")


def database_settings(url: str) -> Database:
    return Database(url=SecretStr(url))


def engine_settings(*, kafka: Kafka, url: str, rpc_url: str, passphrase: str, **sections: Any) -> EngineSettings:
    return EngineSettings(
        network=Network(passphrase=passphrase),
        rpc=Rpc(urls=(rpc_url,), poll_seconds=0.1, requests_per_second=500),
        kafka=kafka,
        database=database_settings(url),
        **sections,
    )


@dataclass
class Plain:
    """An application that keeps each event as a fact, folds nothing, and wants what the test says."""

    contracts: tuple[str, ...] = (CONTRACT,)
    scope: str = SCOPE
    folds: Sequence[Fold] = ()
    wishes: list[str] = field(default_factory=list)

    def facts_of_event(self, event: frames.Event) -> Iterable[Fact]:
        yield Fact(
            key=f"event:{event.id}", position=event.id, kind=event.type, body=json.dumps(frames.event_to_wire(event))
        )

    def facts_of_entry(self, entry: frames.Entry, *, ledger: int) -> Iterable[Fact]:
        at = position.end_of(ledger)
        yield Fact(key=f"entry:{entry.key}", position=at, kind="entry", body=json.dumps(frames.entry_to_wire(entry)))

    def facts_of_origin(self, origin: frames.Origin) -> Iterable[Fact]:
        yield Fact(key="origin", position=origin.through, kind="origin", body="{}")

    def restore(self, *, key: str, position: str, kind: str, body: str) -> Fact:
        return Fact(key=key, position=position, kind=kind, body=body)

    async def unseen(
        self,
        connection: AsyncConnection,
        *,
        since: str,
        contracts: Sequence[str],  # noqa: ARG002 - it has one
        after: str | None,  # noqa: ARG002 - all is on the first page
        limit: int,  # noqa: ARG002 - all is on the first page
    ) -> Unseen:
        """The wishes that were not observed behind the position."""
        seen = await self._seen(connection, since)
        return Unseen([key for key in self.wishes if key not in seen], None)

    async def seen_since(self, connection: AsyncConnection, *, since: str, contracts: Sequence[str]) -> str | None:  # noqa: ARG002 - it has one
        return min((await self._seen(connection, since)).values(), default=None)

    async def unknowable(self, connection: AsyncConnection) -> list[Unknown]:  # noqa: ARG002 - it has no state
        return []

    async def _seen(self, connection: AsyncConnection, since: str) -> dict[str, str]:
        """Where each entry was observed behind the position."""
        facts = chain_tables.facts.c
        query = select(facts.key, facts.position).where(facts.kind == "entry", facts.position > since)
        return {row.key.removeprefix("entry:"): row.position for row in await connection.execute(query)}

    async def waiting(self, connection: AsyncConnection, *, limit: int) -> dict[str, str]:
        return dict.fromkeys(await self.wanted(connection, limit=limit), position.START)

    async def wanted(self, connection: AsyncConnection, *, limit: int) -> list[str]:
        rows = await connection.execute(select(chain_tables.facts.c.key).where(chain_tables.facts.c.kind == "entry"))
        observed = {row.key.removeprefix("entry:") for row in rows}
        return [key for key in self.wishes if key not in observed][:limit]


async def until(condition: Callable[[], Awaitable[bool]], *, seconds: float = 30.0) -> None:
    """Wait for the condition; fails after the deadline."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - the condition is another process's
            await asyncio.sleep(0.05)


async def read_log(settings: Kafka, *, network: str) -> list[frames.Frame]:
    """All frames of the partition, in order."""
    async with kafka.consumer(settings) as client:
        place = TopicPartition(settings.topic, PARTITION)
        client.assign([place])
        end = (await client.end_offsets([place]))[place]
        client.seek(place, 0)
        found: list[frames.Frame] = []
        async with asyncio.timeout(30):
            while len(found) < end:
                batch = await client.getmany(place, timeout_ms=500)
                found += [frames.decode(record.value, network=network) for record in batch.get(place, [])]
        return found


def events_of(log: Iterable[frames.Frame]) -> list[frames.Event]:
    return list(itertools.chain.from_iterable(frame.events for frame in log if isinstance(frame, frames.Page)))


async def coverage_of(engine: AsyncEngine, scope: str) -> list[tuple[str, str]]:
    async with engine.connect() as connection:
        held = await coverage_store.read(connection, scope=scope)
    each = {tuple((one.after, one.through) for one in ranges) for ranges in held.covered.values()}
    assert len(each) <= 1  # every contract is read alike
    return [one for ranges in each for one in ranges]


def an_event(ledger: int, index: int = 0, *, contract: str = CONTRACT, value: str = "AAAAAQ==") -> frames.Event:
    return frames.Event(
        id=f"{ledger << 32 | 1 << 12:019d}-{index:010d}",
        type="contract",
        contract=contract,
        tx_hash=f"{ledger:064x}",
        closed_at="2026-08-20T10:10:22Z",
        topics=("AAAADwAAAAdMT0FOUlBEAA==",),
        value=value,
    )


def an_origin(ledger: int, *, contracts: tuple[str, ...] = (CONTRACT,)) -> frames.Origin:
    return frames.Origin(network=NETWORK, scope=SCOPE, contracts=contracts, through=position.end_of(ledger - 1))


def a_page(after: str, through: str, *events: frames.Event) -> frames.Page:
    return frames.Page(network=NETWORK, scope=SCOPE, kind="live", after=after, through=through, events=events)


async def delete_records(settings: Kafka, *, before: int) -> None:
    async with kafka.admin(settings) as admin:
        await admin.delete_records({TopicPartition(settings.topic, PARTITION): RecordsToDelete(before)})
