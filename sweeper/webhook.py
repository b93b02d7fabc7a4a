"""Tells a webhook of drift, and of runs that are not complete. What it cannot tell never changes how a run ends.

The body is JSON. With a secret it is signed: `X-Chaintrue-Signature: sha256=` and the HMAC-SHA256 of the body in hex. What is
signed holds its own time and number (`sent_at`, `delivery`), so a receiver can refuse what is old or came before.
"""

import asyncio
import hashlib
import hmac
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import aiohttp
import orjson

from shared import masking
from shared.settings import Webhook, environment_name
from sweeper import words
from sweeper.model import Outcome
from sweeper.report import Mode, RunStatus

ATTEMPTS = 3
PAUSE_SECONDS = 1.0
BUDGET = 2
"""All attempts together may take this many times what one may."""
SHOWN_FINDINGS = 20
_SHORT = ("class", "table", "row_id", "entity", "words", "outcome")
_COUNTED = tuple(outcome.value for outcome in Outcome)
_TOO_MANY, _SERVER_ERRORS, _OK, _NOT_OK = 429, 500, 200, 300

Complain = Callable[[str], None]


async def tell(settings: Webhook, report: Mapping[str, Any], *, complain: Complain) -> bool:
    """Send the report, as JSON, where it is one to be told of. Whether it was taken; if not, why is complained of in a line."""
    event = _event(report, threshold=settings.drift_threshold)
    if settings.url is None or event is None:
        return False
    findings = [{name: one.get(name) for name in _SHORT} for one in report["findings"][:SHOWN_FINDINGS]]
    told = {name: report[name] for name in ("run_id", "mode", "extent", "status", "started_at", "finished_at")}
    more = {
        "reasons": report["reasons"],
        "drift": report["drift"],
        "findings_total": _found(report),
        "findings": findings,
    }
    outcomes = {name: report[name] for name in _COUNTED}
    return await _send(settings, {"event": event, **told, **more, "outcomes": outcomes}, complain)


async def tell_failure(settings: Webhook, run: Mapping[str, Any], *, reason: str, complain: Complain) -> bool:
    """Send that a run ended by an error; `run` is what is recorded of it, perhaps nothing. Whether it was taken."""
    if settings.url is None:
        return False
    names = ("run_id", "mode", "extent", "started_at", "finished_at")
    told = {name: run.get(name) for name in names} | {
        "status": RunStatus.FAILED.value,
        "reasons": [masking.mask(reason)],
    }
    return await _send(settings, {"event": "failed", **told}, complain)


def _event(report: Mapping[str, Any], *, threshold: int) -> str | None:
    """What there is to tell: `failed`, `incomplete` or `drift`; None for nothing."""
    if report["status"] != RunStatus.COMPLETE:
        return str(report["status"])
    if report["mode"] == Mode.UNDO:
        return None
    return "drift" if _found(report) >= threshold else None


def _found(report: Mapping[str, Any]) -> int:
    return int(report.get("findings_total") or max(sum(report["drift"].values()), len(report["findings"])))


def signature(secret: str, body: bytes) -> str:
    """What the receiver computes as well, to compare."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


async def _send(settings: Webhook, body: Mapping[str, Any], complain: Complain) -> bool:
    """A few attempts within a budget; one that was taken without our knowing comes twice, with the same `delivery`."""
    raw = orjson.dumps({**body, "sent_at": words.iso(datetime.now(UTC)), "delivery": str(uuid4())})
    trouble = ""
    try:
        async with asyncio.timeout(settings.timeout_seconds * BUDGET), aiohttp.ClientSession() as http:
            for attempt in range(1, ATTEMPTS + 1):
                trouble, passes = await _post(http, settings, raw)
                if not trouble:
                    return True
                if not passes or attempt == ATTEMPTS:
                    break
                await asyncio.sleep(PAUSE_SECONDS * attempt)
    except TimeoutError:
        trouble = trouble or "it did not answer in time"
    except Exception as error:  # noqa: BLE001 - whatever it is, the run ends as it would have; its words may quote the address
        trouble = type(error).__name__
    complain(f"{environment_name('webhook', 'url')}: the webhook was not told: {trouble}")
    return False


async def _post(http: aiohttp.ClientSession, settings: Webhook, raw: bytes) -> tuple[str, bool]:
    """What went wrong ('' for nothing), and whether it may pass. Redirects are not followed: the body is for this host alone."""
    headers = {"Content-Type": "application/json", "User-Agent": "chaintrue"}
    if settings.secret is not None:
        headers["X-Chaintrue-Signature"] = signature(settings.secret.get_secret_value(), raw)
    timeout = aiohttp.ClientTimeout(total=settings.timeout_seconds)
    try:
        async with http.post(
            settings.url or "", data=raw, headers=headers, timeout=timeout, allow_redirects=False
        ) as answer:
            if _OK <= answer.status < _NOT_OK:
                return "", False
            return f"it answered HTTP {answer.status}", answer.status >= _SERVER_ERRORS or answer.status == _TOO_MANY
    except TimeoutError:
        return f"it did not answer within {words.span(settings.timeout_seconds)}", True
    except aiohttp.InvalidURL:
        return "its address cannot be used", False
    except aiohttp.ClientError as error:
        return f"it could not be reached ({type(error).__name__})", True
