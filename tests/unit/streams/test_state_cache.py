"""States that are kept between transactions, as long as nobody else can have written them."""

from dataclasses import dataclass

from streams.state_cache import StateCache


@dataclass(frozen=True)
class State:
    key: str
    position: str = ""


def put(cache: StateCache, before: object, after: object | None, *keys: str) -> None:
    """One transaction; `after` None: it failed."""
    cache.begin(before)
    cache.put({key: State(key) for key in keys})
    if after is not None:
        cache.committed(after)


def test_what_was_committed_is_known_where_nothing_moved():
    cache = StateCache()
    put(cache, (7, 0), (7, 5), "a", "b")
    cache.begin((7, 5))
    assert cache.get(["a", "c"]) == {"a": State("a")}


def test_another_offset_or_another_table_forgets_all():
    for place in ((7, 6), (8, 5)):
        cache = StateCache()
        put(cache, (7, 0), (7, 5), "a")
        cache.begin(place)
        assert cache.get(["a"]) == {}


def test_a_transaction_that_failed_forgets_all():
    cache = StateCache()
    put(cache, (7, 0), (7, 5), "a")
    put(cache, (7, 5), None, "a", "b")
    cache.begin((7, 5))
    assert cache.get(["a", "b"]) == {}


def test_the_least_recently_used_go_first():
    cache = StateCache(capacity=2)
    put(cache, 0, 1, "a", "b")
    cache.begin(1)
    assert cache.get(["a"])
    cache.put({"c": State("c")})
    cache.committed(2)
    cache.begin(2)
    assert sorted(cache.get(["a", "b", "c"])) == ["a", "c"]
