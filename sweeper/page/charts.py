"""Drift by class over the last runs: a row a class, with a small chart of bars made here, as SVG. Pure."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from markupsafe import Markup, escape

from sweeper import words
from sweeper.records import Point
from sweeper.report import RunStatus
from sweeper.told import Told, class_order

_STEP, _BAR, _HEIGHT, _FLOOR = 8, 6, 28, 25
"""Of a chart, in pixels: from bar to bar, a bar's width, the height, and where bars stand."""
_RADIUS = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassRow:
    """A class in the table of drift. `change`: since the run before; '' where there is none to compare with."""

    name: str
    now: str
    change: str
    chart: Markup
    most: str
    done: str


def by_class(report: Told, history: Sequence[Point]) -> list[ClassRow]:
    """The classes that were found in this run or in one before it; with several, a row for all of them comes first."""
    names = sorted({*report.drift, *(name for point in history for name in point.drift or {})}, key=class_order)
    done = _done(report)
    rows = [
        _row(
            name,
            report,
            history,
            {point.run_id: (point.drift or {}).get(name, 0) for point in history},
            done.get(name, ""),
        )
        for name in names
    ]
    if len(names) < 2:
        return rows
    totals = {point.run_id: sum((point.drift or {}).values()) for point in history}
    return [_row("", report, history, totals, ""), *rows]


def _row(name: str, report: Told, history: Sequence[Point], counts: Mapping[UUID, int], done: str) -> ClassRow:
    now = report.drift.get(name, 0) if name else sum(report.drift.values())
    before = [
        counts[point.run_id] for point in history if point.drift is not None and str(point.run_id) != report.run_id
    ]
    return ClassRow(
        name=name,
        now=f"{now:,}" if report.compared else "?",  # 0 would say that it was looked for
        change=_change(now - before[-1]) if before and report.compared else "",
        chart=bars(name or "all classes", history, counts, this=report.run_id),
        most=f"{max(counts[point.run_id] for point in history):,}" if history else "",
        done=done,
    )


def _change(by: int) -> str:
    return f"{by:+,}".replace("-", "−") if by else "±0"


def _done(report: Told) -> dict[str, str]:
    """Outcomes in words, by class."""
    counts: dict[str, Counter[str]] = {name: Counter() for name in report.by_class()}
    for finding in report.findings:
        counts[finding.drift_class][finding.outcome] += 1
    in_part = Counter(finding.drift_class for finding in report.findings if finding.left)
    return {name: words.shares(of, in_part=in_part[name]) for name, of in counts.items()}


def bars(name: str, history: Sequence[Point], counts: Mapping[UUID, int], *, this: str) -> Markup:
    """One bar a run, the highest as high as the chart. A run without a report has a cross below the line instead."""
    if not history:
        return Markup()
    most = max(1, *counts.values())
    said = ", ".join("no report" if one.drift is None else f"{counts[one.run_id]:,}" for one in history)
    shapes = Markup().join(
        _bar(point, number * _STEP + 1, counts[point.run_id], most, is_this=str(point.run_id) == this)
        for number, point in enumerate(history)
    )
    width = len(history) * _STEP
    return Markup(
        '<svg class="bars" role="img" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'aria-label="{label}">{shapes}</svg>'
    ).format(width=width, height=_HEIGHT, label=f"{name}, the oldest run first: {said}", shapes=shapes)


def _bar(point: Point, left: int, count: int, most: int, *, is_this: bool) -> Markup:
    if point.drift is None:
        told, height, kind = f"no report ({point.status})", 2, "none"
    else:
        unsure = "" if point.status == RunStatus.COMPLETE else f", {point.status}"
        told, height = f"{count:,}{unsure}", max(round(count * (_FLOOR - 1) / most), 2 if count else 1)
        kind = " ".join(_kinds(count, is_this=is_this, complete=not unsure))
    top = _FLOOR + 1 if point.drift is None else _FLOOR - height
    return Markup(
        '<rect class="{kind}" x="{left}" y="{top}" width="{bar}" height="{height}" rx="{radius}">'
        "<title>{title}</title></rect>"
    ).format(
        kind=kind,
        left=left,
        top=top,
        bar=_BAR,
        height=height,
        radius=_RADIUS if height > 2 else 0,
        title=escape(f"{words.moment(point.started_at)}: {told}"),
    )


def _kinds(count: int, *, is_this: bool, complete: bool) -> Iterator[str]:
    if not count:
        yield "zero"
    if is_this:
        yield "this"
    if not complete:
        yield "incomplete"
