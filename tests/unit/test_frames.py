"""Frames: what was written is read again; what is cut is the whole; what is no frame is refused as such, by name."""

import itertools

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import errors, frames, position
from tests.unit.frame_strategies import NETWORK, any_frames, events_of, observations, pages


@given(any_frames)
def test_what_was_encoded_is_decoded_again(frame):
    assert frames.decode(frames.encode(frame), network=NETWORK) == frame


@given(any_frames)
def test_a_record_is_compact_json_with_the_version_first(frame):
    data = frames.encode(frame)
    assert data.startswith(b'{"v":1,"network":')
    assert orjson.dumps(orjson.loads(data)) == data


@given(pages, st.integers(200, 3000))
def test_the_pieces_of_a_page_are_the_page(page, limit):
    pieces = list(frames.cut(page, limit=limit))
    assert tuple(event for piece in pieces for event in piece.events) == page.events
    assert pieces[0].after == page.after
    assert pieces[-1].through == page.through
    assert all(piece.through == after.after for piece, after in itertools.pairwise(pieces))
    assert all(piece.through == piece.events[-1].id for piece in pieces[:-1])
    assert [piece.closed_at for piece in pieces] == [None] * (len(pieces) - 1) + [page.closed_at]
    assert all(len(piece.events) <= 1 or len(frames.encode(piece)) <= limit for piece in pieces)
    assert all(frames.decode(frames.encode(piece), network=NETWORK) == piece for piece in pieces)


@given(pages, st.integers(200, 3000))
def test_a_page_is_not_cut_finer_than_needed(page, limit):
    """Two neighbours would not have gone into one frame."""
    pieces = list(frames.cut(page, limit=limit))
    for piece, after in itertools.pairwise(pieces):
        first = frames.Page(
            network=page.network,
            scope=page.scope,
            kind=page.kind,
            after=piece.after,
            through=after.events[0].id,
            events=(*piece.events, after.events[0]),
            contracts=page.contracts,
            closed_at=page.closed_at,
        )
        assert len(frames.encode(first)) > limit - 2  # a comma less behind the last event


def test_an_empty_page_is_one_frame():
    page = frames.Page(network=NETWORK, scope="s", kind="live", after=position.end_of(1), through=position.end_of(9))
    assert list(frames.cut(page)) == [page]


def test_an_event_larger_than_the_limit_has_a_frame_of_its_own():
    small, large, last = events_of(ledger=7, sizes=(10, frames.FRAME_BYTES * 2, 10))
    page = frames.Page(
        network=NETWORK,
        scope="s",
        kind="fill",
        after=position.end_of(6),
        through=position.end_of(7),
        events=(small, large, last),
    )
    assert [piece.events for piece in frames.cut(page)] == [(small,), (large,), (last,)]


@given(observations, st.integers(200, 3000))
def test_the_pieces_of_an_observation_are_the_observation(observation, limit):
    pieces = list(frames.cut_entries(observation, limit=limit))
    assert tuple(entry for piece in pieces for entry in piece.entries) == observation.entries
    assert {piece.latest_ledger for piece in pieces} == {observation.latest_ledger}
    assert all(len(piece.entries) <= 1 or len(frames.encode(piece)) <= limit for piece in pieces)


@pytest.mark.parametrize("data", [None, b"", b" ", b"null", b"5", b'"frame"', b"[]", b"{}", b"{", b"\xff\xfe", b"\0"])
def test_a_record_that_is_no_object_of_ours_is_refused(data):
    with pytest.raises(errors.FrameInvalid):
        frames.decode(data, network=NETWORK)


@given(st.binary(max_size=60))
def test_whatever_bytes_stand_in_the_topic_the_refusal_is_the_same(data):
    with pytest.raises(errors.FrameInvalid):
        frames.decode(data, network=NETWORK)


def test_a_frame_of_another_network_is_refused_with_the_cure():
    data = frames.encode(frames.Origin(network="Other", scope="s", contracts=(), through=position.START))
    with pytest.raises(errors.FrameInvalid, match="'Other'") as caught:
        frames.decode(data, network=NETWORK)
    assert "CHAINTRUE_NETWORK__PASSPHRASE" in str(caught.value.cure)


@pytest.mark.parametrize("version", [0, 2, 1.0, True, "1", None])
def test_a_frame_of_another_version_is_refused(version):
    record = {"v": version, "network": NETWORK, "scope": "s", "kind": "live"}
    with pytest.raises(errors.FrameInvalid):
        frames.decode(orjson.dumps(record), network=NETWORK)
