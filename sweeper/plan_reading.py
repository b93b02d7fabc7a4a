"""A plan is read strictly: what is not understood is refused with its place in the file, never passed over."""

import json
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from shared import errors
from sweeper import classes
from sweeper.plan_file import VERSION, PlanFile

MAX_BYTES = 1 << 30
"""A plan is read into memory, so there is an end to it."""
_NAME_A_PLAN = "name a file that `chaintrue sweep --plan` wrote"
_AGAIN = "write the plan again with `chaintrue sweep --plan`, and narrow it by `select` or by deleting whole changes"


def read(path: Path) -> PlanFile:
    """The plan in the file; raises PlanRefused, which names the place in it."""
    try:
        body = _read_file(path)
    except OSError as error:
        words = f"{path}: it cannot be read ({error.strerror or error})"
        raise errors.PlanRefused(words, cure=_NAME_A_PLAN) from None
    _check_json(path, body)
    try:
        plan = PlanFile.model_validate_json(body)
    except ValidationError as error:
        places = "; ".join(_places(error))
        raise errors.PlanRefused(f"{path}: {places}", cure=_AGAIN) from None
    _check_changes(path, plan)
    return plan


def _read_file(path: Path) -> bytes:
    """Return the bytes of a regular file of at most MAX_BYTES; raise PlanRefused for anything else.

    The size of a pipe or a device is 0 whatever comes out of it, so only a regular file is read. The limit is on the bytes
    read.
    """
    # Without O_NONBLOCK, opening a pipe waits for its writer.
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise errors.PlanRefused(f"{path}: it is not a regular file", cure=_NAME_A_PLAN)
        body = file.read(min(status.st_size, MAX_BYTES) + 1)  # one more than it has: a file may grow while it is read
    if len(body) > MAX_BYTES:
        raise errors.PlanRefused(f"{path}: it is larger than {MAX_BYTES:,} bytes", cure=_AGAIN)
    if len(body) > status.st_size:
        raise errors.PlanRefused(f"{path}: it grew while it was read", cure="apply it when it is complete")
    return body


def _check_json(path: Path, body: bytes) -> None:
    """That it is whole, says nothing twice, and is a plan of this version."""
    try:
        told = json.loads(body, object_pairs_hook=_no_key_twice)
    except (ValueError, RecursionError) as error:
        words = f"{path}: it is not whole, or was edited into something that is no JSON ({error})"
        raise errors.PlanRefused(words, cure=_AGAIN) from None
    version = told.get("version") if isinstance(told, dict) else None
    if version != VERSION or isinstance(version, bool):
        words = f"{path}: it is no plan of version {VERSION} (version: {json.dumps(version)[:20]})"
        raise errors.PlanRefused(words, cure="apply it with the chaintrue that made it, or sweep again")


def _no_key_twice(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return found


def _places(error: ValidationError) -> Iterator[str]:
    """The first few places that are wrong, as a person finds them."""
    for problem in error.errors(include_url=False, include_input=False, include_context=False)[:5]:
        place = ""
        for part in problem["loc"]:
            if isinstance(part, int):
                place += f"[{part}]"
            elif "[" not in part and part not in ("str", "int", "bool"):  # a kind of value is no place in the file
                place += f".{part}" if place else part
        words = problem["msg"].removeprefix("Value error, ")
        yield f"{place or 'the whole'}: {'there is no such key' if problem['type'] == 'extra_forbidden' else words}"


def _check_changes(path: Path, plan: PlanFile) -> None:
    """That no row is meant twice, and that each list names what there is."""
    seen: dict[tuple[str, str, str], int] = {}
    for number, change in enumerate(plan.changes):
        place = f"{path}: changes[{number}]"
        if change.drift_class not in classes.CLASSES:
            raise errors.PlanRefused(f"{place}.class: there is no class {change.drift_class!r}", cure=_AGAIN)
        what = (change.table, change.row_id or "", "" if change.row_id else change.entity or "")
        if what in seen:
            raise errors.PlanRefused(f"{place}: changes[{seen[what]}] is of the same row", cure="delete one of them")
        seen[what] = number
    tables = {*plan.made_for.tables, *(one.table for one in plan.changes)}
    known: Mapping[str, set[str]] = {
        "classes": set(classes.CLASSES),
        "tables": tables,
        "rows": {one.row_id for one in plan.changes if one.row_id is not None},
        "entities": {one.entity for one in plan.changes if one.entity is not None},
    }
    for place, selector in (("select", plan.select), ("select.skip", plan.select.skip)):
        for name, words in known.items():
            for number, word in enumerate(getattr(selector, name) or ()):
                if word not in words:
                    raise errors.PlanRefused(
                        f"{path}: {place}.{name}[{number}]: nothing in this plan is {word!r}",
                        cure="correct or delete it: a list names classes, tables, and rows and entities of the changes",
                    )
