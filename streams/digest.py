"""From frames to what has to be written: facts, proven ranges, gaps, the beginning of a scope. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from shared import coverage, errors, frames, position
from streams.application import Application
from streams.facts import Fact, merge


@dataclass(slots=True)
class Digest:
    """What a batch of frames says, in the order of nothing: applying it is idempotent and commutative."""

    facts: list[Fact] = field(default_factory=list)
    origins: list[frames.Origin] = field(default_factory=list)
    ranges: list[coverage.Range] = field(default_factory=list)
    gaps: list[frames.Gap] = field(default_factory=list)
    tip: tuple[str, int] | None = None
    events: int = 0
    undecodable: int = 0


def digest(batch: Iterable[frames.Frame], application: Application) -> Digest:
    """Decode a batch; raises FrameInvalid for a frame of another scope, which nothing here can read."""
    result = Digest()
    for frame in batch:
        if frame.scope != application.scope:
            raise errors.FrameInvalid(
                f"a frame of the scope {frame.scope!r}; this deployment has {application.scope!r}",
                cure="give each application a topic of its own (CHAINTRUE_KAFKA__TOPIC)",
            )
        _take(result, frame, application)
    result.undecodable = sum(fact.problem is not None for fact in result.facts)
    result.facts = merge(result.facts)
    return result


def _take(result: Digest, frame: frames.Frame, application: Application) -> None:
    match frame:
        case frames.Origin():
            result.origins.append(frame)
            result.facts.extend(application.facts_of_origin(frame))
            if frame.through > position.START:
                result.gaps.append(_before(frame))
        case frames.Page():
            for event in frame.events:
                result.facts.extend(application.facts_of_event(event))
            result.events += len(frame.events)
            result.ranges.append(coverage.Range(frame.after, frame.through))
            if frame.closed_at is not None:
                tip = (frame.through, frame.closed_at)
                result.tip = max(result.tip or tip, tip)
        case frames.Gap():
            result.gaps.append(frame)
        case frames.Observation():
            for entry in frame.entries:
                result.facts.extend(application.facts_of_entry(entry, ledger=frame.latest_ledger))


def _before(origin: frames.Origin) -> frames.Gap:
    """What lies before the beginning is not read: a gap."""
    return frames.Gap(
        network=origin.network,
        scope=origin.scope,
        after=position.START,
        through=origin.through,
        reason="before the start of the stream",
    )
