"""The methods that are served, by name, and those that are not, with the reason."""

from collections.abc import Callable

from deploy.localnet import chain, entries, events, ledgers, rpcerrors, transactions
from deploy.localnet.shapes import Record, decode

Method = Callable[[object, chain.View], dict[str, object]]

NOT_SERVED = {
    "sendTransaction": "the recorded chain takes no transactions; a client that sends one is at fault, and is counted",
    "simulateTransaction": "there is no contract to run; a client that asks is at fault, and is counted",
    "getFeeStats": "fees are not part of a recording",
}
MAX_LATENCY_SECONDS = 30


def get_health(params: object, view: chain.View) -> dict[str, object]:
    decode(params, Record("protocol.GetHealthRequest"))
    held = view.range(failing=f"[-32603] data stores are not initialized: {rpcerrors.EMPTY_STORE}")
    if view.clock is not None:
        latency = view.clock() - held.latest_closed_at
        if latency > MAX_LATENCY_SECONDS:
            told = f"latency ({duration(round(latency))}) since last known ledger closed is too high (>{MAX_LATENCY_SECONDS}s)"
            raise rpcerrors.internal(f"[-32603] {told}")
    return {
        "status": "healthy",
        "latestLedger": held.latest,
        "latestLedgerCloseTime": str(held.latest_closed_at),
        "oldestLedger": held.oldest,
        "oldestLedgerCloseTime": str(held.oldest_closed_at),
        "ledgerRetentionWindow": view.retention,
    }


def get_network(params: object, view: chain.View) -> dict[str, object]:
    decode(params, Record("protocol.GetNetworkRequest"))
    view.range()
    return {"passphrase": view.history.header["networkPassphrase"], "protocolVersion": view.protocol}


def get_version_info(params: object, view: chain.View) -> dict[str, object]:
    decode(params, Record("protocol.GetVersionInfoRequest"))
    return {
        "version": view.build.version,
        "commitHash": view.build.commit_hash,
        "buildTimestamp": view.build.build_timestamp,
        "captiveCoreVersion": view.build.captive_core_version,
        "protocolVersion": 0 if view.tip is None else view.protocol,
    }


def duration(seconds: int) -> str:
    """Seconds in the server's notation: `35s`, `1h2m3s`."""
    hours, rest = divmod(seconds, 3600)
    minutes, rest = divmod(rest, 60)
    if hours:
        return f"{hours}h{minutes}m{rest}s"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


SERVED: dict[str, Method] = {
    "getHealth": get_health,
    "getNetwork": get_network,
    "getVersionInfo": get_version_info,
    "getEvents": events.get_events,
    "getLedgerEntries": entries.get_ledger_entries,
    "getTransaction": transactions.get_transaction,
    "getTransactions": transactions.get_transactions,
    "getLatestLedger": ledgers.get_latest_ledger,
    "getLedgers": ledgers.get_ledgers,
}


def call(method: str, params: object, view: chain.View) -> dict[str, object]:
    """The result of a method. Raises MethodError, -32601 for an unknown one."""
    served = SERVED.get(method)
    if served is None:
        raise rpcerrors.MethodError(rpcerrors.METHOD_NOT_FOUND, "method not found", method)
    return served(params, view)
