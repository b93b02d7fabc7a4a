"""The strict reader against stellar-sdk's encoder, the recorded histories, and everything that it must refuse."""

import base64
import itertools
import random
import struct
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import errors, scval
from shared.scval import Value, reader
from tests import recordings
from tests.unit import scvals

SAMPLE = scval.write(
    (
        scval.Symbol("LOANCRTD"),
        scval.Map(
            [
                (scval.Symbol("amount"), scval.I128(-5)),
                (scval.Symbol("name"), scval.String(b"Ada")),
                (scval.Symbol("paid"), True),
            ]
        ),
        scval.Address(scvals.CONTRACT),
        scval.Address(scvals.ACCOUNT),
        b"\1\2\3\4\5",
        None,
    )
)


def words(*numbers: int) -> bytes:
    return struct.pack(f">{len(numbers)}I", *numbers)


def exact(value: object) -> object:
    """A value with its types, for Python's equality alone does not tell U32 1 from U64 1."""
    if isinstance(value, tuple):
        return type(value), [exact(item) for item in value]
    return type(value), value


@given(scvals.values())
def test_reads_what_the_sdk_writes_and_writes_what_the_sdk_writes(value: Value) -> None:
    text = scvals.by_sdk(value).to_xdr()
    assert exact(scval.read_base64(text)) == exact(value)
    assert scval.write_base64(value) == text


@pytest.mark.parametrize("name", recordings.HISTORIES)
def test_every_recorded_topic_and_value_comes_back_as_the_same_bytes(name: str) -> None:
    texts = list(recordings.event_values(name))
    assert texts
    assert [text for text in texts if scval.write_base64(scval.read_base64(text)) != text] == []


def test_topics_are_read_as_everything_else_and_only_short_ones_are_remembered() -> None:
    values = (scval.Symbol("x" * 32), scval.U64(1), scval.U32(1), True, scval.String(b"y" * 200))
    texts = [scval.write_base64(value) for value in values]
    for _ in range(2):
        assert [exact(scval.read_topic(text)) for text in texts] == [exact(value) for value in values]
    assert scval.read_topic(texts[0]) is scval.read_topic(texts[0])
    assert scval.read_topic(texts[4]) is not scval.read_topic(texts[4])
    for _ in range(2):
        with pytest.raises(errors.Undecodable):
            scval.read_topic(texts[0][:-4])


def test_types_are_exact() -> None:
    assert scval.read(words(3, 1)).__class__ is scval.U32
    assert scval.read(words(4, 1)).__class__ is scval.I32
    assert scval.read(words(5, 0, 1)).__class__ is scval.U64
    assert scval.read(words(6, 0, 1)).__class__ is scval.I64
    assert scval.read(words(7, 0, 1)).__class__ is scval.Timepoint
    assert scval.read(words(8, 0, 1)).__class__ is scval.Duration
    assert scval.read(words(9, 0, 0, 0, 1)).__class__ is scval.U128
    assert scval.read(words(10, 0, 0, 0, 1)).__class__ is scval.I128
    assert scval.read(words(13, 1) + b"a\0\0\0").__class__ is bytes
    assert scval.read(words(14, 1) + b"a\0\0\0").__class__ is scval.String
    assert scval.read(words(15, 1) + b"a\0\0\0").__class__ is scval.Symbol
    assert scval.read(words(0, 1)) is True


def test_a_string_keeps_bytes_that_are_not_text() -> None:
    value = scval.read(words(14, 2) + b"\xff\xfe\0\0")
    assert isinstance(value, scval.String)
    assert value == b"\xff\xfe"
    with pytest.raises(errors.Undecodable, match="not UTF-8"):
        value.text()
    assert scval.String("Zoë".encode()).text() == "Zoë"


def test_cut_at_every_byte_is_refused_with_a_position() -> None:
    for size in range(len(SAMPLE)):
        with pytest.raises(errors.Undecodable, match=r"at byte \d+"):
            scval.read(SAMPLE[:size])


