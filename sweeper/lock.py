"""One run at a time on a database of chaintrue, across processes and machines: a session lock, watched while the run goes on.

What fences a run that has lost its lock without knowing: it asks before each batch (`Alone.ensure`), the next run declares it
over in `recon.runs` before it begins, so that its journal takes no intent any more, and every write is a compare-and-set.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from sqlalchemy import Executable
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import errors, pooler, session_lock, transient
from shared.settings import Database

LOCK = 0x7377656570  # any fixed number
HEARTBEAT_SECONDS = 1.0
_FAILURES = (SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)


def lost() -> errors.LockLost:
    """What ends a run whose lock another one may hold by now."""
    return errors.LockLost(cure="run it again: the next run settles what this one left open")


class Alone:
    """The lock of the runs, as the session that took it. Once lost it stays lost, whatever the connection says later."""

    def __init__(self, connection: AsyncConnection, *, pid: int) -> None:
        self._connection = connection
        self._pid = pid
        self._turn = asyncio.Lock()  # heartbeat and run share the connection, which answers one question at a time
        self._lost = False

    async def ensure(self) -> None:
        """Raise LockLost unless the lock is still ours: asked before each batch that is written."""
        async with self._turn:
            await self._ensure()

    async def execute(self, *statements: Executable) -> None:
        """Run the statements, each by itself, in the session that holds the lock: once that has ended they do nothing."""
        async with self._turn:
            await self._ensure()
            try:
                async with asyncio.timeout(session_lock.ANSWER_SECONDS):
                    for statement in statements:
                        await self._connection.execute(statement)
            except _FAILURES as error:
                if not transient.is_transient(error):
                    raise
                self._lost = True
                raise lost() from error

    async def _ensure(self) -> None:
        if not self._lost:
            self._lost = not await self._is_held()
        if self._lost:
            raise lost()

    async def _is_held(self) -> bool:
        try:
            async with asyncio.timeout(session_lock.ANSWER_SECONDS):
                return await session_lock.holder(self._connection, LOCK) == self._pid
        except _FAILURES:
            return False

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Look after the lock while the block runs; the block is cancelled, and LockLost raised, as soon as it is lost."""
        try:
            async with asyncio.timeout(None) as until:
                watching = asyncio.create_task(self._watch(until))
                try:
                    yield
                finally:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(HEARTBEAT_SECONDS), self._turn:
                            pass  # not in the middle of a question, if it can be: that would end the connection
                    watching.cancel()
                    await asyncio.wait({watching})
        except TimeoutError:
            if not until.expired():
                raise
            raise lost() from None

    async def _watch(self, until: asyncio.Timeout) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            try:
                await self.ensure()
            except errors.LockLost:
                until.reschedule(asyncio.get_running_loop().time())
                return

    async def release(self) -> None:
        """Give it back at once, if the connection still answers; with the session it goes in any case."""
        try:
            async with self._turn, asyncio.timeout(HEARTBEAT_SECONDS):
                await session_lock.release(self._connection, LOCK)
        except _FAILURES:
            return


@asynccontextmanager
async def alone(settings: Database, *, section: str = "database") -> AsyncIterator[Alone]:
    """Hold the lock for the block. Raises AlreadyRunning when another process has it, SettingError where none can be held."""
    await pooler.require_sessions(settings, section=section)
    async with session_lock.session(settings) as connection:
        if not await session_lock.take(connection, LOCK):
            raise errors.AlreadyRunning(
                "another sweep is running on this database", cure="wait for it, or look at it with `chaintrue status`"
            )
        pid = await session_lock.holder(connection, LOCK)
        if pid is None:
            raise lost()
        lock = Alone(connection, pid=pid)
        try:
            yield lock
        finally:
            await lock.release()
