"""What a topic must be like."""

import pytest

from shared import kafka
from streams import topic

GOOD = {
    "cleanup.policy": "delete",
    "retention.ms": "-1",
    "retention.bytes": "-1",
    "max.message.bytes": str(kafka.MAX_MESSAGE_BYTES),
    "compression.type": "lz4",
    "unclean.leader.election.enable": "false",
}


def broken(**changes: str) -> list[str]:
    configs = GOOD | {name.replace("_", "."): value for name, value in changes.items()}
    return [rule.name for rule in topic.wrong(topic.Found(configs=configs, set_here={}))]


def test_the_topic_that_migrate_makes_is_good():
    assert topic.wrong(topic.Found(configs={rule.name: rule.wanted for rule in topic.RULES}, set_here={})) == []


@pytest.mark.parametrize("compression", ["lz4", "zstd", "producer"])
def test_other_compressions_will_do(compression: str):
    assert broken(compression_type=compression) == []


@pytest.mark.parametrize(
    ("config", "value"),
    [
        ("cleanup.policy", "compact"),
        ("cleanup.policy", "compact,delete"),
        ("retention.ms", "604800000"),
        ("retention.bytes", "1073741824"),
        ("max.message.bytes", "1048588"),
        ("compression.type", "uncompressed"),
        ("unclean.leader.election.enable", "true"),
    ],
)
def test_what_loses_records_is_wrong(config: str, value: str):
    assert broken(**{config.replace(".", "_"): value}) == [config]


def test_a_config_that_the_broker_does_not_tell_is_wrong():
    assert topic.wrong(topic.Found(configs={}, set_here={})) == list(topic.RULES)


@pytest.mark.parametrize(("brokers", "expected"), [(1, (1, 1)), (2, (2, 1)), (3, (3, 2)), (9, (3, 2))])
def test_replication_survives_one_broker_where_it_can(brokers: int, expected: tuple[int, int]):
    assert topic.replication(brokers) == expected
