"""The methods of Stellar RPC that chaintrue may call: all of them read, and a name that is not here cannot be sent."""

from enum import StrEnum


class Method(StrEnum):
    """Closed on purpose: the one function that sends a request takes a member of it and nothing else."""

    GET_HEALTH = "getHealth"
    GET_NETWORK = "getNetwork"
    GET_VERSION_INFO = "getVersionInfo"
    GET_EVENTS = "getEvents"
    GET_LEDGER_ENTRIES = "getLedgerEntries"
    GET_TRANSACTION = "getTransaction"
