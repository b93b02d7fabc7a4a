"""Frames for property tests: any that are valid, and each way in which one is not."""

from hypothesis import strategies as st

from shared import frames

NETWORK = "Test SDF Network ; September 2015"
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
ledgers = st.integers(0, (1 << 31) - 1)
positions = st.builds(
    lambda toid, index: f"{toid:019d}-{index:010d}", st.integers(0, (1 << 63) - 1), st.integers(0, (1 << 32) - 1)
)
numbers = st.none() | st.integers(0, (1 << 63) - 1)


def event(identity, *, topics=(), value="AAAAAQ==", closed_at="2026-08-20T10:10:22Z"):
    return frames.Event(
        id=identity, type="contract", contract="C", tx_hash="ab", closed_at=closed_at, topics=tuple(topics), value=value
    )


def events_of(*, ledger, sizes):
    """Events of one ledger, in order, whose values have these sizes."""
    first = ledger << 32
    return tuple(event(f"{first + place:019d}-{0:010d}", value="A" * size) for place, size in enumerate(sizes))


contracts = st.none() | st.lists(texts, max_size=2).map(tuple)


@st.composite
def some_pages(draw):
    after, *identities, through = sorted(draw(st.sets(positions, min_size=2, max_size=8)))
    ends_at_last = draw(st.booleans())  # a full page ends at its last event
    events = tuple(
        event(identity, topics=draw(st.lists(texts, max_size=3)), value="A" * draw(st.integers(0, 900)))
        for identity in ([*identities, through] if ends_at_last else identities)
    )
    return frames.Page(
        network=NETWORK,
        scope=draw(texts),
        kind=draw(st.sampled_from(["live", "fill"])),
        after=after,
        through=through,
        events=events,
        closed_at=draw(numbers),
        contracts=draw(contracts),
    )


pages = some_pages()
entries = st.builds(
    frames.Entry,
    key=texts,
    xdr=st.none() | st.integers(0, 900).map(lambda size: "A" * size),
    last_modified=numbers,
    live_until=numbers,
)
observations = st.builds(
    frames.Observation,
    network=st.just(NETWORK),
    scope=texts,
    latest_ledger=ledgers,
    entries=st.lists(entries, max_size=8).map(tuple),
)
origins = st.builds(
    frames.Origin,
    network=st.just(NETWORK),
    scope=texts,
    contracts=st.lists(texts, max_size=3).map(tuple),
    through=positions,
)
gaps = st.builds(
    lambda scope, ends, reason: frames.Gap(
        network=NETWORK, scope=scope, after=min(ends), through=max(ends), reason=reason
    ),
    texts,
    st.tuples(positions, positions),
    texts,
)
closings = st.builds(
    lambda scope, ends, ledger, contracts: frames.Closed(
        network=NETWORK, scope=scope, after=min(ends), through=max(ends), ledger=ledger, contracts=contracts
    ),
    texts,
    st.tuples(positions, positions),
    ledgers,
    contracts,
)
any_frames = pages | observations | origins | gaps | closings
