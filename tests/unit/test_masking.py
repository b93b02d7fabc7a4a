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


def test_a_piece_that_an_error_could_quote_is_hidden():
    masking.conceal(masking.parts("postgresql://one:p%3Fssw0rdLong%2Fand-more@db/app?sslpassword=open%23sesame!"))
    assert masking.mask("bad query field: 'ssw0rdLong/and-more'") == "bad query field: '***'"
    assert (
        masking.mask("no port: 'ssw0rdLong', 'and-more', 'p?ssw0rdLong', 'sesame!'")
        == "no port: '***', '***', '***', '***'"
    )


def test_a_piece_that_is_the_user_host_or_database_is_no_secret():
    masking.conceal(masking.parts("postgresql://one:x%40postgres@postgres/postgres"))
    assert masking.mask("PostgreSQL at postgres:5432") == "PostgreSQL at postgres:5432"


def test_user_info_with_a_slash_in_it_is_hidden_in_an_address_of_postgresql():
    assert masking.mask("postgresql://u:p/ss?w@host/db and postgres://u:p#s@h/d") == (
        "postgresql://***@host/db and postgres://***@h/d"
    )


@pytest.mark.parametrize(
    "words",
    [
        "has a # in its user or password: write it as %23",
        "sslpassword: is not set, and the key in /x is encrypted",
        "sslpassword: does not open the key in /x",
        "names no user: write postgresql://user:password@host:port/name",
        "sslpassword: counts only with a certificate: add sslcert, or remove it",
    ],
)
def test_words_of_our_own_about_a_password_are_shown_whole(words: str):
    assert masking.mask(words) == words


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
