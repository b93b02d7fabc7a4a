"""Order and trust of nodes, and what is shown of their addresses."""

from typing import Any

import pytest
import structlog

from shared import errors
from shared.rpc import answers
from shared.rpc.address import Address
from shared.rpc.faults import Failed, Fault, LedgerRange
from shared.rpc.nodes import COOLDOWN_CAP_SECONDS, Node, Pool
from shared.rpc.retry import Step
from shared.rpc.tally import Tally

KEY = "s3cr3t-key-0123456789"


def pool(count: int = 3) -> Pool:
    made = Pool([f"https://node{number}.example/" for number in range(count)], cooldown_seconds=10)
    for node in made.nodes:
        made.checked(node, 0.0, report=report(node.name), fence=0)
    return made


def report(name: str, latest: int = 200) -> answers.Checked:
    health = answers.Health(
        latest_ledger=latest,
        oldest_ledger=100,
        latest_close_time=None,
        oldest_close_time=None,
        node=name,
    )
    return answers.Checked(node=name, version="28.0.0", protocol_version=28, health=health)


def choose(made: Pool, now: float = 0.0, **given: Any) -> Node | None:
    return made.choose(now, **({"among": made.nodes, "passed": {}, "first": None} | given))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"https://rpc.example/v1/{KEY}", "https://rpc.example"),
        (f"https://rpc.example:8443/?key={KEY}", "https://rpc.example:8443"),
        (f"https://someone:{KEY}@rpc.example/soroban", "https://rpc.example"),
        (f"http://[::1]:8000/{KEY}#{KEY}", "http://[::1]:8000"),
    ],
)
def test_an_address_shows_no_secret(url, shown):
    address = Address.parse(url)
    assert address.shown == shown
    assert KEY not in repr(address)
    assert KEY not in address.mask(f"no such key {KEY}, see /v1/{KEY}")


def test_a_secret_is_masked_as_it_is_written_and_as_it_is_meant():
    address = Address.parse("https://rpc.example/a%2Fsecret%20key?token=p%C3%A4ss")
    assert address.mask("/a%2Fsecret%20key: a/secret key is not päss") == "/***: *** is not ***"


@pytest.mark.parametrize(
    "url", ["", "rpc.example", "ftp://rpc.example", "http://", f"http://u:{KEY}@h:99999/", "http://[::1"]
)
def test_a_wrong_address_is_a_setting_and_is_not_shown(url):
    with pytest.raises(errors.SettingError, match="CHAINTRUE_RPC__URLS") as caught:
        Address.parse(url)
    assert KEY not in str(caught.value)


def test_no_address_at_all_is_a_setting():
    with pytest.raises(errors.SettingError, match="CHAINTRUE_RPC__URLS"):
        Pool([], cooldown_seconds=1)


def test_two_keys_at_one_host_are_two_nodes():
    made = Pool([f"https://rpc.example/{KEY}", "https://rpc.example/other"], cooldown_seconds=1)
    assert [node.name for node in made.nodes] == ["https://rpc.example", "https://rpc.example (2)"]
    assert made.named("https://rpc.example (2)") is made.nodes[1]
    with pytest.raises(ValueError, match="no configured node"):
        made.named("https://elsewhere.example")


def test_the_order():
    made = pool()
    first, second, third = made.nodes
    assert choose(made) is first
    assert choose(made, passed={first: 1}) is second
    assert choose(made, passed={first: 1, second: 1, third: 1}) is first
    assert choose(made, among=[]) is None
    made.failed(first, 1.0, Failed(Fault.UNREACHABLE, "x"))
    assert choose(made, 1.0) is second
    made.failed(second, 1.0, Failed(Fault.TIME_LIMIT, "x", retry_after=30.0))
    assert choose(made, 2.0) is third
    assert choose(made, 31.5) is second
    made.failed(third, 31.5, Failed(Fault.BUSY, "x", retry_after=30.0))
    assert choose(made, 32.0, passed={first: 1, second: 1}) is second  # rather again than wait


def test_a_node_known_to_hold_no_such_ledger_comes_later():
    made = pool(2)
    made.nodes[1].held = LedgerRange(50, 200)
    assert choose(made, first=60) is made.nodes[1]
    assert choose(made, first=100) is made.nodes[0]


@pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.OUT_OF_RANGE, Fault.TIME_LIMIT, Fault.TOO_LARGE, Fault.BUDGET])
def test_a_fault_of_the_request_is_not_held_against_the_node(fault):
    made = pool(1)
    made.failed(made.nodes[0], 1.0, Failed(fault, "x"))
    assert made.nodes[0].state().trusted


def test_trust_is_lost_and_found_with_one_line_each():
    made = pool(1)
    node = made.nodes[0]
    with structlog.testing.capture_logs() as lines:
        for now in (1.0, 2.0, 3.0):
            made.failed(node, now, Failed(Fault.TIMEOUT, "slow"))
        assert (node.state().trusted, node.state().reason) == (False, "slow")
        for now in (4.0, 5.0):
            made.succeeded(node, now)
    assert [line["event"] for line in lines] == ["rpc node distrusted", "rpc node trusted again"]
    assert node.state().trusted


