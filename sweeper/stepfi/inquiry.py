"""Asking the nodes for the outcome of transactions: bounded in time and number, whatever the nodes do."""

import asyncio
from collections.abc import Mapping, Sequence

from shared import errors, rpc
from sweeper.stepfi import settlement
from sweeper.stepfi.settlement import Pending, StoredEvent, Told

CONCURRENCY = 8
"""Questions under way at once."""
PATIENCE = CONCURRENCY
"""Questions in a row that a node (or the client, with all nodes) may leave unanswered: each has cost its whole budget of
retries, so after one round of them nothing more is asked there."""


class Inquiry:
    """All questions of one survey.

    asked, answered  how many questions were put and answered
    chain_time       the newest close time (unix seconds) that is known of the chain
    is_silent        whether no node answered before, so that none is asked
    """

    def __init__(self, client: rpc.Client, *, chain_time: int, is_silent: bool = False) -> None:
        self._client = client
        self._slots = asyncio.Semaphore(CONCURRENCY)
        self._unanswered: dict[str | None, int] = {None: PATIENCE} if is_silent else {}
        self._oldest: dict[str, int] = {}  # close times (unix seconds): what a node trimmed it does not get back
        self.chain_time = chain_time
        self.asked = 0
        self.answered = 0

    async def about(self, rows: Sequence[Pending], events: Mapping[str, StoredEvent]) -> list[list[Told]]:
        """For each row what is told of each of the hashes that are asked for."""
        async with asyncio.TaskGroup() as group:
            tasks = [
                [group.create_task(self._about(row, tx_hash, events.get(tx_hash))) for tx_hash in row.asked]
                for row in rows
            ]
        return [[task.result() for task in of_row] for of_row in tasks]

    async def _about(self, pending: Pending, tx_hash: str, event: StoredEvent | None) -> Told:
        async with self._slots:
            told = await self._ask(Told(tx_hash=tx_hash, event=event), None)
            nodes = [node.url_shown for node in self._client.nodes]
            unheard: set[str] = set()
            while node := settlement.next_node(pending, told, chain_time=self.chain_time, nodes=nodes, unheard=unheard):
                before = len(told.answers)
                told = await self._ask(told, node)
                if len(told.answers) == before:
                    unheard.add(node)
                    if not pending.is_beyond(self._oldest.get(node, 0)):
                        told = told.unanswered(node)
            return told

    async def _ask(self, told: Told, node: str | None) -> Told:
        """The same with one more answer, or one more trouble. `node` None asks whom the client trusts most."""
        self.asked += 1
        unanswered = self._unanswered.get(node, 0)
        if unanswered >= PATIENCE:
            words = f"{node or 'RPC'} left {unanswered} questions in a row unanswered and was not asked any more"
            return told.troubled(words)
        try:
            answer = await self._client.transaction(told.tx_hash, node=node)
        except errors.RpcError as error:
            self._unanswered[node] = self._unanswered.get(node, 0) + 1
            return told.troubled(str(error.args[0]))
        self._unanswered[node] = 0
        self._oldest[answer.node] = max(self._oldest.get(answer.node, 0), answer.oldest_close_time)
        self.answered += 1
        self.chain_time = max(self.chain_time, answer.latest_close_time)
        return told.answered(answer)
