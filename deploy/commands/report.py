"""`chaintrue report`: a stored run, for people and programs."""

import io
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

import orjson
from rich.console import Console
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncEngine

import migrations
from deploy import terminal, terminal_report
from deploy.commands import running
from shared import database, errors, whole_file
from shared.stepfi.settings import Settings
from sweeper import page, records, runs, told, words
from sweeper.records import Record

REQUIRED = ("database.url",)
HISTORY_RUNS = 30
LISTED_RUNS = 20
_TEXT_WIDTH = 120


class Format(StrEnum):
    HTML = "html"
    JSON = "json"
    TEXT = "text"

    @classmethod
    def of(cls, output: Path | None) -> "Format":
        """What the name of the file says; text where it says nothing."""
        suffix = "" if output is None else output.suffix.lower().lstrip(".")
        return cls(suffix) if suffix in set(cls) else cls.TEXT


async def run(settings: Settings, *, prefix: str | None, form: Format, output: Path | None) -> None:
    """Show the run whose id begins so, or else the last one that has a report."""
    async with database.connect(settings.database, section="database") as engine:
        await migrations.check(engine)
        if prefix is not None:
            record = await records.find(engine, prefix)
        else:
            record = await records.last_with_report(engine)
            await _say_what_came_after(engine, record)
        if form is Format.TEXT and output is None:
            terminal_report.show(told.read(await records.report(engine, record)), console=terminal.out())
            return
        shown = await _FORMS[form](engine, record)
    write(shown, output, option="--output")


async def listed(settings: Settings) -> list[Record]:
    """The last runs, the newest first."""
    async with database.connect(settings.database, section="database") as engine:
        await migrations.check(engine)
        return await records.last(engine, limit=LISTED_RUNS)


def table(runs: Sequence[Record]) -> Table:
    """The runs for people."""
    shown = Table(*("run", "began", "mode", "extent", "status", "why"))
    for one in runs:
        began = words.moment(one.started_at)
        shown.add_row(*map(terminal.text, (str(one.run_id), began, one.mode, one.extent, one.status, one.reason or "")))
    return shown


async def html(engine: AsyncEngine, record: Record) -> bytes:
    """The page of the run, with the history of drift up to it."""
    stored = await records.report(engine, record)
    points = await records.history(engine, record, limit=HISTORY_RUNS)
    return page.build(told.read(stored), points).encode()


async def _json(engine: AsyncEngine, record: Record) -> bytes:
    return orjson.dumps(await records.report(engine, record), option=orjson.OPT_INDENT_2) + b"\n"


async def _text(engine: AsyncEngine, record: Record) -> bytes:
    console = Console(file=io.StringIO(), highlight=False, width=_TEXT_WIDTH)
    with console.capture() as captured:
        terminal_report.show(told.read(await records.report(engine, record)), console=console)
    return captured.get().encode()


_FORMS = {Format.HTML: html, Format.JSON: _json, Format.TEXT: _text}


def write(shown: bytes, output: Path | None, *, option: str) -> None:
    """To the file in one step, or to stdout. Raises SettingError for a file that cannot be written."""
    if output is None:
        sys.stdout.buffer.write(shown)
        sys.stdout.buffer.flush()
        return
    try:
        whole_file.write(output, shown)
    except OSError as error:
        raise errors.SettingError(
            f"{option}: {output} cannot be written ({error.strerror or error})",
            cure="name a file in an existing directory that you may write to",
        ) from None


async def _say_what_came_after(engine: AsyncEngine, record: Record) -> None:
    """A later run without a report is easily taken for none."""
    newest = (await records.last(engine, limit=1))[0]
    if newest.started_at <= record.started_at:
        return
    how = "goes on" if newest.status == runs.RUNNING else f"has no report: {newest.reason}"
    running.complain(f"this is the last run with a report; run {newest.run_id}, which began later, {how}")
