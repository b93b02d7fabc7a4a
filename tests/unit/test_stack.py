"""The parts of the local stack that start nothing."""

import re
from pathlib import Path

import pytest

from deploy.stack import failure, jars, ports, server


def test_the_lock_pins_every_jar_by_name_size_and_hash() -> None:
    pinned = jars.read_lock(jars.LOCK.read_text())

    assert len({jar.file_name for jar in pinned}) == len(pinned) == 45
    assert all(re.fullmatch("[0-9a-f]{64}", jar.sha256) and jar.size > 0 for jar in pinned)
    assert {"kafka_2.13-4.4.0.jar", "kafka-clients-4.4.0.jar", "slf4j-simple-1.7.36.jar"} <= {
        jar.file_name for jar in pinned
    }


def test_a_lock_is_read_past_comments_and_empty_lines() -> None:
    text = f"# a comment\n\n{'a' * 64}       12  org.example:thing:1.0\n"
    assert jars.read_lock(text) == (jars.Jar("org.example", "thing", "1.0", 12, "a" * 64),)
    assert jars.read_lock("") == ()


@pytest.mark.parametrize("base", ["", "relative/path"])
def test_the_cache_lies_in_the_home_unless_an_absolute_place_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, base: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", base)
    assert jars.cache_directory() == tmp_path / ".cache" / "chaintrue"


def test_the_cache_follows_its_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert jars.cache_directory() == tmp_path / "chaintrue"


def test_free_ports_differ_and_lie_below_those_of_outgoing_connections() -> None:
    found = ports.free_ports(50)
    assert len(set(found)) == 50
    assert all(ports.FIRST <= port <= ports.LAST < 32_768 for port in found)


def test_last_words_are_the_end_of_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"\n".join(b"line %d \xff" % number for number in range(100_000)) + b"\n\n")
    words = failure.last_words(log, lines=2).splitlines()
    assert [word.strip() for word in words] == ["line 99998 \ufffd", "line 99999 \ufffd"]


@pytest.mark.parametrize("text", [None, "", "\n\n"], ids=["no log", "an empty log", "empty lines"])
def test_last_words_of_a_silent_server_say_so(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "log").write_text(text)
    assert "no word" in failure.last_words(tmp_path / "log")


def test_last_words_keep_the_cause_and_drop_the_stack_frames(tmp_path: Path) -> None:
    frames = "".join(f"\tat kafka.Kafka$.main(Kafka.scala:{number})\n" for number in range(30))
    (tmp_path / "log").write_text(f"java.lang.RuntimeException: the cause\n{frames}")
    assert failure.last_words(tmp_path / "log") == "    java.lang.RuntimeException: the cause"


def test_a_directory_below_a_private_one_is_not_open_to_all(tmp_path: Path) -> None:
    inner = tmp_path / "private" / "open"
    inner.mkdir(parents=True)
    inner.chmod(0o755)
    inner.parent.chmod(0o700)
    assert not server.open_to_all(inner)
