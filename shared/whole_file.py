"""Files that are never read half written."""

import os
import stat
from pathlib import Path
from uuid import uuid4


def write(path: Path, data: bytes, *, mode: int | None = None) -> None:
    """Replace the file by the data in one step, with the rights that `mode` says (else those of any new file).

    What is no file (a terminal, a pipe, `/dev/null`) is written to; a link stays one. Raises OSError.
    """
    if path.exists() and not path.is_file():
        with path.open("wb") as place:
            place.write(data)
        return
    target = path.resolve()
    temporary = target.with_name(f".{target.name}.{uuid4().hex}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        with os.fdopen(descriptor, "wb") as file:
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            elif target.exists():
                os.fchmod(file.fileno(), stat.S_IMODE(target.stat().st_mode))
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
