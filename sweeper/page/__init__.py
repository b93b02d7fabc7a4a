"""The report as a page: one file that needs nothing else, for a browser, for print, and for reading without JavaScript.

The values come from a database that anybody may have written to. Everything is escaped, and what still got through could not
run: the page's policy names the hash of the one script and of the one style that may be used.

The first findings of each class are in the page as they are read. The others are packed into it, and the script takes them
out in portions: a browser stays quick with 50,000 of them.
"""

import hashlib
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from sweeper import classes, words
from sweeper.model import Outcome
from sweeper.page import charts, compared, packing, trees
from sweeper.records import Point
from sweeper.told import Told, ToldFinding

SHOWN_A_CLASS = 40
"""Findings of a class that are in the page itself."""
OPEN_UP_TO = 8
"""As many findings are shown opened, each with all that is known of it."""

_MODES = {
    "dry": "dry: nothing is written",
    "repair": "repair: policy decides",
    "apply": "apply: a reviewed plan",
    "undo": "undo: a run's repairs are taken back",
}
_EXTENTS = {
    "full": "everything",
    "changed": "what changed on chain",
    "tables": "some tables",
    "plan": "the rows of a plan",
    "run": "the rows of a run",
}

_SIDES = {"app": "the app", "chain": "chaintrue"}


def build(report: Told, history: Sequence[Point]) -> str:
    """The page of the run; `history` are the sweeps up to it, the oldest first."""
    environment = _environment()
    groups = report.by_class()
    style, script = _file("page.css"), _file("page.js")
    return environment.get_template("page.html.j2").render(
        report=report,
        facts=list(_facts(report)),
        drift=charts.by_class(report, history),
        history=history,
        compared=compared.table(report),
        groups=groups,
        rest=packing.pack(_rest(environment, groups)) if _has_rest(groups) else None,
        shown_a_class=SHOWN_A_CLASS,
        opened=len(report.findings) <= OPEN_UP_TO,
        tables=sorted({one.table for one in report.findings}),
        outcomes=[outcome.value for outcome in Outcome if report.outcomes[outcome.value]],
        style=Markup(style),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704 - our own file
        policy=f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'",
    )


def _facts(report: Told) -> Iterable[tuple[str, str]]:
    yield "Run", report.run_id
    yield "Mode", _MODES.get(report.mode, report.mode)
    yield "Looked at", _EXTENTS.get(report.extent, report.extent or "not recorded")
    yield "Began", words.moment(report.started_at)
    yield "Ended", words.moment(report.finished_at)
    yield "Took", words.span(report.seconds)
    yield "True as of", "no ledger: nothing was indexed" if report.watermark_ledger is None else report.as_of
    if report.freshness.get("tip_ledger") is not None:
        yield "Newest ledger of the nodes", str(report.freshness["tip_ledger"])
    if report.canary is not None:
        yield "Canary", "found, as it must be" if report.canary else "not found: the comparison did not work"

    for side, load in report.database_load.items():
        if not isinstance(load, Mapping):
            continue
        said = (
            f"{words.span(load.get('busy_seconds', 0))} of work, {compared.percent(load.get('share', 0))} of the time"
        )
        allowed = load.get("allowed_share", 1)
        limit = "" if allowed == 1 else f"; {compared.percent(allowed)} is allowed"
        yield f"Load on the database of {_SIDES.get(side, side)}", said + limit


def _has_rest(groups: Mapping[str, Sequence[ToldFinding]]) -> bool:
    return any(len(findings) > SHOWN_A_CLASS for findings in groups.values())


def _rest(environment: Environment, groups: Mapping[str, Sequence[ToldFinding]]) -> Iterable[Sequence[str]]:
    """What is not shown at once: its class, and the finding as the page would have it."""
    template: Any = environment.get_template("finding.html.j2").module
    for name, findings in groups.items():
        for finding in findings[SHOWN_A_CLASS:]:
            yield name, str(template.item(finding, False))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("sweeper", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_visible,
        extensions=["jinja2.ext.loopcontrols"],
    )
    environment.filters |= {
        "short": words.short,
        "label": words.label,
        "moment": words.moment,
        "sentence": words.sentence,
        "value": words.value,
        "known": words.known,
    }
    environment.globals |= {
        "count": words.count,
        "means": _means,
        "tree": trees.tree,
        "told_by_table": compared.told_by_table,
    }
    return environment


def _visible(shown: Any) -> Any:
    return words.visible(shown) if isinstance(shown, str) and not isinstance(shown, Markup) else shown


def _means(drift_class: str) -> str:
    return classes.CLASSES[drift_class].means if drift_class in classes.CLASSES else ""


def _file(name: str) -> str:
    return resources.files(__name__).joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
