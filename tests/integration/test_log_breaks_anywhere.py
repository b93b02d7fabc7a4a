"""Any record of a log missing or repeated, in any place: the stream resumes at the break, or a gap row has it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from shared import coverage, coverage_store, frames, position
from shared.coverage import Coverage, Range
from streams import filler, proofs, resume
from streams.apply import Applier, Record
from tests.integration import stream_parts as parts
from tests.integration.stream_parts import NETWORK, SCOPE, Plain

FIRST = 100
ALONE = 1
"""A limit below any frame's size, so that each event is a piece of its own."""
A, B = parts.CONTRACT, "CDLZFC3SYJYDZT7K67VZ75HPJVIEUVNIXF47ZG2FB2RMQQVU2HHGCYSC"
OBSERVATION = frames.Observation(network=NETWORK, scope=SCOPE, latest_ledger=FIRST)
EMPTY = "TRUNCATE chain.facts, chain.coverage, chain.superseded, chain.gaps, chain.scopes, chain.offsets, chain.anchors"
ROWS = ("coverage", "superseded", "gaps", "scopes", "facts", "offsets")


@dataclass
class Story:
    """A whole log, the events of its chain, and the position at which the chain ends."""

    log: list[frames.Frame]
    events: list[frames.Event]
    through: str

    def events_in(self, within: Range, contracts: Sequence[str]) -> tuple[frames.Event, ...]:
        return tuple(
            event for event in self.events if within.after < event.id <= within.through and event.contract in contracts
        )

    def page(self, kind: frames.PageKind, within: Range, contracts: Sequence[str]) -> frames.Page:
        """The true page of a range."""
        return replace(
            parts.a_page(within.after, within.through, *self.events_in(within, contracts)),
            kind=kind,
            contracts=tuple(contracts),
        )


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """Pages in pieces, gaps and what closes them, fills, observations, and a contract that is added."""
    contracts: tuple[str, ...] = draw(st.sampled_from([(A,), (A, B)]))
    origin = parts.an_origin(FIRST, contracts=contracts)
    story = Story([origin], [], origin.through)
    noted: list[Range] = []
    for step in draw(st.lists(st.sampled_from("pppppgcfoa"), min_size=2, max_size=8)):
        start = position.ledger_of(story.through) + 1
        end = start + draw(st.integers(0, 2))
        if not position.ends_ledger(story.through):
            end, start = end - 1, start - 1
        ahead = Range(story.through, position.end_of(end))
        if step == "p":
            ledgers = draw(st.lists(st.integers(start, end), max_size=4))
            each = [parts.an_event(ledger, 100 + n) for n, ledger in enumerate(sorted(ledgers))]
            new = [
                event._replace(contract=draw(st.sampled_from(contracts))) for event in each if event.id > ahead.after
            ]
            story.events += new
            is_full = draw(st.booleans())  # a full page ends at its last event
            through = new[-1].id if new and is_full else ahead.through
            story.log += frames.cut(story.page("live", Range(ahead.after, through), contracts), limit=ALONE)
            story.through = through
        elif step == "g":
            noted.append(ahead)
            gap = frames.Gap(network=NETWORK, scope=SCOPE, after=ahead.after, through=ahead.through, reason="lost")
            story.log.append(gap)
            story.through = gap.through
        elif step == "c" and noted:
            lost = draw(st.sampled_from(noted))
            closed = frames.Closed(network=NETWORK, scope=SCOPE, after=lost.after, through=lost.through, ledger=end)
            story.log.append(closed)
        elif step == "f":
            first, last = sorted(draw(st.integers(FIRST - 3, start - 1)) for _ in range(2))
            within = Range(position.end_of(first), min(position.end_of(last), story.through))
            story.log += [story.page("fill", within, contracts)] if within.after < within.through else []
        elif step == "o":
            story.log.append(OBSERVATION)
        elif step == "a" and B not in contracts:
            contracts = (A, B)
            story.log.append(replace(origin, contracts=contracts, through=story.through))
    return story


@st.composite
def damaged(draw: st.DrawFn, log: Sequence[frames.Frame]) -> tuple[list[frames.Frame], bool]:
    """The log with records dropped and others repeated later; whether any was dropped."""
    places = st.integers(1, len(log) - 1)
    dropped = draw(st.sets(places, max_size=4)) if len(log) > 1 else set()
    kept = [(n, frame) for n, frame in enumerate(log) if n not in dropped]
    for n in draw(st.lists(places, max_size=3)) if len(log) > 1 else []:
        first = next((place for place, (number, _) in enumerate(kept) if number == n), 0)
        kept.insert(draw(st.integers(first + 1, len(kept))), (n, log[n]))
    return [frame for _, frame in kept], bool(dropped)


def encoded(log: Sequence[frames.Frame]) -> list[Record]:
    return [Record(offset, frames.encode(frame), at=1_000 + offset) for offset, frame in enumerate(log)]


