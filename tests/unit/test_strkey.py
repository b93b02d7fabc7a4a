import pytest
from hypothesis import given
from hypothesis import strategies as st
from stellar_sdk import StrKey

from shared import strkey

KEYS = st.binary(min_size=32, max_size=32)


@given(KEYS)
def test_both_kinds_as_the_sdk_writes_them(key: bytes) -> None:
    assert strkey.encode_account(key) == StrKey.encode_ed25519_public_key(key)
    assert strkey.encode_contract(key) == StrKey.encode_contract(key)
    assert strkey.decode_account(strkey.encode_account(key)) == key
    assert strkey.decode_contract(strkey.encode_contract(key)) == key


@given(KEYS, st.integers(0, 55), st.sampled_from("ABCG27azé=1 \n"))
def test_one_wrong_character_is_refused(key: bytes, position: int, character: str) -> None:
    text = strkey.encode_contract(key)
    wrong = text[:position] + character + text[position + 1 :]
    if wrong == text:
        assert strkey.decode_contract(wrong) == key
    else:
        with pytest.raises(strkey.Invalid, match="is not a contract address"):
            strkey.decode_contract(wrong)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "C",
        StrKey.encode_contract(bytes(32)).lower(),
        StrKey.encode_contract(bytes(32)) + "=",
        StrKey.encode_ed25519_public_key(bytes(32)),
        StrKey.encode_ed25519_secret_seed(bytes(32)),
        StrKey.encode_liquidity_pool(bytes(32)),
        StrKey.encode_claimable_balance(bytes(33)),
        StrKey.encode_med25519_public_key(bytes(40)),
        StrKey.encode_pre_auth_tx(bytes(32)),
    ],
)
def test_what_is_no_contract_is_refused(text: str) -> None:
    with pytest.raises(strkey.Invalid):
        strkey.decode_contract(text)


def test_a_contract_is_no_account_and_the_refusal_says_what_is_wanted() -> None:
    with pytest.raises(strkey.Invalid, match=r"not an account address .G….: it is an address of another kind"):
        strkey.decode_account(StrKey.encode_contract(bytes(32)))


@pytest.mark.parametrize("size", [0, 31, 33])
def test_only_32_bytes_are_an_address(size: int) -> None:
    with pytest.raises(strkey.Invalid, match=f"32 bytes, not {size}"):
        strkey.encode_account(bytes(size))
