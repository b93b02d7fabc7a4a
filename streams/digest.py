"""From frames to what has to be written: facts, proven ranges, gaps, the beginning of a scope. Pure."""

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from shared import coverage, errors, frames, position
from streams.application import Application
from streams.facts import Fact, merge

ANCHOR_LEDGERS = 1024
"""Of so many ledgers the first event is kept as an anchor (see `streams.anchor`)."""

CLOSE_LEDGERS = 16
"""Of so many ledgers the newest known close time is kept: some 80 seconds, well below any useful limit of lag."""


@dataclass(frozen=True, slots=True)
class Stamped:
    """A frame, and when its record was written (unix seconds; None where that is not known)."""

    frame: frames.Frame
    at: int | None = None


@dataclass(frozen=True, slots=True)
class Begun:
    """The scope begins, or names more contracts; `at` is when the record was written (unix seconds)."""

    origin: frames.Origin
    at: int | None


@dataclass(frozen=True, slots=True)
class Noted:
    """A gap, and when its record was written (unix seconds)."""

    gap: frames.Gap
    at: int | None


@dataclass(frozen=True, slots=True)
class Proof:
    """A range that was read (or, with `ledger`, is superseded as of it), of these contracts; None: of all of the scope.

    continues  the page is of the live stream, so what lies before it was read or is a gap; `at` is when its record was written
    """

    range: coverage.Range
    contracts: tuple[str, ...] | None
    ledger: int | None = None
    continues: bool = False
    at: int | None = None


@dataclass(slots=True)
class Digest:
    """What a batch of frames says. Applying it twice is as good as once, and where the log is cut into batches is of no account.

    `told` stands in the order of the log: what a frame says of all contracts of its scope holds for those named before it.
    """

    scope: str
    facts: list[Fact] = field(default_factory=list)
    told: list[Begun | Noted | Proof] = field(default_factory=list)
    anchors: dict[int, frames.Event] = field(default_factory=dict)
    closes: dict[int, tuple[int, int]] = field(default_factory=dict)
    tip: tuple[str, int] | None = None
    events: int = 0
    undecodable: int = 0


def digest(batch: Iterable[Stamped], application: Application) -> Digest:
    """Decode a batch; raises FrameInvalid for a frame of another scope, which the application cannot read."""
    result = Digest(scope=application.scope)
    for stamped in batch:
        take(result, stamped, application)
    return finish(result)


def finish(result: Digest) -> Digest:
    """The digest once all of its frames are taken: each fact once, in order."""
    result.undecodable = sum(fact.problem is not None for fact in result.facts)
    result.facts = merge(result.facts)
    return result


def take(result: Digest, stamped: Stamped, application: Application) -> None:
    """Take one more frame into the digest."""
    if stamped.frame.scope != application.scope:
        raise errors.FrameInvalid(
            f"a frame of the scope {stamped.frame.scope!r} in the partition of {application.scope!r}",
            cure="give each deployment a topic of its own (CHAINTRUE_KAFKA__TOPIC)",
        )
    match stamped.frame:
        case frames.Origin() as origin:
            result.told.append(Begun(origin, stamped.at))
            result.facts.extend(application.facts_of_origin(origin))
        case frames.Page() as page:
            for event in page.events:
                result.facts.extend(application.facts_of_event(event))
            _keep_first(result.anchors, page.events)
            _keep_closes(result.closes, page)
            result.events += len(page.events)
            read = coverage.Range(page.after, page.through)
            result.told.append(Proof(read, page.contracts, continues=page.kind == "live", at=stamped.at))
            if page.closed_at is not None:
                tip = (page.through, page.closed_at)
                result.tip = max(result.tip or tip, tip)
        case frames.Gap() as gap:
            result.told.append(Noted(gap, stamped.at))
        case frames.Observation() as observation:
            for entry in observation.entries:
                result.facts.extend(application.facts_of_entry(entry, ledger=observation.latest_ledger))
        case frames.Closed() as closed:
            held = coverage.Range(closed.after, closed.through)
            result.told.append(Proof(held, closed.contracts, closed.ledger))


def _keep_first(anchors: dict[int, frames.Event], events: Sequence[frames.Event]) -> None:
    """Keep the first event of each stretch of ledgers; the events are in order."""
    end = ""
    for event in events:
        if event.id <= end:
            continue
        stretch = event.ledger // ANCHOR_LEDGERS
        end = position.end_of((stretch + 1) * ANCHOR_LEDGERS - 1)
        held = anchors.get(stretch)
        if held is None or event.id < held.id:
            anchors[stretch] = event


def _keep_closes(closes: dict[int, tuple[int, int]], page: frames.Page) -> None:
    """Keep (ledger, close in unix seconds) of the page's end and of its events, the newest of each stretch of ledgers.

    All events count, not only a page's last one, so that the result does not depend on where pages end.
    """
    if page.closed_at is not None:
        _keep_close(closes, position.complete_ledger(page.through), page.closed_at)
    begin: str | None = None
    for event in reversed(page.events):
        if begin is not None and event.id > begin:
            continue
        stretch = event.ledger // CLOSE_LEDGERS
        begin = position.end_of(max(stretch * CLOSE_LEDGERS - 1, 0))
        with contextlib.suppress(ValueError):  # an event whose close time cannot be read is stored as undecodable
            _keep_close(closes, event.ledger, int(datetime.fromisoformat(event.closed_at).timestamp()))


def _keep_close(closes: dict[int, tuple[int, int]], ledger: int, closed_at: int) -> None:
    stretch = ledger // CLOSE_LEDGERS
    closes[stretch] = max(closes.get(stretch, (0, 0)), (ledger, closed_at))
