"""Read-only client of Stellar RPC: `async with rpc.client(settings) as client`, or `rpc.Client(urls=…, passphrase=…)`.

    client.check         network, version and range of a node
    client.health        the range that a node holds
    client.reach         the range that all nodes hold together
    client.events        a page of events, with the cursor that proves what was scanned
    client.entries       ledger entries in one snapshot
    client.transaction   the outcome of a transaction
    client.nodes         what is known of each node

No method that writes can be named: see `shared.rpc.methods`.
"""

from shared.frames import Entry, Event
from shared.rpc.answers import Checked, EntriesAnswer, EventPage, Health, Reach, Transaction, TransactionStatus
from shared.rpc.client import MAX_CONTRACTS, MAX_KEYS, MAX_PAGE, Client
from shared.rpc.configured import client, glance
from shared.rpc.methods import Method
from shared.rpc.nodes import NodeState

__all__ = [
    "MAX_CONTRACTS",
    "MAX_KEYS",
    "MAX_PAGE",
    "Checked",
    "Client",
    "EntriesAnswer",
    "Entry",
    "Event",
    "EventPage",
    "Health",
    "Method",
    "NodeState",
    "Reach",
    "Transaction",
    "TransactionStatus",
    "client",
    "glance",
]
