"""What is hidden by its value: the secrets of the settings, in each form that a line may show them in."""

import json
from collections.abc import Iterator

import pytest

from shared import masking

AWKWARD = "p@ss/w:rd%40\"x'\\yé"


@pytest.fixture(autouse=True)
def nothing_concealed_afterwards() -> Iterator[None]:
    yield
    masking.conceal([])


@pytest.mark.parametrize(
    ("value", "secret"),
    [
        ("just-a-password", {"just-a-password"}),
        ("postgresql://me:s3cr%2Ft@host:5432/db", {"s3cr%2Ft"}),
        ("postgresql://me:s3/cret@host/db", {"s3/cret"}),
        ("postgresql://me@host/database-of-mine", set()),
        ("postgresql://me:s3cret@host/db?sslmode=verify-full&sslrootcert=/a/long/path.pem", {"s3cret"}),
        ("postgresql://me:s3cret@host/db?sslpassword=open-sesame", {"s3cret", "open-sesame"}),
        ("postgresql://chaintrue:chaintrue@host/chaintrue", set()),
        ("https://rpc.example/soroban/rpc", set()),
        ("https://rpc.example/v1/0123456789abcdef", {"0123456789abcdef"}),
        ("https://rpc.example/?apikey=0123456789abcdef&x=1", {"0123456789abcdef"}),
        ("https://0123456789abcdef@rpc.example", {"0123456789abcdef"}),
        ("https://me:pass@push.example:9091", {"pass"}),
        ("https://me:abc@push.example", set()),
    ],
)
def test_what_is_secret_in_a_setting(value: str, secret: set[str]):
    assert masking.parts(value) == secret


@pytest.mark.parametrize("form", [str, repr, json.dumps, lambda text: json.dumps(text, ensure_ascii=False)])
def test_a_secret_is_hidden_in_each_form(form):
    masking.conceal([AWKWARD])
    shown = masking.mask(f"it is {form(AWKWARD)}!")
    assert shown in {"it is ***!", "it is '***'!", 'it is "***"!'}


def test_a_secret_of_an_address_is_hidden_encoded_and_decoded():
    masking.conceal(["p%40ss%2Fword"])
    assert masking.mask("p%40ss%2Fword p@ss/word p%40ss/word") == "*** *** ***"


def test_a_short_secret_is_a_word_of_its_own():
    masking.conceal(["test", "a-longer-one"])
    assert masking.mask("the latest test: xa-longer-oney") == "the latest ***: x***y"


def test_a_secret_that_holds_another_is_hidden_whole():
    masking.conceal(["secret-one", "secret-one-and-more"])
    assert masking.mask("secret-one-and-more") == "***"


def test_what_is_concealed_anew_replaces_what_was():
    masking.conceal(["first-secret"])
    masking.conceal(["second-secret"])
    assert masking.mask("first-secret second-secret") == "first-secret ***"
    masking.conceal([])
    assert masking.mask("second-secret") == "second-secret"
