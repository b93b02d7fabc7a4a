"""How a replay ends that is stopped: as stopped, whatever its sessions say while they are taken away."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def stopped_is_stopped() -> Iterator[None]:
    """Any error of a task that is being cancelled is its cancellation.

    A statement that is cancelled closes its connection, and whoever rolls back on it then hears of that first: "cannot call
    Transaction.rollback(): the underlying connection is closed" would stand in the place of the stop that was asked for.
    """
    try:
        yield
    except Exception as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError from error
        raise
