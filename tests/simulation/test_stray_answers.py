"""Single answers of another network, or with a latest ledger that is far too high, anywhere in a run: no table shows them.

The node is the only one, so each such answer comes from a node that is trusted: a gateway sent one request elsewhere. For some
seconds the node also refuses all, as in a deploy. Afterwards the stream runs as before, no process has ended, no gap is noted.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

from deploy.localnet import faults
from deploy.localnet.faults import Fault
from shared import frames, kafka, position
from tests.simulation import scene, tables
from tests.simulation.scene import ONE_PROCESS, Part, Scene, Servers
from tests.simulation.seeds import seeds

PLAY_SECONDS = 20.0
OLDEST, LATEST = 57_879_040, 58_000_000
CLOSED = 1_783_000_000
METHODS = ("getEvents", "getHealth", "getLedgerEntries", "getNetwork", "getVersionInfo")
HIGH_SECONDS = 4.0
DENIED_SECONDS = 3.0


def range_error(_: str) -> Fault:
    return faults.rpc_error(-32600, f"startLedger must be within the ledger range: {OLDEST} - {LATEST}")


def another(method: str) -> Fault:
    """What a node of another network answers to this method."""
    if method == "getNetwork":
        return faults.another_network("Another Network ; 2015")
    return faults.telling(
        version="99.0.0",
        oldestLedger=OLDEST,
        latestLedger=LATEST,
        oldestLedgerCloseTime=str(CLOSED - 700_000),
        latestLedgerCloseTime=str(CLOSED),
        events=[],
        entries=[],
        cursor=position.end_of(LATEST),
    )


def too_high(_: str) -> Fault:
    return faults.telling(latestLedger=LATEST)


class Gateway:
    """Answers wrongly once for each method, at a random one of its requests, and for some seconds in other ways."""

    def __init__(self, chance: Random) -> None:
        self._turns = {method: chance.randint(1, 8) for method in METHODS}
        self._range_error_at = self._turns["getEvents"] + chance.randint(1, 30)
        self._asked: Counter[str] = Counter()
        self.had: Counter[str] = Counter()
        self.throughout: Callable[[str], Fault] | None = None

    def __str__(self) -> str:
        return f"{self._turns}, a range error at request {self._range_error_at} of getEvents"

    def __call__(self, method: str) -> Fault | None:
        self._asked[method] += 1
        if method == "getEvents" and self._asked[method] == self._range_error_at:
            self.had["range error"] += 1
            return range_error(method)
        if self._asked[method] == self._turns.get(method):
            self.had[method] += 1
            return another(method)
        if self.throughout is not None:
            self.had["throughout"] += 1
            return self.throughout(method)
        return None


async def disturb(gateway: Gateway, chance: Random) -> None:
    """Let the latest ledger be too high for some seconds, and the node refuse all for some others."""
    status = chance.choice([301, 403, 404, 408, 421, 425])
    disturbances = [(too_high, HIGH_SECONDS), (lambda _: Fault(status=status), DENIED_SECONDS)]
    chance.shuffle(disturbances)
    for kind, seconds in disturbances:
        await asyncio.sleep(chance.uniform(1, 4))
        gateway.throughout = kind
        await asyncio.sleep(seconds)
        gateway.throughout = None


@seeds(usual=1, kept=[])
async def test_a_stray_answer_leaves_no_trace(
    servers: Servers, part: Part, undisturbed: tables.Dump, tmp_path: Path, seed: int
) -> None:
    chance = Random(seed)  # noqa: S311 - draws what goes wrong, guards nothing
    gateway = Gateway(chance)
    print(f"seed {seed}: {gateway}")  # noqa: T201 - shown where the test fails
    async with scene.with_chain(servers, part, directory=tmp_path, topology=ONE_PROCESS) as (made, net):
        net.fault = gateway
        await made.start()
        await made.until("SELECT count(*) > 0 FROM chain.scopes")
        playing = scene.play([net], part.ledgers, seconds=PLAY_SECONDS)
        await asyncio.gather(playing, disturb(gateway, chance))
        await made.settled()
        await made.stop()
        assert made.failures() == []
        await made.check_against_the_log()
        found = await tables.chain_values(made.url)
        for table, rows in undisturbed.items():
            assert found[table] == rows, table
    assert gateway.had["throughout"] > 0
    assert gateway.had["getEvents"] == gateway.had["range error"] == 1


async def test_a_gap_of_an_earlier_version_is_taken_back(
    servers: Servers, part: Part, undisturbed: tables.Dump, tmp_path: Path
) -> None:
    """The log ends with a gap up to another network's oldest ledger, as one stray answer used to leave it."""
    middle = len(part.ledgers) // 2
    async with scene.with_chain(servers, part, directory=tmp_path, topology=ONE_PROCESS) as (made, net):
        await made.start()
        await scene.play([net], part.ledgers[:middle], seconds=1)
        await made.covered(through=part.ledgers[middle - 1])
        await made.stop()
        await note_gap(made, after=part.ledgers[middle - 1])
        await made.start()
        await made.until(f"SELECT count(*) > 0 FROM chain.gaps WHERE through = '{position.end_of(OLDEST - 1)}'")
        await scene.play([net], part.ledgers[middle:], seconds=1)
        code, said, _ = await made.run("status")
        assert (code, "--withdraw-gap" in " ".join(said.split())) == (2, True), said
        code, said, complaint = await made.run("backfill", "--withdraw-gap")
        assert (code, f"to {OLDEST - 1} is withdrawn" in said) == (0, True), said + complaint
        await made.settled()
        code, said, complaint = await made.run("backfill", "--withdraw-gap")
        assert (code, said.strip()) == (0, "No gap ends beyond the newest ledger of the nodes."), complaint
        await made.stop()
        assert made.failures() == []
        found = await tables.chain_values(made.url)
        for table, rows in undisturbed.items():
            assert found[table] == rows, table


async def note_gap(made: Scene, *, after: int) -> None:
    gap = frames.Gap(
        network=made.part.header["networkPassphrase"],
        scope=made.part.application.scope,
        after=position.end_of(after),
        through=position.end_of(OLDEST - 1),
        reason="no RPC node that answers holds these ledgers any more",
    )
    async with kafka.writer(made.kafka) as writer:
        await writer.write(0, [gap])
