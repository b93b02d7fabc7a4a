"""Every member of every kind of frame, missing or wrong: FrameInvalid that names it, and never another error."""

import copy
from typing import Any

import orjson
import pytest

from shared import errors, frames, position
from tests.unit.frame_strategies import NETWORK, event, events_of

PAGE = frames.Page(
    network=NETWORK,
    scope="s",
    kind="live",
    after=position.end_of(6),
    through=position.end_of(7),
    events=(event(f"{7 << 32:019d}-{0:010d}", topics=["AAAADwAAAANBQkMA"]),),
    closed_at=1_700_000_000,
)
OBSERVATION = frames.Observation(
    network=NETWORK,
    scope="s",
    latest_ledger=7,
    entries=(frames.Entry(key="AA==", xdr="AAAA", last_modified=3, live_until=9),),
)
ORIGIN = frames.Origin(network=NETWORK, scope="s", contracts=("C",), through=position.end_of(5))
GAP = frames.Gap(network=NETWORK, scope="s", after=position.end_of(5), through=position.end_of(6), reason="trimmed")

MAY_LACK = {"closedAt", "topic", "lastModifiedLedgerSeq", "liveUntilLedgerSeq"}
MAY_BE_NULL = {"closedAt", "xdr", "lastModifiedLedgerSeq", "liveUntilLedgerSeq"}
WRONG: Any = (None, True, 1.5, -1, 1 << 63, 1e30, "", "x", "\0", [], [1], [None], ["\0"], {}, {"a": 1})
VALID: Any = {
    "network": (),
    "scope": ("", "x"),
    "reason": ("", "x"),
    "contracts": ([],),
    "events": ([],),
    "entries": ([],),
    "topic": ([],),
}
ANY_TEXT = {"type", "contractId", "txHash", "ledgerClosedAt", "value", "key", "xdr"}


def records():
    for frame in (PAGE, OBSERVATION, ORIGIN, GAP):
        yield orjson.loads(frames.encode(frame))


def places(record):
    """Every member of the record and of the first object in each of its lists."""
    for name, value in record.items():
        yield record, name
        if isinstance(value, list) and value and isinstance(value[0], dict):
            yield from ((value[0], inner) for inner in value[0])


def altered(change):
    return list(each_altered(change))


def each_altered(change):
    for record in records():
        for number in range(len(list(places(record)))):
            changed = copy.deepcopy(record)
            holder, name = list(places(changed))[number]
            for label in change(holder, name):
                yield pytest.param(orjson.dumps(changed), name, id=f"{record['kind']}-{name}-{label}")


def without(holder, name):
    if name not in MAY_LACK:
        del holder[name]
        yield "missing"


def with_wrong(holder, name):
    for value in WRONG:
        allowed = ("", "x") if name in ANY_TEXT else VALID.get(name, ())
        if (value is None and name in MAY_BE_NULL) or any(value == one and type(value) is type(one) for one in allowed):
            continue
        holder[name] = value
        yield repr(value)


@pytest.mark.parametrize(("data", "name"), altered(without))
def test_a_missing_member_is_named(data, name):
    with pytest.raises(errors.FrameInvalid, match=repr(name)):
        frames.decode(data, network=NETWORK)


@pytest.mark.parametrize(("data", "name"), altered(with_wrong))
def test_a_member_of_a_wrong_type_or_value_is_refused(data, name):
    with pytest.raises(errors.FrameInvalid):
        frames.decode(data, network=NETWORK)


@pytest.mark.parametrize("name", sorted(MAY_LACK))
def test_a_member_that_nodes_need_not_send_may_lack(name):
    for record in records():
        for holder, found in list(places(record)):
            if found == name:
                del holder[name]
        assert frames.decode(orjson.dumps(record), network=NETWORK).network == NETWORK


first, second, third = events_of(ledger=7, sizes=(1, 1, 1))


@pytest.mark.parametrize(
    "events",
    [
        pytest.param((second, first), id="descending"),
        pytest.param((first, first), id="twice"),
        pytest.param(events_of(ledger=6, sizes=(1,)), id="before the range"),
        pytest.param(events_of(ledger=8, sizes=(1,)), id="behind the range"),
        pytest.param((event(PAGE.after),), id="at the beginning, which is excluded"),
    ],
)
def test_events_stand_in_order_within_their_range(events):
    record = orjson.loads(frames.encode(PAGE)) | {"events": [frames.event_to_wire(one) for one in events]}
    with pytest.raises(errors.FrameInvalid, match="out of order or outside"):
        frames.decode(orjson.dumps(record), network=NETWORK)


@pytest.mark.parametrize("frame", [PAGE, GAP])
def test_a_range_does_not_end_before_it_begins(frame):
    record = orjson.loads(frames.encode(frame)) | {"after": frame.through, "through": frame.after, "events": []}
    with pytest.raises(errors.FrameInvalid, match="ends before it begins"):
        frames.decode(orjson.dumps(record), network=NETWORK)
