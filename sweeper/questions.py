"""Questions to the chain about entries, in few requests, with the answers' own ledger and node kept as proof."""

from collections.abc import Sequence
from dataclasses import dataclass

from shared import errors, frames, rpc
from sweeper.context import Context

ARCHIVED = 0
"""What live-until says of an entry that is archived, or of which the node does not know: never that it is gone."""

PATIENCE = 2
"""Requests in a row that may stay without an answer: each has cost its whole budget of retries, so no more are made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a node held under a key (base64; `xdr` None: nothing), in a snapshot at `ledger`."""

    key: str
    xdr: str | None
    last_modified: int | None
    live_until: int | None
    ledger: int
    node: str

    @property
    def is_archived(self) -> bool:
        return self.live_until == ARCHIVED

    def entry(self) -> frames.Entry:
        """The answer, as the log has it."""
        return frames.Entry(key=self.key, xdr=self.xdr, last_modified=self.last_modified, live_until=self.live_until)

    def evidence(self) -> dict[str, object]:
        """The answer, for the report."""
        return {
            "asked_at_ledger": self.ledger,
            "node": self.node,
            "entry_last_modified_ledger": self.last_modified,
            "entry_live_until_ledger": self.live_until,
        }


async def ask(context: Context, keys: Sequence[str]) -> dict[str, Held]:
    """The entries of all keys (base64), 200 a request, none older than the watermark; keys nobody answered are left out."""
    answered: dict[str, Held] = {}
    unique = list(dict.fromkeys(keys)) if context.chain_was_asked else []
    unheard = 0
    for start in range(0, len(unique), rpc.MAX_KEYS):
        some = unique[start : start + rpc.MAX_KEYS]
        try:
            answer = await context.rpc.entries(keys=some, min_ledger=context.watermark.ledger)
        except (errors.RpcError, TimeoutError):
            unheard += 1
            if unheard == PATIENCE:
                break
            continue
        unheard = 0
        limit = context.watermark.ledger + context.settings.max_lag_ledgers
        for key in some:
            entry = answer.entries.get(key)
            if entry is not None and entry.last_modified is not None and entry.last_modified > limit:
                context.late_entries[key] = entry.last_modified
            answered[key] = Held(
                key=key,
                xdr=None if entry is None else entry.xdr,
                last_modified=None if entry is None else entry.last_modified,
                live_until=None if entry is None else entry.live_until,
                ledger=answer.latest_ledger,
                node=answer.node,
            )
    if unique and not answered:
        context.chain_was_asked = False
    return answered
