"""The webhook, against a real HTTP server."""

import asyncio
import hashlib
import hmac
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from shared.settings import Webhook
from sweeper import webhook
from tests import receiver, stored_reports

SECRET = "s3cret-of-the-receiver"


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "PAUSE_SECONDS", 0.01)


def settings(url: str, **more: Any) -> Webhook:
    return Webhook(url=url, **more)


async def test_drift_is_told_signed_and_short(said: list[str]) -> None:
    findings = [stored_reports.finding(number) for number in range(30)]
    stored = stored_reports.report(findings, reasons=[])
    async with receiver.listening() as there:
        assert await webhook.tell(settings(there.url, secret=SecretStr(SECRET)), stored, complain=said.append)
    ((headers, body),) = there.got
    (told,) = there.bodies
    assert headers["X-Chaintrue-Signature"] == "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    assert headers["Content-Type"] == "application/json"
    assert abs(datetime.now(UTC) - datetime.fromisoformat(told["sent_at"])) < timedelta(minutes=5)
    assert told["event"] == "drift"
    assert told["drift"] == {"stale_status": 30}
    assert told["outcomes"]["repaired"] == 30
    assert told["findings_total"] == 30
    assert len(told["findings"]) == 20
    assert set(told["findings"][0]) == {"class", "table", "row_id", "entity", "words", "outcome"}
    assert {
        name: told[name] for name in ("run_id", "mode", "extent", "status", "started_at", "finished_at", "reasons")
    } == {name: stored[name] for name in ("run_id", "mode", "extent", "status", "started_at", "finished_at", "reasons")}
    assert said == []


@pytest.mark.parametrize(
    ("changes", "threshold", "event"),
    [
        ({}, 2, "drift"),
        ({}, 3, None),
        ({"findings_total": 70_000}, 60_000, "drift"),
        ({"mode": "undo"}, 1, None),
        ({"status": "incomplete", "reasons": ["why"]}, 1000, "incomplete"),
        ({"status": "failed", "reasons": ["why"], "mode": "undo"}, 1000, "failed"),
    ],
)
async def test_what_is_told_of(changes: dict[str, Any], threshold: int, event: str | None, said: list[str]) -> None:
    stored = stored_reports.report([stored_reports.finding(1), stored_reports.finding(2)], **changes)
    async with receiver.listening() as there:
        taken = await webhook.tell(settings(there.url, drift_threshold=threshold), stored, complain=said.append)
    assert taken is (event is not None)
    assert [body["event"] for body in there.bodies] == ([] if event is None else [event])
    assert said == []


async def test_without_an_address_nothing_is_told(said: list[str]) -> None:
    assert not await webhook.tell(Webhook(), stored_reports.report(status="failed"), complain=said.append)
    assert not await webhook.tell_failure(Webhook(), {}, reason="why", complain=said.append)
    assert said == []


async def test_a_failure_is_told_with_what_is_known(said: list[str]) -> None:
    async with receiver.listening() as there:
        reason = "the role cannot log in to postgresql://user:pa55word@host/db"
        assert await webhook.tell_failure(settings(there.url), {"mode": "dry"}, reason=reason, complain=said.append)
    (told,) = there.bodies
    assert (told["event"], told["status"], told["mode"], told["run_id"]) == ("failed", "failed", "dry", None)
    assert told["reasons"] == ["the role cannot log in to postgresql://***@host/db"]
    assert "X-Chaintrue-Signature" not in there.got[0][0]


@pytest.mark.parametrize(
    ("answers", "times", "taken"),
    [
        ([503], 2, True),
        ([500, 429], 3, True),
        ([500, 500, 500], webhook.ATTEMPTS, False),
        ([404], 1, False),
        ([401], 1, False),
    ],
)
async def test_what_may_pass_is_tried_again(answers: list[int], times: int, *, taken: bool, said: list[str]) -> None:
    async with receiver.listening(*answers) as there:
        stored = stored_reports.report(status="incomplete")
        assert await webhook.tell(settings(there.url), stored, complain=said.append) is taken
    assert len(there.got) == times
    assert len({body["delivery"] for body in there.bodies}) == 1
    assert len(said) == (0 if taken else 1)
    assert all("CHAINTRUE_WEBHOOK__URL" in line and f"HTTP {answers[-1]}" in line for line in said)


async def test_a_redirect_is_not_followed(said: list[str]) -> None:
    async with receiver.listening() as elsewhere, receiver.listening(307, location=elsewhere.url) as there:
        assert not await webhook.tell(settings(there.url), stored_reports.report(status="failed"), complain=said.append)
    assert elsewhere.got == []
    assert "HTTP 307" in said[0]


async def _silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(30)
    writer.close()


async def _rude(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"not HTTP\r\n\r\n")
    writer.close()


async def _gone(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


@pytest.mark.parametrize("behaviour", [_silent, _rude, _gone])
async def test_whatever_it_does_costs_one_line_without_its_address(
    behaviour: Callable[..., Any], said: list[str]
) -> None:
    server = await asyncio.start_server(behaviour, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    url = f"http://127.0.0.1:{port}/T0ken"
    stored = stored_reports.report(status="failed")
    assert not await webhook.tell(settings(url, timeout_seconds=0.2), stored, complain=said.append)
    server.close()
    (line,) = said
    assert "T0ken" not in line
    assert str(port) not in line


async def test_a_port_that_is_closed_costs_one_line(said: list[str]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/T0ken"
    assert not await webhook.tell(settings(url), stored_reports.report(status="failed"), complain=said.append)
    assert len(said) == 1
    assert "could not be reached" in said[0]
    assert "T0ken" not in said[0]
