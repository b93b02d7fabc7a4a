"""The page: what is on it, and that nothing in a report can make it do anything."""

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest

from sweeper import page, told
from sweeper.page import charts, compared
from tests import stored_reports

EVIL = '"><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7 * 7 }}'
_VOID = {"meta", "input", "img", "br", "link", "base"}


class Elements(HTMLParser):
    """Every element with its attributes; `text` is what a reader sees. Fails on tags that are not closed as they were opened."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self._open):
            self.text += f"{data} "

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def build(stored: dict[str, Any], *drifts: dict[str, int] | None) -> str:
    points = stored_reports.history(*drifts, stored["drift"], this=stored["run_id"])
    return page.build(told.read(stored), points)


def words(html: str) -> str:
    return " ".join(Elements(html).text.split())


def test_a_clean_run_is_clean_and_well_formed() -> None:
    html = build(stored_reports.report(canary=True))
    said = words(html)
    assert "Clean: the application database agrees with the chain as of ledger 51234567." in said
    assert "Canary found, as it must be" in said
    assert "No drift, in this run." in said
    assert "2026-03-04 03:02:23 UTC" in said
    assert "2 min 23 s" in said
    assert 'id="filter"' not in html


def test_what_a_repair_left_is_on_the_page() -> None:
    said = words(build(stored_reports.report([stored_reports.finding(left=["defaulted_at"])])))
    assert "1 row differs: 1 repaired in part." in said
    assert "repaired in part: defaulted_at stays as it is" in said


def test_the_page_asks_for_nothing_and_runs_its_own_script_alone() -> None:
    html = build(stored_reports.report([stored_reports.finding()]))
    elements = Elements(html)
    (policy,) = [one["content"] for one in elements.of("meta") if one.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for tag, rule in (("style", "style-src"), ("script", "script-src")):
        (inline,) = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert f"{rule} 'sha256-{digest}'" in policy
    attributes = {name for _, found in elements.found for name in found}
    assert not {name for name in attributes if name.startswith("on")} | attributes & {
        "style",
        "src",
        "action",
        "srcset",
    }
    assert {one["href"] for one in elements.of("a")} == {"#findings"}
    assert not re.search(r"https?://|@import|url\(", html)


@pytest.mark.parametrize(
    "changes",
    [
        {"class": EVIL},
        {"table": EVIL},
        {"row_id": EVIL},
        {"entity": EVIL},
        {"words": EVIL},
        {"action": EVIL},
        {"outcome": EVIL},
        {"columns": {EVIL: {"app": EVIL, "chain": [EVIL, {EVIL: EVIL}]}}},
        {"evidence": {EVIL: EVIL, "nested": [{EVIL: [EVIL]}], "chain": EVIL, "reason": EVIL, "linked_by": EVIL}},
    ],
)
def test_what_a_row_holds_is_text_and_nothing_else(changes: dict[str, Any]) -> None:
    ordinary = Elements(build(stored_reports.report([stored_reports.finding()])))
    html = build(stored_reports.report([stored_reports.finding(**changes)]))
    elements = Elements(html)
    assert len(elements.of("script")) == len(ordinary.of("script"))
    assert elements.of("img") == []
    assert {name for _, found in elements.found for name in found} == {
        name for _, found in ordinary.found for name in found
    }
    assert "<script>alert(1)" in elements.text  # shown as it is
    assert "{{ 7 * 7 }}" in html


def test_what_a_report_says_elsewhere_is_text_too() -> None:
    evil = stored_reports.report(
        [],
        reasons=[EVIL],
        notes=[EVIL],
        status="incomplete",
        compared={EVIL: {"app_rows": 1, EVIL: EVIL}},
        more={EVIL: EVIL},
    )
    evil["drift"] = {EVIL: 3}
    elements = Elements(build(evil, {EVIL: 2}))
    assert elements.of("img") == []
    assert len(elements.of("script")) == 1


def test_characters_that_turn_or_hide_a_line_are_shown() -> None:
    html = build(
        stored_reports.report([stored_reports.finding(words="pay \u202eevil\u202c\x1b[31m", entity="a\u200bb\x07")])
    )
    assert not re.search("[\u202e\u202c\u200b\x1b\x07]", html)
    assert "\\u202eevil" in html
    assert "a\\u200bb\\x07" in html


def test_both_sides_the_words_the_evidence_and_what_was_done() -> None:
    failed = stored_reports.finding(
        3, outcome="failed", evidence={"reason": "a payment refers to it", "first_seen": "2026-03-01T00:00:00Z"}
    )
    said = words(build(stored_reports.report([failed])))
    assert "status active defaulted" in said
    assert "defaulted_at NULL x" in said
    assert "on chain loan 3 is Defaulted." in said
    assert "could not be written" in said
    assert "Reason: a payment refers to it." in said
    assert "First seen 2026-03-01 00:00:00 UTC" in said


def test_what_is_left_names_the_command() -> None:
    dry = stored_reports.report([stored_reports.finding(outcome="proposed")], mode="dry")
    assert "chaintrue sweep --repair" in words(build(dry))
    proposed = stored_reports.report([stored_reports.finding(outcome="proposed", action="propose")])
    assert "chaintrue apply" in words(build(proposed))
    repaired = stored_reports.report([stored_reports.finding()])
    assert f"chaintrue undo {repaired['run_id']}" in words(build(repaired))
    assert "chaintrue undo" not in words(build(dry))


def test_keys_of_another_version_are_shown_or_missed_in_peace() -> None:
    later = stored_reports.report([stored_reports.finding(new_key=1)])
    later |= {
        "some_load": {"app": {"share": 0.25}},
        "coverage": {"loans": {"spot_share": 0.1234, "round": 3}},
        "odd": [1, None],
    }
    said = words(build(later))
    assert "some load" in said
    assert "spot share" in said
    assert "12.3 %" in said
    earlier = stored_reports.report([{"class": "no_more_a_class", "table": "loans"}])
    for key in ("extent", "notes", "reasons", "failed", "spot_checks"):
        del earlier[key]
    assert "no_more_a_class" in words(build(earlier))


def test_the_load_on_each_database_is_told_with_what_is_allowed() -> None:
    app = {"busy_seconds": 80.2, "rested_seconds": 240.0, "share": 0.25, "allowed_share": 0.25}
    chain = {"busy_seconds": 3.0, "share": 1.0, "allowed_share": 1.0}
    said = words(build(stored_reports.report(database_load={"app": app, "chain": chain})))
    assert "Load on the database of the app 1 min 20 s of work, 25 % of the time; 25 % is allowed" in said
    assert "Load on the database of chaintrue 3.0 s of work, 100 % of the time" in said


def test_how_far_the_spot_checks_are_stands_beside_the_rows() -> None:
    loans = {"checked": 1234, "of": 10_000, "share": 0.1234, "round": 3, "last_round_ended_at": None}
    said = words(build(stored_reports.report(spot_coverage={"loans": loans})))
    assert "asked in this round" in said
    assert "12.3 % (1,234 of 10,000; round 3)" in said


def test_a_capped_report_says_how_many_there_were() -> None:
    capped = stored_reports.report([stored_reports.finding()], findings_total=70_000, drift={"stale_status": 70_000})
    assert "Of 70,000 findings the report keeps 1." in words(build(capped))


def test_a_run_that_compared_nothing_claims_no_zero() -> None:
    empty = stored_reports.report(status="incomplete", reasons=["the chain could not be asked"], compared={})
    said = words(build(empty, {"stale_value": 4}))
    assert "Not complete: the chain could not be asked." in said
    assert "Nothing was compared." in said
    assert "stale_value other values than on chain ?" in said


@pytest.mark.parametrize("count", [page.SHOWN_A_CLASS, page.SHOWN_A_CLASS + 1, 10_000])
def test_of_many_findings_the_first_are_read_and_the_rest_is_packed(count: int) -> None:
    stored = stored_reports.report(
        [stored_reports.finding(number, words=f"Word{number} </script>") for number in range(count)]
    )
    html = build(stored)
    shown = Elements(html).of("li")
    assert sum("data-outcome" in one for one in shown) == min(count, page.SHOWN_A_CLASS)
    rest = list(unpacked(html))
    assert len(rest) == max(0, count - page.SHOWN_A_CLASS)
    for number, (name, item) in enumerate(rest, start=page.SHOWN_A_CLASS):
        assert name == "stale_status"
        assert f"Word{number} &lt;/script&gt;" in item
    assert len(html) < 3_000_000
    assert ("The others need JavaScript" in html) is (count > page.SHOWN_A_CLASS)


def unpacked(html: str) -> Iterator[list[str]]:
    for packed in re.findall(r'<script type="application/gzip" id="rest">([^<]*)</script>', html):
        yield from map(json.loads, gzip.decompress(base64.b64decode(packed)).splitlines())


def test_every_table_has_a_caption_and_every_field_a_label() -> None:
    html = build(stored_reports.report([stored_reports.finding()]), {"stale_status": 2})
    assert html.count("<table") == html.count("<caption")
    assert len(re.findall(r"<label[^>]*>[^<]+<(?:input|select)", html)) == len(re.findall(r"<(?:input|select)\b", html))
    levels = [int(level) for level in re.findall(r"<h(\d)", html)]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


@pytest.mark.parametrize("runs", [1, 30])
def test_the_chart_has_a_bar_a_run_to_scale(runs: int) -> None:
    drifts = [{"stale_value": number + 1} for number in range(runs)]
    stored = stored_reports.report(drift=drifts[-1])
    points = stored_reports.history(*drifts, this=stored["run_id"])
    (row,) = charts.by_class(told.read(stored), points)
    heights = [int(height) for height in re.findall(r'<rect [^>]*height="(\d+)"', row.chart)]
    assert len(heights) == runs
    assert heights == sorted(heights)
    assert heights[-1] == 24
    assert row.chart.count('class="this"') == 1
    assert row.change == ("+1" if runs > 1 else "")
    assert f"the oldest run first: {', '.join(str(number + 1) for number in range(runs))}" in row.chart


def test_runs_without_a_report_and_incomplete_ones_do_not_look_like_clean_ones() -> None:
    stored = stored_reports.report(drift={"stale_value": 1})
    points = stored_reports.history({}, None, {"stale_value": 1}, this=stored["run_id"])
    (row,) = charts.by_class(told.read(stored), points)
    assert re.findall(r'<rect class="([^"]*)"', row.chart) == ["zero", "none", "this"]
    incomplete = stored_reports.history(
        {"stale_value": 2}, {"stale_value": 1}, this=stored["run_id"], status="incomplete"
    )
    (row,) = charts.by_class(told.read(stored), incomplete)
    assert re.findall(r'<rect class="([^"]*)"', row.chart) == ["incomplete", "this incomplete"]
    assert "2, incomplete" in row.chart


def test_a_run_outside_its_history_is_compared_with_the_last_of_it() -> None:
    stored = stored_reports.report(drift={"stale_value": 2, "missing_row": 1}, extent="plan", mode="apply")
    everything, *rows = charts.by_class(told.read(stored), stored_reports.history({"stale_value": 5}))
    assert [(row.name, row.now, row.change) for row in rows] == [("stale_value", "2", "−3"), ("missing_row", "1", "+1")]
    assert (everything.now, everything.change, everything.most) == ("3", "−2", "5")


def test_a_run_without_history_has_no_chart() -> None:
    (row,) = charts.by_class(told.read(stored_reports.report(drift={"stale_value": 2})), [])
    assert (row.now, row.change, row.most, row.chart) == ("2", "", "", "")


@pytest.mark.parametrize(
    ("share", "said"),
    [(0, "0 %"), (1, "100 %"), (0.5, "50 %"), (0.00001, "< 0.01 %"), (0.99999, "> 99.99 %"), (0.1234, "12.3 %")],
)
def test_shares_never_round_to_none_or_all(share: float, said: str) -> None:
    assert compared.percent(share) == said
