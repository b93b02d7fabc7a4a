"""Topic, writer and reader on a real Kafka."""

import socket
import time

import pytest
from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from shared import errors, frames, kafka, position
from shared.settings import Kafka
from streams import log_reader, resume, topic
from tests import services
from tests.integration import stream_parts as parts
from tests.integration.stream_parts import NETWORK, PARTITION


@pytest.fixture
def settings(kafka: services.RunningKafka, topic_name: str) -> Kafka:
    return parts.kafka_settings(kafka.bootstrap_servers, topic_name)


async def alter(settings: Kafka, **configs: str) -> None:
    named = {name.replace("_", "."): value for name, value in configs.items()}
    async with kafka.admin(settings) as admin:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, settings.topic, configs=named)])


async def config(settings: Kafka, name: str) -> str:
    async with kafka.admin(settings) as admin:
        (response,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, settings.topic)])
        ((_, _, _, _, entries),) = response.resources
        return str(next(entry[1] for entry in entries if entry[0] == name))


async def test_ensure_makes_a_topic_that_is_verified_and_does_nothing_the_second_time(settings: Kafka):
    assert await topic.ensure(settings)
    await topic.verify(settings)
    assert not await topic.ensure(settings)


async def test_a_missing_topic_is_told_with_the_cure(settings: Kafka):
    with pytest.raises(errors.TopicInvalid, match=f"{settings.topic} does not exist") as caught:
        await topic.verify(settings)
    assert "chaintrue migrate" in (caught.value.cure or "")


async def test_a_topic_made_by_others_is_refused_until_it_is_mended(settings: Kafka):
    async with kafka.admin(settings) as admin:
        await admin.create_topics([NewTopic(settings.topic, 1, 1, topic_configs={"segment.bytes": "2097152"})])
    with pytest.raises(errors.TopicInvalid, match=r"retention\.ms = 604800000, where -1 is needed"):
        await topic.verify(settings)
    assert await topic.ensure(settings)
    await topic.verify(settings)
    assert await config(settings, "segment.bytes") == "2097152"  # what others set stays


async def test_a_wrong_config_is_named_with_its_value(settings: Kafka):
    await topic.ensure(settings)
    await alter(
        settings, cleanup_policy="compact", retention_ms="-1", retention_bytes="-1", max_message_bytes="8388608"
    )
    with pytest.raises(errors.TopicInvalid, match=r"cleanup\.policy = compact, where delete is needed"):
        await topic.verify(settings)


async def test_a_kafka_that_is_not_there_is_told_in_time_by_its_setting():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        started = time.monotonic()
        with pytest.raises(errors.KafkaUnreachable, match="CHAINTRUE_KAFKA__BOOTSTRAP_SERVERS") as caught:
            await topic.verify(Kafka(bootstrap_servers=address, timeout_seconds=3))
    assert time.monotonic() - started < 5
    assert address in str(caught.value)
    assert caught.value.cure


async def test_a_kafka_that_never_answers_is_given_up_in_time():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        settings = Kafka(bootstrap_servers=f"127.0.0.1:{silent.getsockname()[1]}", timeout_seconds=1)
        started = time.monotonic()
        with pytest.raises(errors.KafkaUnreachable, match="no answer within 1 s"):
            await topic.verify(settings)
    assert time.monotonic() - started < 10


async def test_frames_are_read_as_they_were_written(settings: Kafka):
    await topic.ensure(settings)
    start = parts.an_origin(100)
    page = parts.a_page(start.through, position.end_of(200), parts.an_event(150))
    observation = frames.Observation(
        network=NETWORK, scope=parts.SCOPE, latest_ledger=200, entries=(frames.Entry(key="AAAA", xdr=None),)
    )
    async with kafka.writer(settings) as writer:
        assert await writer.write(PARTITION, [start, page]) == [0, 1]
        assert await writer.write(PARTITION, [observation]) == [2]
        assert await writer.write(PARTITION, []) == []
    assert await parts.read_log(settings, network=NETWORK) == [start, page, observation]


