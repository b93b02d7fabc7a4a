"""Where the stream resumes, decided by frames of the log. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeGuard

from shared import coverage, frames, position


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """`through` is the position up to which the log goes, `contracts` those that are read from there on."""

    contracts: tuple[str, ...]
    through: str


Link = frames.Origin | frames.Page | frames.Gap | frames.Closed
"""A frame that says something of a range; its events are dropped."""

_ANY = ""
"""Stands for the contracts where no frame names any."""


def standing_of(links: Sequence[Link]) -> Standing:
    """Return where the indexer resumes after these frames, which stand in the order of the log and end with its newest.

    The first `live` or `origin` frame of each contract is taken to continue what lies before it. From there on a position counts
    while `live` and `gap` frames reach it without a break, in whatever order they stand; `fill` and `closed` frames close a
    break, but do not carry the stream beyond its own frames. Contracts may differ in that; the lowest position counts.
    """
    links = without_withdrawn(links)
    stream = [link for link in links if _continues(link)]
    named = [link for link in stream if names_contracts(link)]
    contracts = {contract for link in named for contract in link.contracts or ()} or {_ANY}
    reached = min(_reach(links, contract) for contract in contracts)
    through = min(reached, max(link.through for link in stream))
    return Standing(contracts=named[-1].contracts or (), through=through)


def newest(links: Sequence[Link]) -> str:
    """Return the highest position that the stream's own frames name, breaks or not."""
    return max(link.through for link in without_withdrawn(links) if _continues(link))


def without_withdrawn(links: Sequence[Link]) -> list[Link]:
    """Return the frames without what a later `origin` frame withdraws.

    An `origin` says where the stream goes on from there. So whatever an earlier `gap` or `closed` frame claims behind that
    position is withdrawn; what was read stays read.
    """
    kept: list[Link] = []
    for link in links:
        if isinstance(link, frames.Origin):
            kept = [before for each in kept if (before := _up_to(each, link.through)) is not None]
        kept.append(link)
    return kept


def _up_to(link: Link, through: str) -> Link | None:
    """Return the frame, its claim cut at the position; None where nothing is left of it."""
    if not isinstance(link, frames.Gap | frames.Closed) or link.through <= through:
        return link
    return replace(link, through=through) if link.after < through else None


def names_contracts(frame: frames.Frame) -> TypeGuard[frames.Origin | frames.Page]:
    """Whether the frame says which contracts the stream reads."""
    return isinstance(frame, frames.Origin) or (isinstance(frame, frames.Page) and frame.kind == "live")


def without_events(frame: Link) -> Link:
    """Return the frame without its events, which are most of its size."""
    return replace(frame, events=()) if isinstance(frame, frames.Page) else frame


def _continues(link: Link) -> TypeGuard[frames.Origin | frames.Page | frames.Gap]:
    """Whether the frame is one by which the stream itself goes on."""
    return isinstance(link, frames.Gap) or names_contracts(link)


def _reach(links: Iterable[Link], contract: str) -> str:
    """Return the position up to which there is no break for the contract."""
    start: str | None = None
    covered = coverage.NOTHING
    for link in links:
        if isinstance(link, frames.Origin):
            if start is None and contract in (link.contracts or (_ANY,)):
                start = link.through
        elif isinstance(link, frames.Gap) or link.contracts is None or contract in link.contracts:
            if start is None and isinstance(link, frames.Page) and link.kind == "live":
                start = link.after
            covered = coverage.add(covered, coverage.Range(link.after, link.through))
    return coverage.reach(covered, start or position.START)