async def apply(engine: AsyncEngine, records: Sequence[Record], sizes: Sequence[int]) -> None:
    """Apply the records in batches of these sizes, and the rest at once."""
    applier = Applier(engine=engine, applications=[Plain(contracts=(A, B))], network=NETWORK)
    at = 0
    for size in [*sizes, len(records)]:
        if batch := records[at : at + size]:
            await applier.apply(0, batch)
        at += size


async def rows(engine: AsyncEngine) -> dict[str, list[str]]:
    async with engine.connect() as connection:
        return {
            table: list(
                (await connection.execute(text(f"SELECT t::text FROM chain.{table} AS t ORDER BY 1"))).scalars()
            )
            for table in ROWS
        }


async def empty(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.execute(text(EMPTY))


@dataclass
class Known:
    """What the tables say."""

    held: coverage_store.Held
    gaps: list[coverage_store.Gap]
    facts: set[str]

    def unaccounted(self, contract: str, through: str, *, but: str | None = None) -> Coverage:
        """What up to the position is neither closed nor in a gap row of the contract, rows of the reason `but` left out."""
        accounted = self.held.closed(contract)
        for gap in self.gaps:
            if contract in gap.contracts and gap.reason != but:
                accounted = coverage.add(accounted, gap.range)
        return coverage.missing(accounted, Range(position.START, through))


async def known(engine: AsyncEngine) -> Known:
    async with engine.connect() as connection:
        stored = await connection.execute(text("SELECT position FROM chain.facts WHERE kind = 'contract'"))
        return Known(
            held=await coverage_store.read(connection, scope=SCOPE),
            gaps=await coverage_store.gaps(connection, scope=SCOPE),
            facts=set(stored.scalars()),
        )


def assert_nothing_is_claimed(found: Known, log: Sequence[frames.Frame], story: Story) -> None:
    """What is covered stands in pages of the log, and their events in the tables."""
    for contract, ranges in found.held.covered.items():
        read = coverage.NOTHING
        for page in log:
            if isinstance(page, frames.Page) and contract in (page.contracts or ()):
                read = coverage.add(read, Range(page.after, page.through))
        for one in ranges:
            assert coverage.missing(read, one) == ()
            assert {event.id for event in story.events_in(one, [contract])} <= found.facts


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(story=stories(), data=st.data(), sizes=st.lists(st.integers(1, 5), max_size=6))
async def test_the_stream_resumes_at_a_break_or_a_gap_row_has_it(
    engine: AsyncEngine, story: Story, data: st.DataObject, sizes: Sequence[int]
):
    await empty(engine)
    log, dropped = data.draw(damaged(story.log))
    await apply(engine, encoded(log), sizes)
    found = await known(engine)
    assert_nothing_is_claimed(found, log, story)

    # The log is read back to the newest frame that names contracts at least, as `log_reader` does.
    newest = max(n for n, frame in enumerate(log) if resume.names_contracts(frame))
    tail = log[data.draw(st.integers(0, newest)) :]
    standing = resume.standing_of([frame for frame in tail if not isinstance(frame, frames.Observation)])
    assert standing.through <= story.through
    if not dropped:
        assert proofs.MISSING_IN_THE_LOG not in {gap.reason for gap in found.gaps}
    if len(tail) == len(log):
        assert dropped or standing.through == story.through
        assert found.unaccounted(A, standing.through, but=proofs.MISSING_IN_THE_LOG) == ()

    # What the indexer writes next: contracts that the log does not name, then pages from where it resumes.
    contracts = tuple(
        dict.fromkeys(c for frame in story.log if isinstance(frame, frames.Origin) for c in frame.contracts)
    )
    if set(contracts) - set(standing.contracts):
        log.append(replace(parts.an_origin(FIRST, contracts=contracts), through=standing.through))
    end = position.end_of(position.ledger_of(story.through) + 1)
    log += frames.cut(story.page("live", Range(standing.through, end), contracts), limit=ALONE)
    records = encoded(log)
    await apply(engine, records, [])
    found = await known(engine)
    assert_nothing_is_claimed(found, log, story)
    for contract in contracts:
        assert found.unaccounted(contract, end) == ()

    # The same rows from the same log, whatever the batches.
    before = await rows(engine)
    await empty(engine)
    await apply(engine, records, data.draw(st.lists(st.integers(1, 9), max_size=5)))
    assert await rows(engine) == before

    # The filler sees each break as it sees every gap.
    holes = await filler.open_holes(engine, scope=SCOPE)
    log += [story.page("fill", hole.range, hole.contracts) for hole in holes]
    await apply(engine, encoded(log), [])
    found = await known(engine)
    assert all(gap.is_closed for gap in found.gaps)
    for contract in contracts:
        assert coverage.missing(found.held.closed(contract), Range(position.START, end)) == ()
        assert {event.id for event in story.events if event.contract == contract} <= found.facts
