"""The chain: each node for itself, and each contract of the settings by what its instance stores."""

from deploy import application
from deploy.doctor.checks import Examination
from shared import coverage_store, database, errors, rpc
from shared.ledger_entry import ContractInstance, instance_key, read_entry
from shared.settings import environment_name
from shared.stepfi import instances
from shared.stepfi.events import Role
from shared.stepfi.settings import Settings


async def examine(found: Examination, settings: Settings, *, with_watermark: bool) -> None:
    """Every node and every contract; contracts are asked of whichever node answers."""
    watermark = await _watermark(settings) if with_watermark else None
    async with rpc.glance(settings) as client:
        newest = 0
        for number, node in enumerate([state.url_shown for state in client.nodes], start=1):
            check = f"rpc node {number}"
            with found.looking(check):
                told = await _node(found, client, node, settings, check=check, watermark=watermark)
                newest = max(newest, told)
        if newest:
            with found.looking("contracts"):
                await _contracts(found, client, settings)


async def _node(
    found: Examination, client: rpc.Client, node: str, settings: Settings, *, check: str, watermark: int | None
) -> int:
    """The node's latest ledger; 0 where it is of no use."""
    try:
        checked = await client.check(node=node)
    except errors.WrongNetwork as error:
        cure = (
            "let CHAINTRUE_NETWORK__PASSPHRASE and CHAINTRUE_RPC__URLS speak of one network, and the node be new enough"
        )
        found.ill(check, str(error.args[0]), cure=error.cure or cure)
        return 0
    except errors.RpcError as error:
        found.ill(check, str(error.args[0]), cure=error.cure or "start the node, or correct CHAINTRUE_RPC__URLS")
        return 0
    held = checked.health
    words = f"{node} answers (version {checked.version or 'not told'}), ledgers {held.oldest_ledger} to {held.latest_ledger}"
    try:
        words += await _as_the_stream(client, node, settings, ledger=held.latest_ledger)
    except errors.RpcError as error:
        cure = error.cure or "ask the provider of the node, or remove it from CHAINTRUE_RPC__URLS"
        found.ill(check, f"{words}; but it does not take what the stream asks: {error.args[0]}", cure=cure)
        return held.latest_ledger
    if watermark is None:
        found.well(check, words)
    elif watermark + 1 < held.oldest_ledger:
        cure = (
            "run `chaintrue stream`: it fills from another node what is left, and re-reads the rest from ledger entries"
        )
        found.ill(check, f"{words}; the tables end at {watermark}, and what follows is no longer held", cure=cure)
    else:
        found.well(check, f"{words}; the tables are at {watermark}, {held.latest_ledger - watermark} behind it")
    return held.latest_ledger


async def _as_the_stream(client: rpc.Client, node: str, settings: Settings, *, ledger: int) -> str:
    """Ask the node for one page and for entries as the stream does; return what is to be said of it. Raises an RpcError."""
    contracts = application.stream(settings).contracts
    limit = settings.rpc.page_limit
    await client.events(contracts=contracts, start_ledger=ledger, limit=limit, node=node)
    await client.entries(keys=[instance_key(contract) for contract in contracts], node=node)
    taken = next(state.page_limit for state in client.nodes if state.url_shown == node)
    return "" if taken is None else f", pages of {taken} events (CHAINTRUE_RPC__PAGE_LIMIT is {limit})"


async def _watermark(settings: Settings) -> int | None:
    """The ledger up to which the tables are whole; None where that cannot be told: other checks say why."""
    try:
        async with (
            database.connect(settings.database, section="database") as engine,
            engine.connect() as connection,
        ):
            mark = await coverage_store.watermark(connection, scope=application.stream(settings).scope)
            return None if mark is None else mark.ledger
    except Exception:  # noqa: BLE001 - a database without tables, or none at all: looked at elsewhere
        return None


async def _contracts(found: Examination, client: rpc.Client, settings: Settings) -> None:
    configured = {role: getattr(settings.stepfi, role.value) for role in Role}
    keys = {role: instance_key(contract) for role, contract in configured.items() if contract is not None}
    answer = await client.entries(keys=list(keys.values()))
    for role, key in keys.items():
        with found.looking(f"contract {role.value}"):
            entry = answer.entries.get(key)
            _contract(found, role, configured, None if entry is None else entry.xdr)


def _contract(found: Examination, role: Role, configured: dict[Role, str | None], xdr: str | None) -> None:
    check, variable = f"contract {role.value}", environment_name("stepfi", role.value)
    correct = f"let {variable} name the contract of that role, on the network of CHAINTRUE_NETWORK__PASSPHRASE"
    if xdr is None:
        words = f"{configured[role]} is not on chain at the latest ledger, or archived"
        found.ill(check, words, cure=f"{correct}; an archived one is restored with `stellar contract restore`")
        return
    instance = read_entry(xdr).value
    if not isinstance(instance, ContractInstance):
        found.ill(check, "its instance cannot be read", cure=correct)
        return
    if instance.wasm_hash is None:
        found.ill(check, f"{configured[role]} is the contract of a Stellar asset", cure=correct)
        return
    shown = instances.role_of(instance)
    if shown is not None and shown is not role:
        found.ill(check, f"{configured[role]} stores what a {shown.value} stores", cure=correct)
        return
    strangers = [
        f"{other.value} {address}"
        for other, address in sorted(instances.works_with(instance).items(), key=lambda one: one[0].value)
        if configured[other] not in (None, address)
    ]
    if strangers:
        names = ", ".join(environment_name("stepfi", one.split()[0]) for one in strangers)
        cure = f"let {names} name those, or correct {variable}"
        found.ill(
            check, f"{configured[role]} works with other contracts than the settings: {', '.join(strangers)}", cure=cure
        )
        return
    wasm = f"with the code {instance.wasm_hash.hex()}"
    if shown is None:
        words = f"{configured[role]} is on chain {wasm}; it stores nothing yet by which its role could be told"
        found.well(check, words, cure=f"make sure that {variable} is right")
    else:
        found.well(check, f"{configured[role]} is on chain {wasm}")
