"""The hashes of both sides on disk, in buckets by the key's top bits: what is in memory at once is a bucket, not a table.

With a directory that outlives the process a scan that broke off goes on where it stood: after each piece the manifest says how
long each file is by then, and whatever is behind that is cut off.
"""

import math
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ValidationError

from shared import errors, whole_file
from sweeper.digest.scan import Records, stored

ROWS_A_BUCKET = 250_000
MOST_BUCKETS = 256
MANIFEST = "manifest.json"
SIDES = ("app", "chain")


class SideProgress(BaseModel):
    """How far a side is. next_page None: to its end. lengths: bytes of each bucket's file."""

    next_page: int | None = 0
    rows: int = 0
    lengths: list[int]


class Manifest(BaseModel):
    """What a scan stands on: `fingerprint` of the statements and the databases, the seed and the way of its hashes.

    since   where the app's side stood when the scan began (see `scan.now`); None where that is not needed
    """

    fingerprint: str
    started_at: float
    seed: int
    name: str
    native: bool
    buckets: int
    sides: dict[str, SideProgress]
    since: int | None = None

    def age_seconds(self) -> float:
        """By the machine's clock; one that was set back makes the scan too old, not young."""
        age = time.time() - self.started_at
        return age if age >= 0 else math.inf


class Spill:
    """The files of one scan in a directory of their own."""

    def __init__(self, directory: Path, manifest: Manifest, *, is_kept: bool = True) -> None:
        """`is_kept`: the directory outlives the process, so what is done is written down."""
        self.is_resumed = False
        self._directory = directory
        self._is_kept = is_kept
        self.manifest = manifest
        self._files = {side: [self._open(side, number) for number in range(manifest.buckets)] for side in SIDES}

    @classmethod
    def resumed(cls, directory: Path, *, fingerprint: str, max_age_seconds: float) -> "Spill | None":
        """The scan that was broken off here, if it is of the same and not too old; else what it left is removed."""
        try:
            manifest = Manifest.model_validate_json((directory / MANIFEST).read_bytes())
        except (OSError, ValidationError):
            manifest = None
        if (
            manifest is not None
            and manifest.fingerprint == fingerprint
            and manifest.age_seconds() <= max_age_seconds
            and _is_there(directory, manifest)
        ):
            kept = cls(directory, manifest)
            kept.restart("chain")  # what it held then would hide what changed on chain since
            kept.is_resumed = True
            return kept
        discard(directory)
        return None

    def progress(self, side: str) -> SideProgress:
        return self.manifest.sides[side]

    def add(self, side: str, records: Records, *, next_page: int | None) -> None:
        """Keep the hashes of a piece, and that the side is at `next_page` now."""
        progress = self.progress(side)
        for number, part in _parted(records, self.manifest.buckets):
            data = part.tobytes()
            self._append(self._files[side][number], data)
            progress.lengths[number] += len(data)
        progress.rows += len(records)
        progress.next_page = next_page
        if self._is_kept:
            whole_file.write(self._directory / MANIFEST, self.manifest.model_dump_json().encode())

    def _append(self, file: int, data: bytes) -> None:
        left = memoryview(data)
        try:
            while left:  # a disk that is nearly full takes a part, and says so at the next one
                left = left[os.write(file, left) :]
        except OSError as error:
            raise errors.SettingError(
                f"the hashes of a scan cannot be written to {self._directory} ({error.strerror or error})",
                cure="make room there, or let CHAINTRUE_SWEEP__SCAN_DIRECTORY name a directory with 40 bytes a row to spare",
            ) from None

    def restart(self, side: str) -> None:
        """Forget what a side has: of a walk that cannot be gone on with."""
        progress = self.progress(side)
        progress.rows, progress.next_page = 0, 0
        for number, file in enumerate(self._files[side]):
            progress.lengths[number] = 0
            os.ftruncate(file, 0)

    def buckets(self) -> Iterator[tuple[Records, Records]]:
        """The app's and the chain's hashes, bucket by bucket."""
        for number in range(self.manifest.buckets):
            app, chain = (np.fromfile(self._path(side, number), stored(with_id=side == "app")) for side in SIDES)
            yield app, chain

    def close(self) -> None:
        for files in self._files.values():
            for file in files:
                os.close(file)

    def _path(self, side: str, number: int) -> Path:
        return self._directory / f"{side}-{number:03}"

    def _open(self, side: str, number: int) -> int:
        """The file, cut to the length that the manifest knows of."""
        file = os.open(self._path(side, number), os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        os.ftruncate(file, self.progress(side).lengths[number])
        return file


def buckets_for(rows: int) -> int:
    """How many buckets, a power of two, keep each of them small."""
    count = 1
    while count < MOST_BUCKETS and count * ROWS_A_BUCKET < rows:
        count *= 2
    return count


def discard(directory: Path) -> None:
    """Remove the files of a scan; what is not ours is left alone."""
    for pattern in (MANIFEST, *(f"{side}-???" for side in SIDES)):
        for path in directory.glob(pattern):
            path.unlink(missing_ok=True)


def _is_there(directory: Path, manifest: Manifest) -> bool:
    """Whether the files hold all that the manifest says: after a crash of the machine they may not, and zeros would be rows."""
    try:
        return all(
            (directory / f"{side}-{number:03}").stat().st_size >= length
            for side, progress in manifest.sides.items()
            for number, length in enumerate(progress.lengths)
        )
    except OSError:
        return False


def _parted(records: Records, buckets: int) -> Iterator[tuple[int, Records]]:
    if buckets == 1:
        yield 0, records
        return
    shift = np.uint64(64 - (buckets.bit_length() - 1))
    of = (records["key"] >> shift).astype(np.uint16)
    order = np.argsort(of, kind="stable")
    bounds = np.searchsorted(of[order], np.arange(buckets + 1))
    for number in range(buckets):
        if bounds[number] < bounds[number + 1]:
            yield number, records[order[bounds[number] : bounds[number + 1]]]
