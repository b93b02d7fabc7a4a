"""What a log line looks like, and what it never shows."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from shared import log, masking
from shared.settings import LogFormat


@pytest.fixture
def output() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before = root.handlers, root.level
    levels = {name: (logging.getLogger(name).level, logging.getLogger(name).handlers) for name in log._NOISY}
    yield io.StringIO()
    root.handlers, level = before
    root.setLevel(level)
    for name, (old, handlers) in levels.items():
        logging.getLogger(name).setLevel(old)
        logging.getLogger(name).handlers = handlers
    structlog.reset_defaults()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:s3cr3t@host:5432/db", "postgresql://***@host:5432/db"),
        ("postgresql://me:p@ss@host/db", "postgresql://***@host/db"),
        ("https://user@rpc.example/path", "https://***@rpc.example/path"),
        ("connect password=s3cr3t failed", "connect password=*** failed"),
        ("PGPASSWORD=s3cr3t", "PGPASSWORD=***"),
        ('{"api_key": "s3cr3t"}', '{"api_key": "***"}'),
        ("https://rpc.example/?apikey=s3cr3t&x=1", "https://rpc.example/?apikey=***&x=1"),
        ("offset 12 of topic chaintrue.facts", "offset 12 of topic chaintrue.facts"),
        ("mail a@b.example", "mail a@b.example"),
        ("CHAINTRUE_KAFKA__SASL_PASSWORD: Kafka refuses", "CHAINTRUE_KAFKA__SASL_PASSWORD: Kafka refuses"),
        ("CHAINTRUE_KAFKA__SASL_PASSWORD=s3cr3t", "CHAINTRUE_KAFKA__SASL_PASSWORD=***"),
        ("KAFKA__SASL_PASSWORD: s3cr3t", "KAFKA__SASL_PASSWORD: ***"),
    ],
)
def test_secrets_are_masked_and_the_rest_is_kept(text: str, shown: str):
    assert masking.mask(text) == shown


def test_masking_twice_changes_nothing():
    once = masking.mask("postgresql://me:s3cr3t@host/db password=s3cr3t")
    assert masking.mask(once) == once


def test_json_lines(output: io.StringIO):
    log.configure(LogFormat.JSON, stream=output)
    structlog.get_logger().info("indexing goes on", behind="0015")
    record = json.loads(output.getvalue())
    assert record["event"] == "indexing goes on"
    assert record["behind"] == "0015"
    assert record["level"] == "info"
    assert record["timestamp"].endswith("Z")


def test_console_lines_have_no_colours_where_nobody_looks(output: io.StringIO):
    log.configure(LogFormat.CONSOLE, stream=output)
    structlog.get_logger().warning("look", ledger=7)
    assert "look" in output.getvalue()
    assert "ledger=7" in output.getvalue()
    assert "\x1b" not in output.getvalue()


@pytest.mark.parametrize("form", list(LogFormat))
def test_an_exception_shows_no_secret_either(output: io.StringIO, form: LogFormat):
    log.configure(form, stream=output)
    try:
        int("postgresql://me:s3cr3t@host/db")
    except ValueError:
        structlog.get_logger().exception("failed")
    assert "ValueError" in output.getvalue()
    assert "s3cr3t" not in output.getvalue()


def test_libraries_speak_in_one_line_and_only_from_warning_on(output: io.StringIO):
    log.configure(LogFormat.CONSOLE, stream=output)
    library = logging.getLogger("aiokafka.client")
    library.info("chatter")
    try:
        int("deep inside")
    except ValueError:
        library.exception("something %s", "failed")
    assert output.getvalue().count("\n") == 1
    assert "something failed" in output.getvalue()


def test_what_the_final_error_repeats_is_left_out(output: io.StringIO):
    log.configure(LogFormat.CONSOLE, stream=output)
    logging.getLogger("mode.services").error("Crashed reason=%r", OSError("x"))
    logging.getLogger("aiokafka").error('Unable connect to "%s"', "127.0.0.1:1")
    assert output.getvalue() == ""


def test_debug_is_off(output: io.StringIO):
    log.configure(LogFormat.CONSOLE, stream=output)
    structlog.get_logger().debug("details")
    assert output.getvalue() == ""
