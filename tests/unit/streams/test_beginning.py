"""How a scope begins: at a ledger that RPC holds, with the contracts of the settings."""

import dataclasses

import pytest

from shared import errors, frames, position
from shared.rpc.answers import Reach
from streams import beginning
from tests.unit.streams.test_indexer import CONTRACT, OTHER, SCOPE, Log

HELD = Reach(oldest_ledger=20, latest_ledger=30, silent=())


def test_a_log_begins_at_the_oldest_ledger_by_default():
    assert beginning.first_ledger(None, HELD) == 20


@pytest.mark.parametrize("wanted", [20, 25, 30])
def test_a_log_begins_at_the_ledger_that_is_set(wanted: int):
    assert beginning.first_ledger(wanted, HELD) == wanted


@pytest.mark.parametrize("wanted", [1, 19, 31])
def test_a_start_that_rpc_does_not_hold_is_refused_with_the_range(wanted: int):
    with pytest.raises(errors.SettingError, match=r"CHAINTRUE_STREAM__START_LEDGER.*20 to 30") as caught:
        beginning.first_ledger(wanted, HELD)
    assert caught.value.cure


def test_a_start_that_a_silent_node_may_hold_is_waited_for():
    with pytest.raises(errors.RpcUnavailable, match="while node-2 gives no answer"):
        beginning.first_ledger(19, dataclasses.replace(HELD, silent=("node-2",)))


def test_the_order_of_the_contracts_does_not_matter():
    assert beginning.new_contracts((CONTRACT, OTHER), [OTHER, CONTRACT], scope="scope") == ()


def test_a_replaced_contract_is_refused():
    with pytest.raises(errors.SettingError, match=f"{CONTRACT}.*replaced") as caught:
        beginning.new_contracts((CONTRACT,), [OTHER], scope="scope")
    assert caught.value.cure


def test_an_added_contract_is_new():
    assert beginning.new_contracts((CONTRACT,), [CONTRACT, OTHER], scope="scope") == (OTHER,)


async def test_the_first_frame_names_the_scope_and_what_it_begins_behind():
    log = Log()
    await beginning.begin(log, SCOPE, through=position.end_of(0))
    begun = frames.Origin(network="Test", scope="scope", contracts=(CONTRACT,), through=position.end_of(0))
    assert log.frames == [begun]