def test_trailing_bytes_are_refused() -> None:
    for extra in (b"\0", b"\0\0\0\0", SAMPLE):
        with pytest.raises(errors.Undecodable, match=f"{len(extra)} bytes too many behind byte {len(SAMPLE)}"):
            scval.read(SAMPLE + extra)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "ScVal at byte 0: takes 4 bytes, 0 remain"),
        (words(0, 2), "Bool at byte 4: 00000002 is neither 0 nor 1"),
        (words(0, 0xFFFFFFFF), "Bool at byte 4"),
        (words(13, 1) + b"a\0\1\0", "Bytes at byte 9: padding that is not zero"),
        (words(14, 3) + b"abc\1", "String at byte 11: padding that is not zero"),
        (words(15, 2) + b"ab\0\1", "Symbol at byte 10: padding that is not zero"),
        (words(15, 2) + b"a \0\0", "Symbol at byte 8: b'a ' has characters that no symbol has"),
        (words(15, 1) + b"\xc3\0\0\0", "Symbol at byte 8"),
        (words(15, 33) + b"a" * 33 + b"\0\0\0", "Symbol at byte 4: length 33 is over 32"),
        (words(15, 36) + b"a" * 36, "Symbol at byte 4: length 36 is over 32"),
        (words(15, 8) + b"abcd", "Symbol at byte 8: takes 8 bytes, 4 remain"),
        (words(14, 3) + b"abc", "String at byte 8: takes 4 bytes, 3 remain"),
        (words(5, 0), "U64 at byte 4: takes 8 bytes, 4 remain"),
        (words(10, 0, 0, 0), "I128 at byte 4: takes 16 bytes, 12 remain"),
        (words(16, 1, 3, 1, 1), "Vec at byte 8: 3 elements in 8 bytes"),
        (words(17, 1, 2, 1, 1, 1), "Map at byte 8: 2 elements in 12 bytes"),
        (words(2, 10, 0), "Error at byte 4: kind 10 with code 0 is unknown"),
        (words(2, 1, 10), "Error at byte 4: kind 1 with code 10 is unknown"),
        (words(16, 0), "Vec at byte 4: takes 8 bytes, 4 remain"),
        (words(16, 0, 0), "Vec at byte 4: flag 0 where"),
        (words(17, 0, 0), "Map at byte 4: flag 0 where"),
        (words(16, 2, 0), "Vec at byte 4: flag 2 where"),
        (words(16, 1, 1, 99), "ScVal at byte 12: arm 99 .unknown. is not read here"),
        (words(17, 1, 1, 1, 99), "ScVal at byte 16: arm 99"),
        (words(19, 1, 0), "ScVal at byte 0: arm 19 .contract instance."),
        (words(20), "ScVal at byte 0: arm 20 .key of a contract instance."),
        (words(21, 0, 0), "ScVal at byte 0: arm 21 .key of a nonce."),
        (words(22, 0), "ScVal at byte 0: arm 22 .executable tag."),
        (words(23), "ScVal at byte 0: arm 23 .unknown."),
        (words(0xFFFFFFFF), "arm 4294967295 .unknown."),
        (words(18, 0, 1) + bytes(32), "Address at byte 8: a public key that is not ed25519"),
        (words(18, 1) + bytes(31), "Address at byte 4: takes 36 bytes, 35 remain"),
        (words(18, 0, 0) + bytes(31), "Address at byte 4: takes 40 bytes, 39 remain"),
        (words(18), "Address at byte 4: takes 40 bytes, 0 remain"),
        (words(18, 2, 0, 7) + bytes(32), "Address at byte 4: arm 2 .muxed account. is not read"),
        (words(18, 3, 0) + bytes(32), "Address at byte 4: arm 3 .claimable balance. is not read"),
        (words(18, 4) + bytes(32), "Address at byte 4: arm 4 .liquidity pool. is not read"),
        (words(18, 5, 0, 7) + bytes(32), "Address at byte 4: arm 5 .muxed contract. is not read"),
        (words(18, 6) + bytes(32), "Address at byte 4: arm 6 .unknown. is not read"),
    ],
)
def test_refusals_say_what_stands_where(data: bytes, message: str) -> None:
    with pytest.raises(errors.Undecodable, match=message):
        scval.read(data)


