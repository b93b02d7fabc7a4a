"""The tree of errors: each says what it means without being told, and by its type whether to try again."""

import inspect
import pickle

import pytest

from shared import errors


def tree(base=errors.ChaintrueError):
    for child in base.__subclasses__():
        if child.__module__ == errors.__name__:
            yield child
            yield from tree(child)


ALL = sorted(set(tree()), key=lambda one: one.__name__)
PLAIN = [one for one in ALL if one is not errors.LedgerOutOfRange]


def test_the_tree_at_the_top_of_the_module_is_the_tree():
    drawn = [line.strip("│├└─ ").split()[0] for line in (inspect.getdoc(errors) or "").splitlines() if "── " in line]
    assert sorted(drawn) == [one.__name__ for one in ALL]


@pytest.mark.parametrize("error", PLAIN)
def test_without_a_message_the_docstring_speaks(error):
    assert str(error()) == inspect.getdoc(error)
    assert str(error("")) == inspect.getdoc(error)
    assert str(error("in words")) == "in words"


@pytest.mark.parametrize("error", ALL)
def test_every_error_has_words_of_its_own(error):
    assert error.__doc__ != errors.ChaintrueError.__doc__
    assert "__doc__" in vars(error)


def test_the_cure_stands_on_a_line_of_its_own():
    error = errors.SettingError("X is not set", cure="set X")
    assert (str(error), error.cure, error.args) == ("X is not set\n  Cure: set X", "set X", ("X is not set",))


def test_what_may_succeed_later_is_told_by_type_alone():
    retryable = {one.__name__ for one in ALL if one.retryable}
    rpc = {"RpcUnavailable", "RpcContradiction", "RpcMalformed"}
    assert retryable == {"DatabaseUnreachable", "KafkaUnreachable", "LockLost", *rpc}


def test_a_range_error_carries_the_range():
    error = errors.LedgerOutOfRange("out of range", oldest=5, latest=9)
    assert (error.oldest, error.latest, str(error), error.retryable) == (5, 9, "out of range", False)
    assert isinstance(error, errors.RpcError)


@pytest.mark.parametrize("error", PLAIN)
def test_errors_pass_between_processes(error):
    again = pickle.loads(pickle.dumps(error("words", cure="a cure")))  # noqa: S301 - our own bytes
    assert (type(again), str(again)) == (error, str(error("words", cure="a cure")))
