"""The cache of pinned jars, filled from a Maven repository over HTTP: a small one of ours, so that it can misbehave."""

import asyncio
import gc
import hashlib
import http.server
import json
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from deploy import stack
from deploy.stack import jars

# The downloading library leaves a connection open when a download ends early.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")

BODIES = {f"thing{number}": bytes([number]) * (50_000 + number) for number in range(1, 6)}
PINNED = tuple(
    jars.Jar("org.example", name, "1.0", len(body), hashlib.sha256(body).hexdigest()) for name, body in BODIES.items()
)


@dataclass
class Repository:
    """Serves BODIES in Maven's layout; `spoiled` maps a jar's name to the bodies it gives first, None for "not found"."""

    url: str = ""
    spoiled: dict[str, list[bytes | None]] = field(default_factory=dict)
    served: Counter[str] = field(default_factory=Counter)
    asked: threading.Event = field(default_factory=threading.Event)
    hold: threading.Event = field(default_factory=threading.Event)


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """What was left open is collected while this module's filter is in force."""
    yield
    gc.collect()


@pytest.fixture
def repository() -> Iterator[Repository]:
    state = Repository()
    state.hold.set()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.rsplit("/", 1)[1].removesuffix("-1.0.jar")
            body: bytes | None = BODIES.get(name)
            if body is not None:
                state.served[name] += 1
                state.asked.set()
                state.hold.wait(10)
                if state.spoiled.get(name):
                    body = state.spoiled[name].pop(0)
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state.url = f"http://127.0.0.1:{server.server_port}/maven"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield state
        state.hold.set()
        server.shutdown()
        thread.join()


def ensure(directory: Path, repository: Repository, **more) -> list[Path]:
    return jars.ensure(PINNED, directory=directory, repository=repository.url, **more)


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()} - {".lock"}


def assert_whole(directory: Path) -> None:
    assert {name: (directory / name).read_bytes() for name in names(directory)} == {
        f"{name}-1.0.jar": body for name, body in BODIES.items()
    }


def test_an_empty_cache_is_filled_once_and_progress_reaches_all_bytes(tmp_path: Path, repository: Repository) -> None:
    told: list[tuple[int, int]] = []

    paths = ensure(tmp_path / "new", repository, progress=lambda done, total: told.append((done, total)))
    again = ensure(tmp_path / "new", repository)

    assert paths == again == [tmp_path / "new" / jar.file_name for jar in PINNED]
    assert_whole(tmp_path / "new")
    assert set(repository.served.values()) == {1}
    total = sum(len(body) for body in BODIES.values())
    assert told[0] == (0, total)
    assert told[-1] == (total, total)


@pytest.mark.parametrize("damage", [b"", b"short", bytes([3]) * 50_002 + b"x"], ids=["empty", "cut", "same size"])
def test_a_damaged_jar_is_noticed_and_only_it_is_fetched_again(
    tmp_path: Path, repository: Repository, damage: bytes
) -> None:
    ensure(tmp_path, repository)
    repository.served.clear()
    (tmp_path / "thing3-1.0.jar").write_bytes(damage)

    ensure(tmp_path, repository)

    assert repository.served == {"thing3": 1}
    assert_whole(tmp_path)


def test_what_a_killed_run_left_half_done_is_repaired_and_cleared(tmp_path: Path, repository: Repository) -> None:
    left_over = tmp_path / ".staging-dead" / "1" / "org"
    left_over.mkdir(parents=True)
    (left_over / "thing1-1.0.jar").write_bytes(b"half")
    (tmp_path / "thing2-1.0.jar").write_bytes(BODIES["thing2"])

    ensure(tmp_path, repository)

    assert "thing2" not in repository.served
    assert_whole(tmp_path)


def test_a_jar_that_comes_wrong_is_asked_for_again(tmp_path: Path, repository: Repository) -> None:
    repository.spoiled["thing4"] = [b"an error page with status 200", None]
    ensure(tmp_path, repository)
    assert repository.served["thing4"] == 3
    assert_whole(tmp_path)


def test_a_jar_that_stays_wrong_is_refused_by_name_and_never_enters_the_cache(
    tmp_path: Path, repository: Repository
) -> None:
    repository.spoiled["thing5"] = [b"another thing"] * 9
    with pytest.raises(stack.StackFailed, match=r"thing5-1\.0\.jar could not be downloaded.*sha256") as raised:
        ensure(tmp_path, repository)
    assert "Cure:" in str(raised.value)
    assert names(tmp_path) <= {jar.file_name for jar in PINNED} - {"thing5-1.0.jar"}


def test_a_repository_that_nobody_serves_is_an_error_with_a_cure(tmp_path: Path) -> None:
    nobody = Repository(url="http://127.0.0.1:9/maven")
    with pytest.raises(stack.StackFailed, match="could not be downloaded") as raised:
        ensure(tmp_path, nobody)
    assert "network" in str(raised.value.cure)


async def test_two_processes_at_once_fetch_each_jar_once(tmp_path: Path, repository: Repository) -> None:
    lock = "".join(f"{jar.sha256} {jar.size} {jar.group}:{jar.artifact}:{jar.version}\n" for jar in PINNED)
    code = (
        "import json, pathlib, sys; from deploy.stack import jars; lock, place, url = json.loads(sys.argv[1]); "
        "jars.ensure(jars.read_lock(lock), directory=pathlib.Path(place), repository=url)"
    )
    argument = json.dumps([lock, str(tmp_path), repository.url])
    repository.hold.clear()
    both = [await asyncio.create_subprocess_exec(sys.executable, "-c", code, argument) for _ in range(2)]
    assert await asyncio.to_thread(repository.asked.wait, 30)
    repository.hold.set()

    assert [await asyncio.wait_for(process.wait(), 30) for process in both] == [0, 0]
    assert set(repository.served.values()) == {1}
    assert_whole(tmp_path)


async def test_a_download_that_is_no_longer_wanted_ends(tmp_path: Path, repository: Repository) -> None:
    repository.hold.clear()
    cancelled = threading.Event()
    work = asyncio.create_task(asyncio.to_thread(ensure, tmp_path, repository, cancelled=cancelled))
    assert await asyncio.to_thread(repository.asked.wait, 30)

    cancelled.set()
    repository.hold.set()

    with pytest.raises(jars.Cancelled):
        await asyncio.wait_for(work, 30)
    assert names(tmp_path) == set()