@pytest.mark.parametrize("arm", [13, 14, 15, 16, 17])
@pytest.mark.parametrize("length", [5, 2**16, 2**31 - 1, 2**31, 2**32 - 1])
def test_a_length_beyond_the_data_is_refused_before_anything_is_built(arm: int, length: int) -> None:
    head = words(arm, 1, length) if arm in {16, 17} else words(arm, length)
    tracemalloc.start()
    try:
        with pytest.raises(errors.Undecodable):
            scval.read(head + bytes(4))
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def nested(depth: int, *, arm: int) -> bytes:
    """`depth` Vecs, or Maps that nest in their key."""
    if arm == 16:
        return words(16, 1, 1) * depth + words(1)
    return words(17, 1, 1) * depth + words(1) + words(1) * depth


@pytest.mark.parametrize("arm", [16, 17])
def test_depth_is_read_up_to_the_limit_and_refused_beyond(arm: int) -> None:
    deepest = nested(scval.DEPTH_LIMIT, arm=arm)
    value = scval.read(deepest)
    assert scval.write(value) == deepest
    for depth in (scval.DEPTH_LIMIT + 1, 10_000):
        with pytest.raises(errors.Undecodable, match="levels deep"):
            scval.read(nested(depth, arm=arm))
    with pytest.raises(ValueError, match="levels deep"):
        scval.write((value,))


def test_the_deepest_keys_are_compared() -> None:
    low, high = (nested(scval.DEPTH_LIMIT - 1, arm=17)[:-4] + words(last) for last in (1, 3))
    high += words(7)
    scval.read(words(17, 1, 2) + low + words(1) + high + words(1))
    with pytest.raises(errors.Undecodable, match="Map at byte 4: keys out of the host's order"):
        scval.read(words(17, 1, 2) + high + words(1) + low + words(1))


ORDERED: list[Value] = [
    False,
    True,
    None,
    scval.Error(0, 7),
    scval.Error(1, 0),
    scval.U32(0),
    scval.U32(2**32 - 1),
    scval.I32(-1),
    scval.I32(0),
    scval.U64(1),
    scval.I64(-(2**63)),
    scval.I64(5),
    scval.Timepoint(0),
    scval.Duration(0),
    scval.U128(2**64),
    scval.I128(-1),
    scval.I128(2**64),
    scval.U256(1),
    scval.I256(-(2**200)),
    scval.I256(3),
    b"",
    b"\0\0",
    b"\1",
    scval.String(b"b"),
    scval.String(b"ba"),
    scval.String(b"c"),
    scval.Symbol(""),
    scval.Symbol("Z"),
    scval.Symbol("_"),
    scval.Symbol("a"),
    scval.Symbol("aa"),
    scval.Symbol("b"),
    (),
    (scval.U32(9),),
    (scval.U32(9), scval.U32(0)),
    (scval.U64(0),),
    scval.Map(),
    scval.Map([(scval.U32(1), None)]),
    scval.Map([(scval.U32(1), scval.U32(0))]),
    scval.Address(scvals.ACCOUNT),
    scval.Address(scvals.CONTRACT),
]
"""Keys in the host's order: by arm, then numbers by size, texts by bytes, Vecs and Maps by their elements."""


def pair_map(first: Value, second: Value) -> bytes:
    return words(17, 1, 2) + scval.write(first) + words(1) + scval.write(second) + words(1)


def test_keys_of_a_map_stand_in_the_hosts_order() -> None:
    for index, low in enumerate(ORDERED):
        for high in ORDERED[index + 1 :]:
            data = pair_map(low, high)
            assert scval.write(scval.read(data)) == data
            with pytest.raises(errors.Undecodable, match="out of the host's order"):
                scval.read(pair_map(high, low))
        with pytest.raises(errors.Undecodable, match="or one twice"):
            scval.read(pair_map(low, low))


def test_keys_that_python_calls_equal_are_all_kept() -> None:
    keys: list[Value] = [True, scval.U32(1), scval.I32(1), scval.U64(1), b"a", scval.String(b"a"), scval.Symbol("a")]
    value = scval.Map((key, scval.U32(index)) for index, key in enumerate(keys))
    assert exact(scval.read(scval.write(value))) == exact(value)


