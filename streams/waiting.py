"""How the running stream waits where RPC is of no use: with growing pauses, and with a hint at each refusal.

A command that starts ends by a refusal: its settings are wrong. A stream that runs has had answers, so the same refusal is a
deploy, a proxy's challenge, a quota or a gateway that sent a request elsewhere. It passes, or somebody sees to it meanwhile.
"""

import asyncio

import structlog

from shared import errors

log = structlog.get_logger()

FIRST_SECONDS = 1.0
LONGEST_SECONDS = 30.0


def is_waited_for(error: BaseException) -> bool:
    """Whether the running stream waits until this error is over. A chain that began anew does not come back."""
    return isinstance(error, errors.RpcError) and not isinstance(error, errors.ChainReset)


class Waiting:
    """Pauses that double until the trouble is over. An outage is logged once, a refusal each time."""

    def __init__(self, words: str, *, first: float = FIRST_SECONDS, longest: float = LONGEST_SECONDS) -> None:
        """`words` are what the log says that cannot be done now."""
        self._words = words
        self._first = first
        self._longest = longest
        self._pause = first
        self.is_going_on = False

    async def pause(self, error: errors.ChaintrueError | str) -> None:
        """Log the error where it is news, and wait."""
        self.tell(error)
        await asyncio.sleep(self._pause)
        self._pause = min(self._pause * 2, self._longest)

    def tell(self, error: errors.ChaintrueError | str) -> None:
        """Log the error unless it is an outage that was logged already."""
        refused = isinstance(error, errors.ChaintrueError) and not error.retryable
        if refused or not self.is_going_on:
            hint = error.cure if isinstance(error, errors.ChaintrueError) else None
            words = str(error.args[0]) if isinstance(error, errors.ChaintrueError) else error
            log.warning(self._words, error=words, **({} if hint is None else {"hint": hint}))
        self.is_going_on = True

    def over(self) -> None:
        """Begin with short pauses again."""
        self._pause = self._first
        self.is_going_on = False
