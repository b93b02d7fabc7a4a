"""The page in a real headless browser, where this machine has one: its policy lets its own script run, and that filters."""

import asyncio
import re
import shutil
from pathlib import Path
from urllib.parse import urlencode

import pytest

from sweeper import page, told
from tests import stored_reports

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"))), None
)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")

OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=20000",
    "--dump-dom",
)
EVIL = "<img src=x onerror=\"document.title='broken'\"><script>document.title='broken'</script>"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page of 10,000 findings; the row of each tenth belongs to transactions, and the last one's words are code."""
    findings = [
        stored_reports.finding(number, table="loans" if number % 10 else "transactions", **{"class": "stale_value"})
        for number in range(1, 10_000)
    ]
    findings.append(stored_reports.finding(10_000, words=EVIL, entity=EVIL))
    stored = stored_reports.report(findings)
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page.build(told.read(stored), stored_reports.history(stored["drift"], this=stored["run_id"])))
    return path.as_uri()


async def rendered(address: str, tmp_path: Path, **asked: str) -> str:
    """The document after its script ran."""
    process = await asyncio.create_subprocess_exec(
        str(BROWSER),
        *OPTIONS,
        f"--user-data-dir={tmp_path}",
        f"{address}#{urlencode(asked)}",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    async with asyncio.timeout(120):
        stdout, _ = await process.communicate()
    html = stdout.decode()
    assert "<title>2026-03-04" in html, "the page did not come, or a row of the app could change its title"
    return html


def rows(html: str) -> int:
    return len(re.findall("<li data-table", re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)))


async def test_it_opens_with_the_first_of_each_class(address: str, tmp_path: Path) -> None:
    html = await rendered(address, tmp_path)
    assert re.search(r'<form id="filter"[^>]*>', html)
    assert not re.search(r'<form id="filter"[^>]*hidden', html)
    assert rows(html) == page.SHOWN_A_CLASS + 1
    assert "Show 100 more of 9,959" in html


@pytest.mark.parametrize(
    ("asked", "found", "shown"),
    [
        ({"text": "loan:9999 defaulted"}, 1, 1),
        ({"table": "transactions"}, 999, 100),
        ({"class": "stale_status"}, 1, 1),
        ({"outcome": "repaired", "text": "img onerror"}, 1, 1),
        ({"text": "of nobody"}, 0, 0),
    ],
)
async def test_the_filter_finds_what_is_packed(
    address: str, tmp_path: Path, asked: dict[str, str], found: int, shown: int
) -> None:
    html = await rendered(address, tmp_path, **asked)
    assert f"{found:,} of 10,000 findings" in html
    assert rows(html) == shown
