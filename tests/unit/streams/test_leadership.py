"""The number of the indexer's lock."""

from streams.leadership import lock_key


def test_the_key_is_the_same_in_every_process_and_version():
    assert lock_key(topic="chaintrue.facts", scope="stepfi") == -9160736664163918434


def test_topic_and_scope_are_told_apart():
    assert len({lock_key(topic=topic, scope=scope) for topic, scope in [("a", "bc"), ("ab", "c"), ("a", "b")]}) == 3


def test_the_key_fits_postgresqls_bigint():
    assert all(-(1 << 63) <= lock_key(topic=f"topic-{n}", scope="s") < 1 << 63 for n in range(1000))
