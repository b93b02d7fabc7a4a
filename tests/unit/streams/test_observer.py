"""How patient the observer is with keys that stay on its work list."""

from streams.observer import FIRST_DELAY_LEDGERS, LONGEST_DELAY_LEDGERS, Patience


def test_new_wishes_are_due_in_their_order():
    assert Patience().due(["b", "a"], ledger=100, complete=True) == ["b", "a"]


def test_an_answered_key_that_stays_on_the_list_waits():
    patience = Patience()
    patience.answered(["a"], ledger=100)
    assert patience.due(["a", "b"], ledger=100 + FIRST_DELAY_LEDGERS - 1, complete=True) == ["b"]
    assert patience.due(["a", "b"], ledger=100 + FIRST_DELAY_LEDGERS, complete=True) == ["a", "b"]


def test_each_answer_in_vain_doubles_the_wait_up_to_the_longest():
    patience, ledger, waits = Patience(), 100, []
    for _ in range(20):
        patience.answered(["a"], ledger=ledger)
        wait = next(
            n for n in range(1, LONGEST_DELAY_LEDGERS + 1) if patience.due(["a"], ledger=ledger + n, complete=True)
        )
        waits.append(wait)
        ledger += wait
    assert waits[:4] == [2, 4, 8, 16]
    assert waits[-1] == LONGEST_DELAY_LEDGERS


def test_a_key_that_left_a_complete_list_is_new_when_it_comes_back():
    patience = Patience()
    patience.answered(["a"], ledger=100)
    assert patience.due([], ledger=100, complete=True) == []
    assert patience.due(["a"], ledger=100, complete=True) == ["a"]


def test_a_key_is_remembered_while_the_list_is_cut_off():
    patience = Patience()
    patience.answered(["a"], ledger=100)
    patience.due(["b"], ledger=100, complete=False)
    assert patience.due(["a"], ledger=100, complete=True) == []


def test_the_memory_is_bounded_and_drops_the_oldest():
    patience = Patience(capacity=3)
    patience.answered(["a", "b", "c", "d"], ledger=100)
    assert len(patience) == 3
    assert patience.due(["a", "d"], ledger=100, complete=False) == ["a"]
