"""Cursors, parameters, envelopes and XDR text, where the recorded pairs do not reach."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stellar_sdk import scval

from deploy.localnet import jsonrpc, rpcerrors, shapes, toid, xdrtext

LIMIT = shapes.Record("protocol.Page", {"limit": shapes.Unsigned(64, "uint")})
NESTED = shapes.Record(
    "protocol.Outer", {"inner": shapes.Record("protocol.Inner", {"names": shapes.Sequence(shapes.Text(), "[]string")})}
)


@given(
    st.integers(0, 2**31 - 1),
    st.integers(0, toid.MAX_ORDER),
    st.integers(0, toid.MAX_OPERATION),
    st.integers(0, toid.MAX_INDEX),
)
def test_an_event_id_reads_back(ledger, order, operation, index):
    one = toid.EventId(toid.pack(ledger, order, operation), index)
    assert toid.parse_event_id(str(one)) == one
    assert (one.ledger, toid.order_of(one.toid)) == (ledger, order)
    assert one <= toid.end_of_ledger(ledger) < toid.EventId(toid.pack(ledger + 1, 0, 0), 0)


@given(st.lists(st.builds(toid.EventId, st.integers(0, 2**63 - 1), st.integers(0, toid.MAX_INDEX))))
def test_ids_are_ordered_as_their_text(ids):
    assert [str(one) for one in sorted(ids)] == sorted(str(one) for one in ids)


@pytest.mark.parametrize("text", ["9" * 400, "-" + "9" * 400, "1_0", "٣", "0x1", " 1"])
def test_an_integer_is_written_plainly(text):
    with pytest.raises(ValueError, match="strconv"):
        toid.parse_int64(text)


@given(st.integers(0, 2**64 - 1))
def test_an_integer_in_range_is_taken(value):
    assert shapes.decode({"LIMIT": shapes.Number(value)}, LIMIT) == {"limit": value}


@pytest.mark.parametrize("literal", ["1e3", "-0", "1.0", str(2**64), "9" * 5000])
def test_any_other_number_is_refused(literal):
    with pytest.raises(rpcerrors.MethodError) as refused:
        shapes.decode({"limit": shapes.Number(literal)}, LIMIT)
    assert refused.value.data == f"json: cannot unmarshal number {literal} into Go struct field Page.limit of type uint"


def test_the_first_wrong_type_is_told_with_its_path():
    with pytest.raises(rpcerrors.MethodError) as refused:
        shapes.decode({"inner": {"names": ["a", True, {}]}}, NESTED)
    assert refused.value.data == "json: cannot unmarshal bool into Go struct field Inner.inner.names of type string"


@pytest.mark.parametrize(
    "body", [b"NaN", b'{"id":Infinity}', b"\xef\xbb\xbf{}", b"[" * 200_000, b'"\x01"', b"\x0b{}", b"01"]
)
def test_what_is_not_json_is_refused(body):
    with pytest.raises(jsonrpc.NotJson):
        jsonrpc.parse(body)


@pytest.mark.parametrize("call_id", ["1", "-1.50", "1e400", '"a\\u00e9"', '""', "123456789012345678901234567890"])
def test_an_id_comes_back_as_it_was(call_id):
    message = jsonrpc.parse(f'{{"jsonrpc":"2.0","id":{call_id},"method":"m"}}'.encode())
    answer = jsonrpc.success(message.calls[0].id or "absent", {})
    assert json.loads(answer, parse_float=str)["id"] == json.loads(call_id, parse_float=str)


def test_bytes_that_are_no_text_do_no_harm():
    message = jsonrpc.parse(b'{"jsonrpc":"2.0","id":1,"method":"m\xff\\ud800"}')
    assert message.calls[0].method == "m��"


@given(st.binary(max_size=64))
def test_base64_is_read_up_to_its_first_fault(data):
    text = base64.b64encode(data).decode()
    assert xdrtext.decode_prefix(text) == data
    assert xdrtext.decode_prefix("\r\n".join(text)) == data
    assert xdrtext.decode_prefix(text.rstrip("=")) == data[: len(data) // 3 * 3]


@given(st.text(max_size=40))
def test_no_text_breaks_the_reader(text):
    try:
        canonical = xdrtext.canonical_scval(text)
    except ValueError:
        return
    assert xdrtext.canonical_scval(canonical) == canonical


def test_a_value_nested_too_deeply_is_refused():
    one = scval.to_vec([scval.to_uint32(1)]).to_xdr_bytes()
    nested = one[:12] * 100_000 + one
    with pytest.raises(ValueError, match="xdr"):
        xdrtext.canonical_scval(base64.b64encode(nested).decode())
