"""Logging: every line, ours and the libraries', goes through structlog to stderr, and no line shows a secret.

Libraries log at WARNING and above, in one line each: what stops the process is raised, and told once by whoever ends it.
"""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

from shared.masking import mask
from shared.settings import LogFormat

_NOISY = ("aiokafka", "alembic", "apscheduler", "faust", "mode", "asyncio", "kafka")
# A service of mode that crashes logs its traceback once for each service around it; the worker raises the cause instead.
_TOLD_ELSEWHERE = ("Crashed reason=", "[^---", 'Unable connect to "', 'Unable to request metadata from "')
REPEAT_SECONDS = 10.0
_MESSAGES = 1000

EventDict = MutableMapping[str, Any]


def mask_line(_logger: object, _method: str, line: EventDict | str) -> str:
    """The last processor: nothing that was rendered escapes it, tracebacks included."""
    return mask(str(line))


def configure(form: LogFormat, *, stream: TextIO | None = None, level: int = logging.INFO) -> None:
    """Send all logs to `stream` (stderr), as lines for people or as one JSON object a line. May be called again."""
    target = stream or sys.stderr
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[*_rendering(form, target), mask_line])
    )
    handler.addFilter(_Foreign())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for name in _NOISY:
        logger = logging.getLogger(name)
        logger.handlers = []
        logger.propagate = True
        logger.setLevel(logging.WARNING)


def _rendering(form: LogFormat, target: TextIO) -> list[structlog.typing.Processor]:
    clean = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    if form is LogFormat.JSON:
        return [clean, structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    plain = structlog.dev.plain_traceback
    return [clean, structlog.dev.ConsoleRenderer(colors=target.isatty(), exception_formatter=plain)]


class _Foreign:
    """Of libraries: no lines that the error at the end repeats, no tracebacks, and each message once in a while.

    Without its broker aiokafka says thirty times in a second that it has none.
    """

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], float] = {}

    def __call__(self, record: logging.LogRecord) -> bool:
        if record.name.partition(".")[0] not in _NOISY:
            return True
        record.exc_info = None
        record.exc_text = None
        text = record.msg if isinstance(record.msg, str) else str(record.msg)
        if any(words in text for words in _TOLD_ELSEWHERE):
            return False
        before = self._told.get((record.name, text))
        if before is not None and record.created - before < REPEAT_SECONDS:
            return False
        if len(self._told) >= _MESSAGES:  # messages that are no templates: forget them all, rather than grow
            self._told.clear()
        self._told[record.name, text] = record.created
        return True
