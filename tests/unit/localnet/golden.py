"""The recorded answers of the real server, and how each of its states is played."""

import gzip
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path

from deploy import localnet
from tests.recordings import VECTORS

# The recorded server was built without a version stamp.
BUILD = localnet.Build(version="0.0.0")


@dataclass(frozen=True)
class State:
    """The arguments of `serve` that make the node what it was when the answers were recorded."""

    history: Path = VECTORS / "story-real.jsonl.gz"
    tip: int = 3_624_900
    since: int | None = None
    retention: int = 120_960
    clock: Callable[[], float] | None = None

    def serve(self) -> AbstractAsyncContextManager[localnet.Localnet]:
        return localnet.serve(
            history=self.history,
            tip=self.tip,
            since=self.since,
            retention=self.retention,
            clock=self.clock,
            build=BUILD,
        )


STATES = {
    "whole": State(retention=224_901),
    "week": State(),
    "young": State(tip=3_400_010),
    "middle": State(tip=3_417_340, retention=17_280),
    "archive": State(since=5_473_590, tip=5_473_640),
    "stages": State(history=VECTORS / "stages.jsonl.gz", tip=3_700_004),
    # The clock of the recorded machine, as its answer tells it.
    "unhealthy": State(clock=lambda: 1_796_579_039.0),
    "empty": State(tip=0),
}


@dataclass(frozen=True)
class Pair:
    """A request and the answer to it. `answer` is parsed JSON, or text if the body is not JSON."""

    name: str
    state: str
    request: object
    status: int
    answer: object
    http: dict[str, str] = field(default_factory=dict)
    body_bytes: int = 0
    volatile: bool = False

    def body(self) -> bytes:
        text = self.request if isinstance(self.request, str) else json.dumps(self.request)
        if self.body_bytes:
            text = text[:-1] + " " * (self.body_bytes - len(text.encode())) + text[-1]
        return text.encode()


def pairs() -> list[Pair]:
    with gzip.open(VECTORS / "rpc-golden.jsonl.gz", "rt", encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    return [
        Pair(
            name=record["name"],
            state=record["state"]["name"],
            request=record["request"],
            status=record["status"],
            answer=record["answer"],
            http=record.get("http", {}),
            body_bytes=record.get("bodyBytes", 0),
            volatile=record.get("volatile", False),
        )
        for record in records
    ]
