"""What the launcher keeps in home."""

import os
import stat
from pathlib import Path

import pytest

from octavia_stream.errors import Conflict
from octavia_stream.launcher.home import (
    LONGEST_RAY_DIRECTORY,
    HomeLock,
    announce,
    find_stack,
    ray_directory,
    ray_token,
    withdraw,
)


def test_a_home_has_one_stack(tmp_path: Path) -> None:
    first, second = HomeLock(tmp_path), HomeLock(tmp_path)
    first.take()

    with pytest.raises(Conflict, match=f"already runs here \\(process {os.getpid()}\\)"):
        second.take()

    first.give_back()
    second.take()
    second.give_back()


def test_a_running_stack_is_found(tmp_path: Path) -> None:
    lock = HomeLock(tmp_path)
    lock.take()
    announce(tmp_path, "http://127.0.0.1:8000")

    found = find_stack(tmp_path)

    assert found is not None
    assert (found.api_url, found.pid) == ("http://127.0.0.1:8000", os.getpid())
    withdraw(tmp_path)
    assert find_stack(tmp_path) is None
    lock.give_back()


def test_the_note_of_a_killed_stack_does_not_count(tmp_path: Path) -> None:
    """The kernel has freed its lock; the note is still there."""
    announce(tmp_path, "http://127.0.0.1:8000")

    assert find_stack(tmp_path) is None


def test_a_home_that_does_not_exist_has_no_stack(tmp_path: Path) -> None:
    assert find_stack(tmp_path / "nowhere") is None
    assert not (tmp_path / "nowhere").exists()


def test_the_token_is_made_once_and_private(tmp_path: Path) -> None:
    path = ray_token(tmp_path)
    token = path.read_text()

    assert ray_token(tmp_path).read_text() == token
    assert len(token) == 64
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_ray_gets_a_short_directory_however_long_the_path_of_home(tmp_path: Path) -> None:
    home = tmp_path / ("long" * 20)
    home.mkdir()

    directory = ray_directory(home)

    assert len(str(directory)) <= LONGEST_RAY_DIRECTORY
    assert directory == ray_directory(home)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    directory.rmdir()


def test_what_an_earlier_node_left_is_gone(tmp_path: Path) -> None:
    directory = ray_directory(tmp_path)
    (directory / "session").mkdir()

    assert list(ray_directory(tmp_path).iterdir()) == []


def test_a_trap_in_the_temporary_directory_is_refused(tmp_path: Path) -> None:
    home = tmp_path / ("deep" * 20)
    home.mkdir()
    directory = ray_directory(home)
    directory.rmdir()
    directory.symlink_to(tmp_path)

    with pytest.raises(Conflict, match="another user"):
        ray_directory(home)
    directory.unlink()
