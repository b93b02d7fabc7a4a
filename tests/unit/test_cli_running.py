"""How commands end: signals, errors in words, exit codes; in processes of their own, for signals and exits are a process's."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from sqlalchemy.exc import DBAPIError

from deploy.commands import failures
from shared import errors

PRELUDE = """
import asyncio, sys
from deploy.commands import running
from shared import errors
def ready(): print("ready", flush=True)
"""


def start(body: str, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(  # noqa: S603 - our own code
        [sys.executable, "-c", PRELUDE + textwrap.dedent(body)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def finish(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    out, err = process.communicate(timeout=30)
    return process.returncode, out, err


def await_ready(process: "subprocess.Popen[str]") -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"


ONE_SHOT = """
async def work(stop):
    ready()
    await asyncio.sleep(60)
    return 0
sys.exit(running.run(work))
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_cancels_a_one_shot_command(number: signal.Signals, code: int) -> None:
    process = start(ONE_SHOT)
    await_ready(process)
    process.send_signal(number)
    assert finish(process) == (code, "", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_long_running_command_ends_with_its_own_code(number: signal.Signals) -> None:
    process = start("""
        async def work(stop):
            ready()
            await stop.wait()
            return 0
        sys.exit(running.run(work, stops=True))
    """)
    await_ready(process)
    process.send_signal(number)
    assert finish(process) == (0, "", "")


HANGS = """
import threading, time
async def work(stop):
    threading.Thread(target=time.sleep, args=(60,)).start()
    ready()
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ready()
sys.exit(running.run(work, stop_seconds=0.5))
"""


def test_what_does_not_end_is_given_up() -> None:
    process = start(HANGS)
    await_ready(process)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    code, _, err = finish(process)
    assert code == 1
    assert "could be ended in time" in err
    assert time.monotonic() - began < 10


def test_a_second_signal_ends_at_once() -> None:
    process = start(HANGS.replace("0.5", "60"))
    await_ready(process)
    process.send_signal(signal.SIGINT)
    await_ready(process)  # it has heard the first
    process.send_signal(signal.SIGINT)
    assert finish(process)[0] == 130


RAISES = """
async def work(stop):
    raise {error}
sys.exit(running.run(work))
"""


def test_an_error_is_one_message_with_its_cure_and_no_secret() -> None:
    error = "errors.KafkaUnreachable('no answer of kafka://me:s3cret@there', cure='start it')"
    code, out, err = finish(start(RAISES.format(error=error)))
    assert code == 1
    assert out == ""
    assert err == "chaintrue: no answer of kafka://***@there\n  Cure: start it\n"


def test_an_unexpected_error_is_called_a_bug_and_shows_its_traceback_on_request() -> None:
    error = "KeyError('password=s3cret')"
    code, out, err = finish(start(RAISES.format(error=error)))
    assert (code, out) == (1, "")
    assert "unexpected KeyError" in err
    assert "bug in chaintrue" in err
    assert "Traceback" not in err
    assert "s3cret" not in err
    code, _, err = finish(start(RAISES.format(error=error), CHAINTRUE_DEBUG="1"))
    assert code == 1
    assert "Traceback" in err
    assert "s3cret" not in err


def test_the_traceback_on_request_is_no_unknown_setting() -> None:
    code, _, err = finish(
        start(
            """
            from shared.settings import EngineSettings
            async def work(stop):
                EngineSettings.load()
                return 0
            sys.exit(running.run(work))
            """,
            CHAINTRUE_DEBUG="1",
        )
    )
    assert (code, err) == (0, "")


def test_nobody_who_reads_is_no_bug() -> None:
    process = start("""
        from deploy import terminal
        async def work(stop):
            ready()
            await asyncio.to_thread(sys.stdin.readline)
            terminal.show_json(["x" * 100] * 10000)
            return 0
        sys.stdin = open(0)
        sys.exit(running.run(work))
    """)
    await_ready(process)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    process.wait(timeout=30)
    said = process.stderr.read()
    process.stderr.close()
    assert (process.returncode, said) == (1, "")


class Refused(Exception):
    """A driver's error, as SQLAlchemy wraps it."""

    sqlstate = "42501"


class Lost(Refused):
    sqlstate = "57P01"


def test_of_several_errors_the_one_with_words_is_told() -> None:
    group = ExceptionGroup("parts", [KeyError("x"), ExceptionGroup("more", [errors.TopicInvalid("no topic")])])
    assert failures.explain(group) == "no topic"


def test_a_database_that_refuses_or_is_lost_is_no_bug() -> None:
    refused = failures.explain(DBAPIError("SELECT 1", {}, Refused("permission denied for schema chain")))
    assert refused is not None
    assert "permission denied for schema chain" in refused
    assert "Cure" in refused
    lost = failures.explain(DBAPIError("SELECT 1", {}, Lost("terminating connection")))
    assert lost is not None
    assert "terminating connection" in lost


def test_the_system_s_own_words_are_told_and_a_mistake_is_not_explained_away() -> None:
    assert failures.explain(PermissionError(13, "Permission denied", "reports")) == (
        "[Errno 13] Permission denied: 'reports'"
    )
    assert "in time" in (failures.explain(TimeoutError()) or "")
    assert failures.explain(ValueError("x")) is None
    assert "ValueError: x" in failures.confess(ValueError("x"))


def test_a_thread_that_hangs_does_not_keep_the_process() -> None:
    """Faust's does, when its broker went away before it was told the last offset."""
    body = """
    import threading
    threading.Thread(target=threading.Event().wait).start()
    print("said")
    running.end(3)
    """
    assert finish(start(body)) == (3, "said\n", "")


def test_without_such_a_thread_the_process_ends_as_usual() -> None:
    body = """
    import atexit
    atexit.register(print, "at its end")
    running.end(2)
    """
    assert finish(start(body)) == (2, "at its end\n", "")


def test_what_is_secret_in_the_settings_is_hidden_once_they_are_read() -> None:
    """In no form that gives it away; by its value, then."""
    body = """
    from deploy import cli_options
    cli_options.load(None)
    running.complain("a node said 0123456789abcdef-key")
    """
    code, _, err = finish(start(body, CHAINTRUE_RPC__URLS="https://rpc.example/0123456789abcdef-key"))
    assert (code, err) == (0, "chaintrue: a node said ***\n")
