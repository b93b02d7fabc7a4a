"""The peer of `apply`: a Faust agent as one writes it first, in a process of its own.

One Kafka record an event (its JSON), stellar-sdk for topics and value, one upsert an event; Faust as it comes. When so many
events are stored it prints `seconds` and how many they took, from the first one's arrival to the last one's commit, and is ended.

    python -m tests.benchmarks.plain_agent SERVERS TOPIC DATABASE_URL EVENTS DIRECTORY
"""

import json
import sys
import time
import uuid
from typing import Any

import asyncpg
import faust
from stellar_sdk import scval, xdr

ANSWER = "seconds"
"""The word that the answer begins with; Faust prints a banner, and takes sys.stdout for its log."""
TABLE = """
CREATE TABLE events (
  id text PRIMARY KEY, contract text NOT NULL, tx_hash text NOT NULL, closed_at text NOT NULL, topics json, value json)
"""
_UPSERT = """
INSERT INTO events (id, contract, tx_hash, closed_at, topics, value) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (id) DO UPDATE SET topics = excluded.topics, value = excluded.value
"""


def native(text: str) -> Any:
    return scval.to_native(xdr.SCVal.from_xdr(text))


def as_json(value: object) -> str:
    return json.dumps(value, default=lambda one: getattr(one, "address", None) or str(one))


def application(servers: str, topic_name: str, url: str, events: int, directory: str) -> Any:
    """The Faust app."""
    app = faust.App(
        f"plain-{uuid.uuid4().hex}", broker=f"aiokafka://{servers}", value_serializer="json", datadir=directory
    )
    topic = app.topic(topic_name)

    @app.agent(topic)
    async def store(stream: Any) -> None:
        async with asyncpg.create_pool(url) as pool:
            stored, start = 0, 0.0
            async for event in stream:
                start = start or time.perf_counter()
                topics = [native(one) for one in event["topic"]]
                value = native(event["value"])
                await pool.execute(
                    _UPSERT,
                    event["id"],
                    event["contractId"],
                    event["txHash"],
                    event["ledgerClosedAt"],
                    as_json(topics),
                    as_json(value),
                )
                stored += 1
                if stored == events:
                    print(ANSWER, time.perf_counter() - start, file=sys.__stdout__, flush=True)

    return app


if __name__ == "__main__":
    servers, topic_name, url, events, directory = sys.argv[1:]
    sys.argv[1:] = ["worker", "--loglevel", "error", "--without-web"]
    application(servers, topic_name, url, int(events), directory).main()
