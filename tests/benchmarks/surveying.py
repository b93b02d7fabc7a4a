"""A process that surveys `loans` as a sweep does, its settings in the environment; prints what it took and what it found."""

import asyncio
import sys
import time
from contextlib import AbstractAsyncContextManager

import orjson

from deploy import application
from shared.stepfi.settings import Settings
from sweeper import session
from sweeper.model import Finding
from sweeper.report import Extent, Mode
from sweeper.session import Session

TABLE = "loans"


def opened(settings: Settings, *, mode: Mode) -> AbstractAsyncContextManager[Session]:
    """A run of the table alone."""
    scope, subjects = application.stream(settings).scope, application.sweep(settings)
    return session.opened(settings, scope=scope, subjects=subjects, tables=[TABLE], mode=mode, extent=Extent.TABLES)


async def survey(one: Session) -> list[Finding]:
    """All that differs, as the first look of a sweep sees it. Raises RuntimeError for a run that could not be complete."""
    (subject,) = one.chosen
    found = [finding async for finding in subject.survey(one.context)]
    if one.run.reasons:
        raise RuntimeError("; ".join(one.run.reasons))
    return found


async def main() -> None:
    async with opened(application.load(None), mode=Mode.DRY) as one:
        start = time.perf_counter()
        found = await survey(one)
        seconds = time.perf_counter() - start
        compared = one.context.compared[TABLE]
    told = {
        "seconds": seconds,
        "entities": [finding.entity for finding in found],
        "rows": [compared.expected_rows, compared.app_rows],
    }
    sys.stdout.buffer.write(orjson.dumps(told))


if __name__ == "__main__":
    asyncio.run(main())