@pytest.mark.parametrize(
    "text",
    [
        "AAAAAQ",
        "AAAAAQ=",
        "AAAAAR==",
        "AAAAAQ==\n",
        " AAAAAQ==",
        "AAAA AQ==",
        "AAAAAQ====",
        "AAAAAQ==AAAA",
        "AAAAAAAA=",
        "AAAAAAAA==",
        "AAAAAAAA====",
        "AAAA_Q==",
        "AAAAAé==",
        "\ud800AAAAAQ==",
        "=",
        "",
    ],
)
def test_only_canonical_base64_is_read(text: str) -> None:
    with pytest.raises(errors.Undecodable, match=r"base64|0 remain"):
        scval.read_base64(text)


def test_base64_is_read_exactly_when_it_is_canonical() -> None:
    outcomes = set()
    for length in range(9):
        for characters in itertools.product("AgB=", repeat=length):
            text = "".join(characters)
            try:
                data = reader.from_base64(text)
            except errors.Undecodable:
                outcomes.add(False)
            else:
                outcomes.add(True)
                assert base64.b64encode(data).decode() == text
    assert outcomes == {True, False}


@given(st.binary(max_size=40))
def test_canonical_base64_is_always_read(data: bytes) -> None:
    assert reader.from_base64(base64.b64encode(data).decode()) == data


@given(st.binary(max_size=200))
def test_random_bytes_are_read_exactly_or_refused(data: bytes) -> None:
    check_exact_or_refused(data)


@given(scvals.values(), st.data())
def test_mutated_values_are_read_exactly_or_refused(value: Value, draw: st.DataObject) -> None:
    data = bytearray(scval.write(value))
    for _ in range(draw.draw(st.integers(1, 3))):
        position = draw.draw(st.integers(0, len(data) - 1))
        data[position] = draw.draw(st.sampled_from([0, 1, 2, 3, 0x0F, 0x10, 0x11, 0x12, 0x7F, 0x80, 0xFF]))
    check_exact_or_refused(bytes(data))


def test_mutated_recordings_are_read_exactly_or_refused() -> None:
    texts = sorted(set(recordings.event_values("story-small.jsonl")))
    chance = random.Random(1)  # noqa: S311  # a repeatable fuzz, no secret
    outcomes = set()
    for text in texts:
        for _ in range(20):
            data = bytearray(base64.b64decode(text))
            data[chance.randrange(len(data))] = chance.choice((0, 1, 2, 16, 17, 18, 255, chance.randrange(256)))
            outcomes.add(check_exact_or_refused(bytes(data)))
    assert outcomes == {True, False}


def check_exact_or_refused(data: bytes) -> bool:
    """Whether it was read; anything but the same bytes or Undecodable fails the test."""
    try:
        value = scval.read(data)
    except errors.Undecodable:
        return False
    assert scval.write(value) == data
    return True


@pytest.mark.parametrize(
    "value",
    [
        scval.U32(-1),
        scval.U32(2**32),
        scval.I32(2**31),
        scval.U64(2**64),
        scval.I128(2**127),
        scval.U256(-1),
        scval.Symbol("a b"),
        scval.Symbol("é"),
        scval.Symbol("a\n"),
        scval.Symbol("a" * 33),
        scval.Error(10, 0),
        scval.Error(1, 10),
        scval.Error(0, 2**32),
        scval.Address("C"),
        scval.Address(scvals.ACCOUNT[:-1] + "A"),
        scval.Map([(scval.U32(1), None), (scval.U32(0), None)]),
    ],
)
def test_what_no_contract_could_hold_is_not_written(value: Value) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        scval.write(value)


@pytest.mark.parametrize("value", [1, "text", 1.5, [], {}, bytearray()])
def test_a_type_that_does_not_say_its_arm_is_not_written(value: object) -> None:
    with pytest.raises(TypeError, match=f"{type(value).__name__} is no ScVal"):
        scval.write(value)  # type: ignore[arg-type]  # a wrong type is the point
