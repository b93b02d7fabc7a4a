"""The parts of the demo: servers of its own on free ports, a chain that plays a story, and the settings that lead to them."""

import asyncio
import json
import os
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from deploy import localnet, stack
from deploy.demo.app import chain
from deploy.demo.guide import Guide
from deploy.stack.ports import HOST, free_ports
from shared.settings import PREFIX, environment_name

PLAY_SECONDS = 20
"""How long the recorded story is played, whatever its length."""
SETTLE_SECONDS = 2

_CONTRACTS = {
    "creditline": "creditline",
    "liquidity_pool": "pool",
    "reputation": "reputation",
    "vendor_registry": "vendors",
    "parameters": "parameters",
    "vouching": "vouching",
}
"""The settings' names for contracts, and the recording's."""

Values = Mapping[tuple[str, str], str]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Where everything is. `values` are the settings by section and name; `config` is the file that holds them."""

    kafka: str
    chain_database: str
    app_database: str
    net: localnet.Localnet
    metrics_port: int
    values: Values
    config: Path

    @property
    def environment(self) -> dict[str, str]:
        """The same settings as environment variables."""
        return {environment_name(*path): value for path, value in self.values.items()}


def forget_settings() -> None:
    """The demo has settings of its own: nobody's deployment is touched."""
    for name in [one for one in os.environ if one.startswith(PREFIX)]:
        del os.environ[name]


async def build(guide: Guide, stack_of: AsyncExitStack, truth: chain.ChainTruth, *, directory: Path) -> Stage:
    """Start all parts, the servers side by side; they end with `stack_of`."""
    with guide.bars() as bar:
        bar("PostgreSQL")
        kafka = stack.kafka(progress=bar("Apache Kafka"))
        async with asyncio.TaskGroup() as group:
            broker = group.create_task(stack_of.enter_async_context(kafka))
            server = group.create_task(stack_of.enter_async_context(stack.postgres()))
    databases = server.result()
    own, app = await databases.create_database("chaintrue"), await databases.create_database("app")
    pace = (truth.ledger - truth.start_ledger) / PLAY_SECONDS
    net = await stack_of.enter_async_context(localnet.serve(pace=pace, retention=None))
    (port,) = free_ports(1)
    servers = broker.result().bootstrap_servers
    values = _values(truth, kafka=servers, own=own, app=app, rpc=net.url)
    config = directory / "chaintrue.toml"
    config.touch(mode=0o600)
    config.write_text(_toml({**values, ("metrics", "port"): str(port)}))
    return Stage(
        kafka=servers,
        chain_database=own,
        app_database=app,
        net=net,
        metrics_port=port,
        values=values,
        config=config,
    )


def metrics_url(stage: Stage) -> str:
    """Where the stream serves its metrics."""
    return f"http://{HOST}:{stage.metrics_port}/metrics"


def _values(truth: chain.ChainTruth, *, kafka: str, own: str, app: str, rpc: str) -> dict[tuple[str, str], str]:
    contracts = {("stepfi", name): truth.contracts[recorded] for name, recorded in _CONTRACTS.items()}
    return {
        ("network", "passphrase"): truth.passphrase,
        ("rpc", "urls"): rpc,
        ("rpc", "requests_per_second"): "200",
        ("rpc", "poll_seconds"): "0.2",
        ("kafka", "bootstrap_servers"): kafka,
        ("database", "url"): own,
        ("app_database", "url"): app,
        ("sweep", "settle_seconds"): str(SETTLE_SECONDS),
        ("sweep", "max_tip_age_seconds"): "0",  # the recorded ledgers closed long ago
        **contracts,
    }


def _toml(values: Values) -> str:
    """The settings as a TOML file; a JSON string is a TOML string."""
    sections: dict[str, list[str]] = {}
    for (section, name), value in values.items():
        sections.setdefault(section, []).append(f"{name} = {json.dumps(value)}")
    return "\n".join("\n".join((f"[{section}]", *lines, "")) for section, lines in sections.items())
