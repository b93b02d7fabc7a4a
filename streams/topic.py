"""The topic: made explicitly, kept for ever, and verified config by config.

The log is the only way into the tables and `replay` reads it from the first record, so a retention or a compaction would lose
what cannot be had again. One scope has one partition, so there are as many as scopes at least.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, UnknownTopicOrPartitionError, for_code

from shared import errors, kafka
from shared.settings import Kafka

log = structlog.get_logger()

SEEN_SECONDS = 0.2
MIGRATE = "run `chaintrue migrate`"
_SET_ON_TOPIC = 1  # ConfigSource of DescribeConfigs: set on this topic, no default


@dataclass(frozen=True, slots=True)
class Rule:
    """A config that the log depends on: what `migrate` sets, and what is good enough."""

    name: str
    wanted: str
    accepts: Callable[[str], bool]


def _is(wanted: str) -> Callable[[str], bool]:
    return lambda value: value == wanted


RULES = (
    Rule("cleanup.policy", "delete", _is("delete")),
    Rule("retention.ms", "-1", _is("-1")),
    Rule("retention.bytes", "-1", _is("-1")),
    Rule("max.message.bytes", str(kafka.MAX_MESSAGE_BYTES), lambda value: int(value) >= kafka.MAX_MESSAGE_BYTES),
    Rule("compression.type", "lz4", lambda value: value in {"lz4", "zstd", "producer"}),
    Rule("unclean.leader.election.enable", "false", _is("false")),
)


@dataclass(frozen=True, slots=True)
class Found:
    """The topic as it is; `set_here` are the configs that were set on it, defaults left out."""

    configs: Mapping[str, str]
    set_here: Mapping[str, str]
    partitions: int = 1


def replication(brokers: int) -> tuple[int, int]:
    """Return (replication factor, min.insync.replicas) for a cluster of so many brokers.

    With two brokers the topic has a leader while one of them is away, so writing goes on with the other one alone.
    """
    return (3, 2) if brokers >= 3 else (brokers, 1)


def wrong(found: Found) -> list[Rule]:
    """The rules that the topic breaks."""
    return [rule for rule in RULES if rule.name not in found.configs or not rule.accepts(found.configs[rule.name])]


async def verify(settings: Kafka, *, scopes: int = 1) -> tuple[int, ...]:
    """The topic's partitions. Raises TopicInvalid unless it is as `ensure` makes it, KafkaUnreachable without an answer."""
    async with kafka.admin(settings) as admin, kafka.reaching(settings):
        found = await _find(admin, settings.topic)
    if found is None:
        raise errors.TopicInvalid(f"the topic {settings.topic} does not exist", cure=MIGRATE)
    for rule in wrong(found):
        value = found.configs.get(rule.name, "nothing")
        raise errors.TopicInvalid(
            f"the topic {settings.topic} has {rule.name} = {value}, where {rule.wanted} is needed", cure=MIGRATE
        )
    if found.partitions < scopes:
        raise errors.TopicInvalid(
            f"the topic {settings.topic} has {found.partitions} partition(s) for {scopes} scopes", cure=MIGRATE
        )
    return tuple(range(found.partitions))


async def ensure(settings: Kafka, *, scopes: int = 1) -> bool:
    """Create the topic, or mend it where it differs; says whether something was done. Then `verify`."""
    async with kafka.admin(settings) as admin, kafka.reaching(settings):
        found = await _find(admin, settings.topic)
        if found is None:
            changed = await _create(admin, settings.topic, scopes)
        else:
            mended = await _mend(admin, settings.topic, found)
            changed = await _grow(admin, settings.topic, found, scopes) or mended
    await (_until_seen(settings, scopes) if changed else verify(settings, scopes=scopes))
    return changed


async def _until_seen(settings: Kafka, scopes: int) -> None:
    """Verify what was changed just now: a broker may tell of it a moment later."""
    until = asyncio.get_running_loop().time() + settings.timeout_seconds
    while True:
        try:
            await verify(settings, scopes=scopes)
        except errors.TopicInvalid:
            if asyncio.get_running_loop().time() >= until:
                raise
            await asyncio.sleep(SEEN_SECONDS)
        else:
            return


async def _find(admin: AIOKafkaAdminClient, topic: str) -> Found | None:
    (description,) = await admin.describe_topics([topic])
    if description["error_code"] == UnknownTopicOrPartitionError.errno:
        return None
    _raise_for(description["error_code"])
    (response,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    ((code, _message, _type, _name, entries),) = response.resources
    if code == UnknownTopicOrPartitionError.errno:
        return None
    _raise_for(code)
    configs = {name: value for name, value, *_ in entries if value is not None}
    set_here = {entry[0]: entry[1] for entry in entries if entry[3] == _SET_ON_TOPIC and entry[1] is not None}
    return Found(configs=configs, set_here=set_here, partitions=len(description["partitions"]))


async def _create(admin: AIOKafkaAdminClient, topic: str, partitions: int) -> bool:
    cluster: dict[str, Any] = await admin.describe_cluster()
    factor, in_sync = replication(len(cluster["brokers"]))
    configs = {rule.name: rule.wanted for rule in RULES} | {"min.insync.replicas": str(in_sync)}
    new = NewTopic(topic, num_partitions=partitions, replication_factor=factor, topic_configs=configs)
    response = await admin.create_topics([new])
    ((_topic, code, message),) = response.topic_errors
    if code == TopicAlreadyExistsError.errno:  # another `migrate` was quicker
        return False
    if code:
        raise errors.TopicInvalid(
            f"the topic {topic} cannot be created: {for_code(code).__name__} {message or ''}".rstrip(),
            cure="let the Kafka user create it, or create it by hand as the documentation says",
        )
    log.info("topic created", topic=topic, replication=factor)
    return True


async def _mend(admin: AIOKafkaAdminClient, topic: str, found: Found) -> bool:
    broken = wrong(found)
    if not broken:
        return False
    # AlterConfigs replaces all that was set on the topic, so what others set there is sent along.
    configs = dict(found.set_here) | {rule.name: rule.wanted for rule in broken}
    (response,) = await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=configs)])
    ((code, message, *_),) = response.resources
    if code:
        raise errors.TopicInvalid(
            f"the topic {topic} cannot be altered: {for_code(code).__name__} {message or ''}".rstrip(),
            cure="set by hand: " + ", ".join(f"{rule.name}={rule.wanted}" for rule in broken),
        )
    log.info("topic altered", topic=topic, configs=[rule.name for rule in broken])
    return True


async def _grow(admin: AIOKafkaAdminClient, topic: str, found: Found, partitions: int) -> bool:
    """Add partitions for new scopes; those that are there keep their numbers, and their records."""
    if found.partitions >= partitions:
        return False
    response = await admin.create_partitions({topic: NewPartitions(total_count=partitions)})
    ((_topic, code, message),) = response.topic_errors
    if code:
        raise errors.TopicInvalid(
            f"the topic {topic} cannot be given {partitions} partitions: {for_code(code).__name__} {message or ''}".rstrip(),
            cure="let the Kafka user alter the topic, or add the partitions by hand",
        )
    log.info("partitions added", topic=topic, partitions=partitions)
    return True


def _raise_for(code: int) -> None:
    if code:
        kind: type[KafkaError] = for_code(code)
        raise kind
