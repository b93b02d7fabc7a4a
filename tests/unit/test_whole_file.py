"""Files written in one step."""

import os
import stat
from pathlib import Path

import pytest

from shared import whole_file


def rights(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    whole_file.write(path, b"first")
    path.chmod(0o640)
    whole_file.write(path, b"second")
    assert path.read_bytes() == b"second"
    assert rights(path) == 0o640
    whole_file.write(path, b"third", mode=0o604)
    assert rights(path) == 0o604
    assert list(tmp_path.iterdir()) == [path]


def test_whoever_reads_meanwhile_has_the_old_one_whole(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    whole_file.write(path, b"first")
    with path.open("rb") as reader:
        whole_file.write(path, b"second, and longer")
        assert reader.read() == b"first"


def test_a_link_stays_a_link_and_a_pipe_a_pipe(tmp_path: Path) -> None:
    target, link, pipe = tmp_path / "target", tmp_path / "link", tmp_path / "pipe"
    link.symlink_to(target)
    whole_file.write(link, b"text")
    assert (link.is_symlink(), target.read_bytes()) == (True, b"text")
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        whole_file.write(pipe, b"text")
        assert os.read(reader, 10) == b"text"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_directory_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        whole_file.write(tmp_path / "none" / "report.html", b"")
