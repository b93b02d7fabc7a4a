"""A stream over several nodes that are late, half, wrong, silent or of another network: nothing is lost, doubled or invented.

One node keeps all ledgers, one forgets early, one is of another network; each has faults of its own. At the end events and
coverage are exactly what the recording says, and no ledger counts as superseded that a node held.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import aiohttp

from deploy import localnet
from deploy.localnet import faults
from deploy.stack.ports import HOST, free_ports
from tests.simulation import scene, tables
from tests.simulation.scene import ONE_PROCESS, Part, Scene, Servers
from tests.simulation.seeds import seeds
from tests.simulation.tempers import TIMEOUT_SECONDS, Temper

PLAY_SECONDS = 12.0
OUTAGE_SECONDS = 4.0
FORGETFUL_LEDGERS = 60_000
BEGUN_LEDGERS = 120
"""So many of the part's ledgers have closed when the stream begins, at a ledger that the forgetful node holds."""
OUTAGE_REQUESTS = 40
"""Three loops ask, each with pauses that grow; the budget in the settings would be 200 a second."""
USUAL_REQUESTS_A_SECOND = 8
"""A look at the tip every 0.2 s, an observation a second, now and then a page of a gap."""
REQUESTS_A_FAULT = 4
"""The same again, elsewhere, and the three of a check."""
ELSEWHERE = "Some Other Network ; January 2026"


@dataclass(frozen=True, kw_only=True)
class Nodes:
    """`urls` by priority; the tempers by the names of the nodes."""

    whole: localnet.Localnet
    forgetful: localnet.Localnet
    foreign: localnet.Localnet
    urls: Sequence[str]
    tempers: dict[str, Temper]

    @property
    def ours(self) -> list[localnet.Localnet]:
        return [self.whole, self.forgetful]

    def __str__(self) -> str:
        names = {self.whole.url: "whole", self.forgetful.url: "forgetful", self.foreign.url: "foreign"}
        each = ((names[url], self.tempers.get(names[url], "of another network")) for url in self.urls)
        return "; ".join(f"{name}, {temper}" for name, temper in each)

    def turn(self, **changes: bool) -> None:
        """Change how our nodes behave, from now on."""
        for temper in self.tempers.values():
            for name, value in changes.items():
                setattr(temper, name, value)

    @property
    def requests(self) -> int:
        return sum(sum(node.requests.values()) for node in (*self.ours, self.foreign))

    @property
    def faults(self) -> int:
        return sum(sum(temper.had.values()) for temper in self.tempers.values())


@asynccontextmanager
async def nodes(part: Part, chance: Random) -> AsyncIterator[Nodes]:
    tip = part.ledgers[BEGUN_LEDGERS]
    async with AsyncExitStack() as exits:
        serving = [
            localnet.serve(history=part.path, tip=tip, retention=retention) for retention in (None, FORGETFUL_LEDGERS)
        ]
        whole, forgetful = [await exits.enter_async_context(one) for one in serving]
        foreign = await exits.enter_async_context(localnet.serve(history=part.path, tip=part.last, retention=None))
        foreign.fault = lambda _: faults.another_network(ELSEWHERE)
        tempers = {"whole": Temper.draw(chance, keeps_all=True), "forgetful": Temper.draw(chance)}
        whole.fault, forgetful.fault = tempers["whole"], tempers["forgetful"]
        ours = [whole.url, forgetful.url]
        chance.shuffle(ours)
        # At the start the first node is asked, and one of another network would end it: a mistake in the settings.
        urls = [ours[0], *chance.sample([ours[1], foreign.url], 2)]
        yield Nodes(whole=whole, forgetful=forgetful, foreign=foreign, urls=urls, tempers=tempers)


@seeds(
    usual=1,
    kept=[
        5,  # ledgers that one node had forgotten counted as superseded, though another held them (filler asked the first alone)
    ],
)
async def test_whatever_the_nodes_do_nothing_is_lost_doubled_or_invented(
    servers: Servers, part: Part, undisturbed: tables.Dump, tmp_path: Path, seed: int
) -> None:
    chance = Random(seed)  # noqa: S311 - draws what goes wrong, guards nothing
    outage = chance.uniform(1, PLAY_SECONDS - OUTAGE_SECONDS)
    (port,) = free_ports(1)
    async with nodes(part, chance) as found:
        print(f"seed {seed}: {found}; none answers after {outage:.1f} s")  # noqa: T201 - shown where the test fails
        settings = {
            ("rpc", "timeout_seconds"): str(TIMEOUT_SECONDS),
            ("stream", "start_ledger"): str(found.forgetful.oldest_ledger),
            ("metrics", "port"): str(port),
        }
        async with scene.scene(
            servers, part, urls=found.urls, directory=tmp_path, topology=ONE_PROCESS, settings=settings
        ) as made:
            await made.start()
            await made.until("SELECT count(*) > 0 FROM chain.scopes")
            began, before = time.monotonic(), found.requests
            found.turn(bad=True)
            playing = scene.play(found.ours, part.ledgers[BEGUN_LEDGERS:], seconds=PLAY_SECONDS)
            _, asked = await asyncio.gather(playing, requests_in_outage(found, after=outage))
            await made.settled()
            assert asked <= OUTAGE_REQUESTS
            usual = (time.monotonic() - began) * USUAL_REQUESTS_A_SECOND
            assert found.requests - before <= usual + found.faults * REQUESTS_A_FAULT, found.tempers
            await check_what_is_told(made, found, port)
            await made.stop()
            assert made.failures() == []
            await made.check_against_the_log()
            values = await tables.chain_values(made.url)
            for table in sorted(undisturbed.keys() - {"gaps", "scopes"}):  # it began elsewhere
                assert values[table] == undisturbed[table], table


async def requests_in_outage(found: Nodes, *, after: float) -> int:
    """For some seconds none of our nodes answers; gives how many requests were sent meanwhile."""
    await asyncio.sleep(after)
    before = found.requests
    found.turn(down=True)
    await asyncio.sleep(OUTAGE_SECONDS)
    found.turn(down=False)
    return found.requests - before


async def check_what_is_told(made: Scene, found: Nodes, port: int) -> None:
    """The status names the nodes that are of no use, and why; the metric tells which of them the stream trusts."""
    found.turn(bad=False)
    found.tempers["forgetful"].down = True
    _, told, said = await made.run("status", "--json")
    troubles = {one["node"]: one["trouble"] for one in json.loads(told)["nodes"]}
    assert troubles.keys() == set(found.urls), said
    assert troubles[found.whole.url] is None
    assert "HTTP 503" in troubles[found.forgetful.url]
    assert ELSEWHERE in troubles[found.foreign.url]
    async with aiohttp.ClientSession() as session, session.get(f"http://{HOST}:{port}/metrics") as response:
        lines = (await response.text()).splitlines()
    trusted = {url: f'chaintrue_rpc_node_trusted{{node="{url}"}}' for url in found.urls}
    shown = {url: next(line for line in lines if line.startswith(name)).split()[-1] for url, name in trusted.items()}
    assert shown[found.foreign.url] == "0.0", shown  # it was asked when none of ours answered
    assert shown[found.whole.url] in {"0.0", "1.0"}, shown