async def test_a_large_event_fits_and_one_over_the_limit_is_told(settings: Kafka):
    await topic.ensure(settings)
    start = parts.an_origin(100)
    large = parts.a_page(start.through, position.end_of(200), parts.an_event(150, value="A" * 2_000_000))
    huge = parts.a_page(start.through, position.end_of(200), parts.an_event(150, value="A" * kafka.MAX_MESSAGE_BYTES))
    async with kafka.writer(settings) as writer:
        assert await writer.write(PARTITION, [start, large]) == [0, 1]
        with pytest.raises(errors.FrameInvalid, match="does not fit"):
            await writer.write(PARTITION, [huge])
        assert await writer.write(PARTITION, [start]) == [2]


async def test_a_writer_without_its_topic_fails_in_time(settings: Kafka, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kafka, "PRODUCE_SECONDS", 1.0)
    async with kafka.writer(settings) as writer:
        with pytest.raises(errors.KafkaUnreachable):
            await writer.write(PARTITION, [parts.an_origin(100)])


async def test_an_empty_log_stands_nowhere(settings: Kafka):
    await topic.ensure(settings)
    assert await log_reader.beginnings(settings, network=NETWORK, partitions=[PARTITION]) == {PARTITION: None}
    assert await log_reader.end_offset(settings, partition=PARTITION) == 0


async def test_a_log_stands_at_its_last_page_however_much_lies_behind_it(settings: Kafka):
    await topic.ensure(settings)
    start = parts.an_origin(100)
    through = position.end_of(200)
    observation = frames.Observation(network=NETWORK, scope=parts.SCOPE, latest_ledger=200)
    async with kafka.writer(settings) as writer:
        await writer.write(PARTITION, [start])
        standing = await log_reader.standing(settings, network=NETWORK, partition=PARTITION)
        assert standing == resume.Standing(contracts=start.contracts, through=start.through)
        await writer.write(PARTITION, [parts.a_page(start.through, through), *[observation] * 1_000])
    standing = await log_reader.standing(settings, network=NETWORK, partition=PARTITION)
    assert standing == resume.Standing(contracts=(), through=through)
    assert await log_reader.end_offset(settings, partition=PARTITION) == 1_002


async def test_a_gap_behind_the_last_page_carries_on_but_a_fill_does_not(settings: Kafka):
    await topic.ensure(settings)
    start = parts.an_origin(100)
    gap = frames.Gap(
        network=NETWORK, scope=parts.SCOPE, after=start.through, through=position.end_of(300), reason="lost"
    )
    fill = frames.Page(
        network=NETWORK, scope=parts.SCOPE, kind="fill", after=position.START, through=position.end_of(50)
    )
    async with kafka.writer(settings) as writer:
        await writer.write(PARTITION, [start, gap, fill])
    standing = await log_reader.standing(settings, network=NETWORK, partition=PARTITION)
    assert standing.through == gap.through


async def test_a_log_of_another_network_is_refused(settings: Kafka):
    await topic.ensure(settings)
    async with kafka.writer(settings) as writer:
        await writer.write(PARTITION, [parts.an_origin(100)])
    with pytest.raises(errors.FrameInvalid, match=r"offset 0.*Other") as caught:
        await log_reader.beginnings(settings, network="Other", partitions=[PARTITION])
    assert caught.value.cure


async def test_a_topic_of_somebody_else_is_refused(settings: Kafka):
    await topic.ensure(settings)
    async with kafka.writer(settings) as writer:
        await writer._client.send_and_wait(settings.topic, b"hello", partition=PARTITION)
    with pytest.raises(errors.FrameInvalid, match="offset 0"):
        await log_reader.beginnings(settings, network=NETWORK, partitions=[PARTITION])


async def test_a_log_that_lost_its_beginning_is_refused(settings: Kafka):
    await topic.ensure(settings)
    start = parts.an_origin(100)
    async with kafka.writer(settings) as writer:
        await writer.write(PARTITION, [start, parts.a_page(start.through, position.end_of(200))])
    await parts.delete_records(settings, before=1)
    with pytest.raises(errors.TopicInvalid, match="lost the records before offset 1"):
        await log_reader.beginnings(settings, network=NETWORK, partitions=[PARTITION])
