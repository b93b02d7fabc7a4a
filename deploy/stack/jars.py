"""The jars of Apache Kafka, pinned by `kafka-4.4.0.lock`, fetched once and kept in the user's cache.

The lock names every jar by its Maven coordinate, size and sha256, so nothing is resolved at run time and nothing unpinned
can come in. `jgo` downloads them (no Java, Maven or git is needed) into a staging directory inside the cache; a jar takes
its place there by a rename, after its sha256 was found right. All are hashed again at every start (0.1 to 0.3 s): a
damaged one is fetched anew. Several processes may fill the cache at once: one fetches, the others wait for its lock, which
a killed process loses with its life.

The cache is `$XDG_CACHE_HOME/chaintrue`, or `~/.cache/chaintrue`.
"""

import fcntl
import hashlib
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.stack.failure import EXTRA_CURE, StackFailed

LOCK = Path(__file__).parent / "kafka-4.4.0.lock"
CONNECTIONS = 6
ATTEMPTS = 3
TIMEOUT_SECONDS = 20  # of silence, not of the whole download; also how long a Ctrl-C may have to wait for a silent peer
POLL_SECONDS = 0.1

Progress = Callable[[int, int], None]
"""Called with the bytes that are there and the bytes in all, while jars are downloaded; from several threads."""


@dataclass(frozen=True)
class Jar:
    group: str
    artifact: str
    version: str
    size: int
    sha256: str

    @property
    def file_name(self) -> str:
        return f"{self.artifact}-{self.version}.jar"


class Cancelled(Exception):
    """The caller no longer wants the jars."""


def read_lock(text: str) -> tuple[Jar, ...]:
    """The jars of a lock file: lines of `sha256 size group:artifact:version`; `#` begins a comment."""
    jars = []
    for line in text.splitlines():
        if line and not line.startswith("#"):
            sha256, size, coordinate = line.split()
            group, artifact, version = coordinate.split(":")
            jars.append(Jar(group, artifact, version, int(size), sha256))
    return tuple(jars)


def cache_directory() -> Path:
    """Where chaintrue keeps what it downloaded, for this user."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "chaintrue"


def ensure(
    jars: tuple[Jar, ...],
    *,
    directory: Path,
    progress: Progress | None = None,
    cancelled: threading.Event | None = None,
    repository: str | None = None,
) -> list[Path]:
    """The paths of all jars in `directory`, each with the sha256 of the lock; downloads what is missing or damaged.

    `repository` is the URL of a Maven repository, None for the public one. Blocks; `cancelled` ends it early with
    Cancelled. Raises StackFailed when a jar cannot be had.
    """
    cancelled = cancelled or threading.Event()
    if bad := damaged(jars, directory):
        try:
            with _locked(directory, cancelled):
                if bad := damaged(jars, directory):  # another process may have fetched them meanwhile
                    tally = _Tally(sum(jar.size for jar in bad), progress or (lambda _done, _all: None), cancelled)
                    _fetch(bad, directory, tally, repository)
        except OSError as error:
            raise StackFailed(
                f"the cache {directory} cannot be written: {error}", cure="set XDG_CACHE_HOME to a directory of yours"
            ) from error
    return [directory / jar.file_name for jar in jars]


def damaged(jars: tuple[Jar, ...], directory: Path) -> tuple[Jar, ...]:
    """The jars that are missing in `directory`, or not what the lock says."""
    with ThreadPoolExecutor() as pool:
        right = pool.map(lambda jar: _is_right(directory / jar.file_name, jar), jars)
        return tuple(jar for jar, is_right in zip(jars, right, strict=True) if not is_right)


def _is_right(path: Path, jar: Jar) -> bool:
    try:
        return path.stat().st_size == jar.size and hashlib.sha256(path.read_bytes()).hexdigest() == jar.sha256
    except OSError:
        return False


@contextmanager
def _locked(directory: Path, cancelled: threading.Event) -> Iterator[None]:
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if cancelled.wait(POLL_SECONDS):
                    raise Cancelled from None
            else:
                break
        yield


class _Tally:
    """Counts bytes over all threads, and stops them: by the caller's `cancelled`, or by `stopped` once one failed."""

    def __init__(self, total: int, progress: Progress, cancelled: threading.Event) -> None:
        self.total = total
        self.stopped = threading.Event()
        self._cancelled = cancelled
        self._progress = progress
        self._lock = threading.Lock()
        self._done = 0
        progress(0, total)

    def add(self, count: int) -> None:
        if self._cancelled.is_set() or self.stopped.is_set():
            raise Cancelled
        with self._lock:
            self._done += count
            self._progress(self._done, self.total)


class _Count:
    """What one attempt added to the tally, so that a failed one can be taken off again."""

    def __init__(self, tally: _Tally) -> None:
        self.counted = 0
        self._tally = tally

    def add(self, count: int) -> None:
        self.counted += count
        self._tally.add(count)


def _fetch(jars: tuple[Jar, ...], directory: Path, tally: _Tally, repository: str | None) -> None:
    for left_over in directory.glob(".staging-*"):  # of a run that was killed: we hold the lock, so nobody uses it
        shutil.rmtree(left_over, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=".staging-", dir=directory) as staging:
        pool = ThreadPoolExecutor(max_workers=CONNECTIONS)
        try:
            tasks = [pool.submit(_fetch_one, jar, directory, Path(staging), tally, repository) for jar in jars]
            for task in as_completed(tasks):
                task.result()
        finally:
            tally.stopped.set()
            pool.shutdown(wait=True, cancel_futures=True)


def _fetch_one(jar: Jar, directory: Path, staging: Path, tally: _Tally, repository: str | None) -> None:
    reason = ""
    for attempt in range(1, ATTEMPTS + 1):
        count = _Count(tally)
        try:
            path = _download(jar, staging / str(attempt), count, repository)
        except (
            OSError,
            RuntimeError,
        ) as error:  # the network's errors, those of `requests` too; an answer that is no file
            reason = str(error)
        else:
            if _is_right(path, jar):
                path.replace(directory / jar.file_name)
                count.add(jar.size - count.counted)  # a server that told no size was not counted on the way
                return
            reason = f"what came has not the sha256 {jar.sha256}"
        count.add(-count.counted)
        if attempt < ATTEMPTS:
            tally.stopped.wait(attempt)
    raise StackFailed(
        f"{jar.file_name} could not be downloaded: {reason}",
        cure="check the network and the proxy settings (HTTPS_PROXY), then run again; or use a Kafka of your own",
    )


def _download(jar: Jar, staging: Path, count: _Count, repository: str | None) -> Path:
    """Download into `staging`, which no other attempt may share; `count` gets the size of each piece."""
    try:
        from jgo.maven import MavenContext, PythonResolver  # noqa: PLC0415 - slow to import, and only a download needs it
    except ImportError as error:
        raise StackFailed("the local Kafka needs the package jgo, which is not installed", cure=EXTRA_CURE) from error

    @contextmanager
    def of_file(_name: str, _size: int) -> Iterator[Callable[[int], None]]:
        yield count.add

    resolver = PythonResolver(progress_callback=of_file)
    remotes = {"repository": repository} if repository else None
    context = MavenContext(resolver=resolver, repo_cache=staging, remote_repos=remotes, timeout=TIMEOUT_SECONDS)
    path: Path = context.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve()
    return path
