"""Scratch space is held by whoever made it, and goes with them."""

import tempfile
from pathlib import Path

import pytest

from octavia_stream.jobs.scratch import abandoned_scratch, worker_scratch


def test_it_is_there_for_as_long_as_it_is_held(tmp_path: Path) -> None:
    with worker_scratch(tmp_path) as mine, worker_scratch(tmp_path) as theirs:
        assert mine != theirs
        assert mine.is_dir()
        assert theirs.is_dir()
        assert abandoned_scratch(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_one_that_another_worker_took_for_abandoned_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its making and its lock it looks like that of a dead worker."""
    made: list[Path] = []
    mkdtemp = tempfile.mkdtemp

    def taken_once(prefix: str, dir: Path) -> str:
        made.append(Path(mkdtemp(prefix=prefix, dir=dir)))
        if len(made) == 1:
            made[0].rmdir()
        return str(made[-1])

    monkeypatch.setattr(tempfile, "mkdtemp", taken_once)
    with worker_scratch(tmp_path) as directory:
        assert directory == made[1]
        assert directory.is_dir()