def test_the_pause_grows_once_per_pause_and_has_a_cap():
    made = pool(1)
    node = made.nodes[0]
    made.failed(node, 0.0, Failed(Fault.TIMEOUT, "x"))
    made.failed(node, 1.0, Failed(Fault.TIMEOUT, "x"))
    assert node.retry_at == 10.0
    made.failed(node, 10.0, Failed(Fault.TIMEOUT, "x"))
    assert node.retry_at == 30.0
    for _ in range(40):
        made.failed(node, node.retry_at, Failed(Fault.TIMEOUT, "x"))
    before = node.retry_at
    made.failed(node, before, Failed(Fault.TIMEOUT, "x"))
    assert node.retry_at == before + COOLDOWN_CAP_SECONDS


def test_a_node_that_falls_behind_is_distrusted_for_its_whole_pause():
    made = pool(2)
    ahead, behind = made.nodes
    made.saw(ahead, 1.0, latest=300, oldest=100, fence=0)
    made.saw(behind, 1.0, latest=298, oldest=100, fence=made.highest)
    assert behind.state().trusted  # as much as a ledger takes to travel
    made.saw(behind, 1.0, latest=297, oldest=100, fence=made.highest)
    assert not behind.state().trusted
    assert behind.state().reason == "its latest ledger is 297, 300 was seen before"
    made.succeeded(behind, 5.0)
    assert not behind.state().trusted
    made.succeeded(behind, 11.0)
    assert behind.state().trusted


def test_a_node_is_checked_anew_after_a_minute_without_use_and_after_it_was_out_of_reach():
    made = pool(1)
    node = made.nodes[0]
    assert node.still_checked(60.0)
    assert not node.still_checked(61.0)
    made.failed(node, 1.0, Failed(Fault.SERVER_ERROR, "x"))
    assert node.still_checked(1.0)
    made.failed(node, 1.0, Failed(Fault.UNREACHABLE, "x"))
    assert not node.still_checked(1.0)


def test_what_is_worth_a_probe():
    made = pool(2)
    first, second = made.nodes
    for node in made.nodes:
        made.saw(node, 0.0, latest=300, oldest=100, fence=0)
    assert made.to_probe(29.0, stall_seconds=30) is None
    assert made.to_probe(30.0, stall_seconds=30) is second  # the one in use stands still
    made.checked(second, 30.0, report=report(second.name, 300), fence=0)
    assert made.to_probe(31.0, stall_seconds=30) is None
    made.failed(first, 40.0, Failed(Fault.TIMEOUT, "x", retry_after=15.0))
    made.saw(second, 40.0, latest=301, oldest=100, fence=0)
    assert made.to_probe(54.0, stall_seconds=30) is None
    assert made.to_probe(55.0, stall_seconds=30) is first
    lone = pool(1)
    lone.failed(lone.nodes[0], 0.0, Failed(Fault.TIMEOUT, "x"))
    assert lone.to_probe(1e9, stall_seconds=30) is None  # the calls themselves go there


def tallied(made: Pool, *failures: Failed, first: int | None = None) -> errors.RpcError:
    tally = Tally(made.nodes, first=first)
    for node, failed in zip(made.nodes, failures, strict=True):
        tally.note(node, failed, shrinkable=False)
        tally.went(node, Step.ELSEWHERE)
    return tally.error()


def out_of_range(oldest: int, latest: int) -> Failed:
    return Failed(Fault.OUT_OF_RANGE, "outside", held=LedgerRange(oldest, latest))


def test_the_error_of_a_call():
    made = pool(2)
    down, wrong = Failed(Fault.UNREACHABLE, "down"), Failed(Fault.WRONG_NETWORK, "another")
    assert type(tallied(made, down, down)) is errors.RpcUnavailable
    assert type(tallied(made, down, wrong)) is errors.RpcUnavailable
    assert type(tallied(made, wrong, wrong)) is errors.WrongNetwork
    assert type(tallied(made, down, Failed(Fault.REFUSED, "no"))) is errors.RpcRefused
    forbidden = Failed(Fault.DENIED, "HTTP 403")
    assert type(tallied(made, forbidden, forbidden)) is errors.RpcRefused
    assert type(tallied(made, forbidden, down)) is errors.RpcUnavailable
    odd = Failed(Fault.MALFORMED, "odd")
    assert type(tallied(made, odd, odd)) is errors.RpcMalformed
    text = str(tallied(made, odd, down))
    assert "https://node0.example: odd" in text
    assert "https://node1.example: down" in text


def test_the_range_of_a_call_is_the_one_that_goes_furthest():
    made = pool(2)
    below = tallied(made, out_of_range(100, 200), out_of_range(80, 190), first=50)
    assert isinstance(below, errors.LedgerOutOfRange)
    assert (below.oldest, below.latest) == (80, 190)
    above = tallied(made, out_of_range(100, 200), out_of_range(80, 190), first=300)
    assert isinstance(above, errors.LedgerOutOfRange)
    assert (above.oldest, above.latest) == (100, 200)
    with_outage = tallied(made, out_of_range(100, 200), Failed(Fault.TIMEOUT, "slow"), first=50)
    assert type(with_outage) is errors.LedgerOutOfRange
