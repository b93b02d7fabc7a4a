"""Which failure is asked again, where, and when: pure functions, after the error table of Stellar RPC."""

import email.utils
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum

from shared.rpc.faults import Fault, LedgerRange
from shared.rpc.methods import Method

BACKOFF_BASE_SECONDS = 0.5
BACKOFF_CAP_SECONDS = 10.0
# A node that asks for more patience than this is passed over until then; no call waits longer for it.
RETRY_AFTER_CAP_SECONDS = 60.0

_RANGE = re.compile(r"startLedger must be within the ledger range: (\d{1,10}) - (\d{1,10})")
_PAGE_LIMIT = re.compile(
    r"\b(?:limit|page size)\b[^.;\d]{0,30}?(?:exceed|(?:greater|more|larger|higher) than|at most|up to|(?:maximum|max)\b\D{0,10})"
    r"\s*:?\s*(\d{1,6})\b",
    re.IGNORECASE,
)
_QUOTA = re.compile(
    r"rate.?limit|too many (?:requests|calls)|quota|throttl|requests per (?:second|minute|hour|day|month)"
    r"|(?:request|call|credit|usage|capacity|plan)s?\b.{0,30}\bexceeded|exceeded.{0,30}\b(?:request|credit|usage|capacity|plan)s?\b",
    re.IGNORECASE | re.DOTALL,
)
# Statuses that a proxy, a deploy or a connection that is used again brings about, and that pass like 503.
_PASSING = {408, 421, 425, 499, 503}
_CODES = {
    429: Fault.RATE_LIMITED,
    -32005: Fault.RATE_LIMITED,  # "limit exceeded" of EIP-1474, which providers of several chains use
    -32700: Fault.REFUSED,
    -32600: Fault.REFUSED,
    -32601: Fault.REFUSED,
    -32602: Fault.REFUSED,
    -32001: Fault.TIME_LIMIT,
    -32003: Fault.PANIC,
    -32098: Fault.BUSY,
}


class Step(Enum):
    AGAIN = "the same node"
    ELSEWHERE = "another node, or the same after a pause if there is none"
    SHRINK = "the same node, with a smaller page"
    GIVE_UP = "nothing more to try"


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What a call has left to try when an attempt failed."""

    untried: bool  # a node that this call has not asked yet
    undecided: bool  # a node that has not answered for good (an outage is not an answer)
    shrinkable: bool  # the request has a page that can be smaller
    repeats: int  # earlier failures of the same kind in this call


def decide(fault: Fault, situation: Situation) -> Step:
    """The next step after `fault`."""
    match fault:
        case Fault.BUDGET | Fault.PAGE_LIMIT:  # of the latter the page of this node is smaller from now on
            return Step.GIVE_UP if fault is Fault.BUDGET else Step.AGAIN
        case Fault.REFUSED | Fault.OUT_OF_RANGE | Fault.DENIED | Fault.UNTRUSTED | Fault.WRONG_NETWORK:
            return Step.ELSEWHERE if situation.undecided else Step.GIVE_UP  # this node will not say otherwise
        case Fault.TIME_LIMIT | Fault.TOO_LARGE:
            return Step.SHRINK if situation.shrinkable else Step.ELSEWHERE
        case Fault.TIMEOUT | Fault.DATABASE:  # both may be the page's fault, or the node's
            return Step.SHRINK if situation.shrinkable and not situation.untried else Step.ELSEWHERE
        case Fault.PANIC:
            return _after_panic(situation)
        case _:
            return Step.ELSEWHERE


def _after_panic(situation: Situation) -> Step:
    if situation.repeats == 0:
        return Step.AGAIN
    if situation.shrinkable:
        return Step.SHRINK
    return Step.ELSEWHERE if situation.untried else Step.GIVE_UP


def of_status(status: int) -> Fault:
    """The fault that an HTTP status other than 200 stands for."""
    if status == 429:
        return Fault.RATE_LIMITED
    if status in _PASSING:
        return Fault.BUSY
    if status >= 500:
        return Fault.SERVER_ERROR
    return Fault.MALFORMED if status < 300 else Fault.DENIED


def of_code(method: Method, code: int) -> Fault:
    """The fault that a JSON-RPC error code stands for, where the text is no range."""
    if code == -32600 and method is Method.GET_EVENTS:
        return Fault.DATABASE
    return _CODES.get(code, Fault.NODE_ERROR)


def with_words(fault: Fault, words: str) -> Fault:
    """Return the fault, or RATE_LIMITED where its words tell of a quota: providers have many codes and statuses for that."""
    vague = {Fault.REFUSED, Fault.NODE_ERROR, Fault.DATABASE, Fault.DENIED, Fault.MALFORMED}
    return Fault.RATE_LIMITED if fault in vague and _QUOTA.search(words) else fault


def page_limit_in(message: str) -> int | None:
    """Return the largest page that a refusal names, as in "limit must not exceed 100"."""
    found = _PAGE_LIMIT.search(message)
    return int(found[1]) if found else None


def range_in(message: str) -> LedgerRange | None:
    """The node's range, if `message` is getEvents' range error."""
    found = _RANGE.search(message)
    return LedgerRange(oldest=int(found[1]), latest=int(found[2])) if found else None


def backoff(visit: int, *, chance: float) -> float:
    """Seconds before the same node is asked for the `visit`-th time again (from 1): exponential, with full jitter.

    `chance` is uniform in [0, 1).
    """
    return chance * min(BACKOFF_CAP_SECONDS, BACKOFF_BASE_SECONDS * 2.0 ** min(visit - 1, 16))


def retry_after(header: str | None, *, now: datetime) -> float | None:
    """Seconds that a Retry-After header asks for (a number or an HTTP date), capped; None if there is none to read."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return min(float(text), RETRY_AFTER_CAP_SECONDS)
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return min(max((moment - now).total_seconds(), 0.0), RETRY_AFTER_CAP_SECONDS)
