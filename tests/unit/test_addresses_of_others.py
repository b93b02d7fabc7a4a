"""Addresses of nodes, webhooks, Pushgateways and Kafka: what could be read in two ways is refused at load, and never shown."""

import re
import traceback

import pytest

from shared import errors, kafka
from shared.stepfi.settings import Settings

SECRET = "er5ecretXYZ"
HTTP = [
    (f"https://u:p#{SECRET}@rpc.example/", "a # .*%23"),
    (f"https://u:p?{SECRET}@rpc.example/", r"a \? .*%3F"),
    (f"https://u:p/{SECRET}@rpc.example/", "a / .*%2F"),
    (f"https://u:p@{SECRET}@rpc.example/", "an @ .*%40"),
    (f"https://u:p[{SECRET}@rpc.example/", r"a \[ .*%5B"),
    (f"https://u:p%{SECRET}@rpc.example/", "a % .*%25"),
    (f"https://u:p\\{SECRET}@rpc.example/", "a backslash.*%5C"),
    (f"https://u:p {SECRET}@rpc.example/", "a blank.*%20"),
    (f"https://rpc.example/{SECRET}#x", "a # "),
    (f"https://rpc.example/{SECRET}%zz", "a % "),
    (f"https://u:{SECRET}@rpc.example:99999/", "a port that is not"),
    (f"https://u:{SECRET}@rpc.example:0/", "a port that is not"),
    (f"https://u:{SECRET}@rpc.example:/", "a port that is not"),
    (f"https://u:{SECRET}@/", "names no host"),
    (f"https://u:{SECRET}@[::g]/", "IPv6"),
    (f"https://u:{SECRET}@::1/", "IPv6 .*brackets"),
    (f"https://u:{SECRET}@rpc..example/", "no host name"),
    (f"https://u:{SECRET}", "a port that is not"),
]


def refusal(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> str:
    monkeypatch.setenv(f"CHAINTRUE_{name}", value)
    with pytest.raises(errors.SettingError) as caught:
        Settings.load()
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert str(caught.value).startswith(f"CHAINTRUE_{name}: ")
    return str(caught.value)


@pytest.mark.parametrize("name", ["RPC__URLS", "WEBHOOK__URL", "METRICS__PUSHGATEWAY_URL"])
@pytest.mark.parametrize(("url", "words"), HTTP)
def test_an_http_address_that_two_readers_read_differently(monkeypatch, name, url, words):
    assert re.search(words, refusal(monkeypatch, name, url))


def test_a_comma_within_an_address_of_a_node(monkeypatch):
    said = refusal(monkeypatch, "RPC__URLS", f"https://u:p%20,{SECRET}@rpc.example")
    assert "address 1 of 2" in said or "address 2 of 2" in said


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8000",
        "https://rpc.example/v1/key?api-key=a%2Fb",
        "https://key@rpc.example",
        "https://u:p%23%40@[::1]:1/",
    ],
)
def test_addresses_of_nodes_that_work(monkeypatch, url):
    monkeypatch.setenv("CHAINTRUE_RPC__URLS", url)
    assert Settings.load().rpc.urls == (url,)


def test_a_gateway_may_be_named_without_its_scheme(monkeypatch):
    monkeypatch.setenv("CHAINTRUE_METRICS__PUSHGATEWAY_URL", "push.example:9091")
    assert Settings.load().metrics.pushgateway_url == "push.example:9091"


@pytest.mark.parametrize(
    ("servers", "words"),
    [
        (f"a:9092,u:{SECRET}@b:9092", "server 2 of 2 has an @.*CHAINTRUE_KAFKA__SASL_PASSWORD"),
        (f"SASL_SSL://u:{SECRET}@b:9092", "an @"),
        ("PLAINTEXT://a:9092", "protocol.*CHAINTRUE_KAFKA__SECURITY_PROTOCOL"),
        ("a:0", "a port that is not"),
        ("a:65536", "a port that is not"),
        ("a:", "a port that is not"),
        (f"a:{SECRET}", "a port that is not"),
        ("::1", "square brackets"),
        ("[::1:9092", "closing bracket"),
        ("a:9092/topic", "a path"),
        ("a b:9092", "a blank"),
        ("a#b:9092", "a #"),
        ("a..b:9092", "no host name"),
        (" , ", "names no server"),
    ],
)
def test_servers_of_kafka_that_are_none(monkeypatch, servers, words):
    assert re.search(words, refusal(monkeypatch, "KAFKA__BOOTSTRAP_SERVERS", servers))


@pytest.mark.parametrize("servers", ["kafka", "a:1, b:2", "[::1]:9092", "my_kafka-1.example:9093,", "10.0.0.1:9092"])
def test_servers_of_kafka_that_work(monkeypatch, servers):
    monkeypatch.setenv("CHAINTRUE_KAFKA__BOOTSTRAP_SERVERS", servers)
    assert kafka.servers(Settings.load().kafka) == [each.strip() for each in servers.split(",") if each.strip()]
