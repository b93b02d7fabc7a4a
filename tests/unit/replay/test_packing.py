"""Packed facts come back as they were, but for their bodies; what cannot be packed is named."""

from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import frames
from shared.stepfi import values
from streams.facts import Fact
from streams.replay.packing import Packing
from streams.stepfi.application import FOLDS
from tests.stepfi_frames import History


def fact(payload: object) -> Fact:
    return Fact(key="a:b", position="p", kind="K", body="{}", payload=payload, at=7, tx_hash="ff", conflict=True)


def test_every_fact_of_a_recording_comes_back() -> None:
    """All kinds of payload, the entries' too; packed first and unpacked later, as a replay does."""
    story = History("story-small.jsonl")
    told = [one for event in story.events() for one in story.application.facts_of_event(event)]
    for entry in story.observation(story.last).entries:
        told += story.application.facts_of_entry(entry, ledger=story.last)
    told += story.application.facts_of_origin(story.origin())
    folded = [one for one in told if one.prefix in {fold.prefix for fold in FOLDS}]
    packing = Packing()
    packed = [packing.pack(one) for one in folded]
    assert [packing.unpack(one.key, one.position, data) for one, data in zip(folded, packed, strict=True)] == [
        one._replace(body="") for one in folded
    ]
    assert {type(one.payload) for one in folded} > {values.LoanOpened, values.LoanEntry, frames.Origin}


def test_every_payload_that_a_fold_takes_can_be_packed() -> None:
    packing = Packing()
    for kind in {kind for fold in FOLDS for kind in fold.steps}:
        payload = made(kind)
        assert packing.unpack("a:b", "p", packing.pack(fact(payload))).payload == payload


def made(kind: Any) -> Any:
    """An instance of the dataclass, every field a number."""
    assert is_dataclass(kind)
    assert isinstance(kind, type)
    return kind(**{field.name: number for number, field in enumerate(fields(kind))})


@dataclass(frozen=True)
class Loose:
    """Without slots, and with whatever a payload may hold."""

    one: Any


plain = st.none() | st.booleans() | st.integers() | st.text() | st.binary()
nested = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=3).map(tuple)
        | st.builds(Loose, inner)
        | st.builds(values.Installment, inner, inner, inner, inner)
    ),
    max_leaves=12,
)


@given(nested)
def test_what_is_nested_comes_back(value: object) -> None:
    packing = Packing()
    assert packing.unpack("a:b", "p", packing.pack(fact(Loose(value)))) == fact(Loose(value))._replace(body="")


def test_what_is_neither_plain_nor_a_dataclass_is_named() -> None:
    with pytest.raises(TypeError, match="holds a set"):
        Packing().pack(fact(Loose({1})))
    with pytest.raises(TypeError, match="holds a list"):
        Packing().pack(fact(Loose((1, [2]))))
