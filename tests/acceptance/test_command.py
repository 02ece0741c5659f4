"""`octavia dub`, typed as a user types it: a result or one sentence, never a traceback."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.acceptance.conftest import DATA, Running

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.ray,
    pytest.mark.services,
    pytest.mark.model,
    pytest.mark.timeout(300),
]

UNPLAYABLE = [
    "bad.wav",
    "chapters_truncated_chapter_string.mkv",
    "faulty_03_wrong_bit_depth.flac",
    "faulty_06_missing_streaminfo_metadata_block.flac",
    "fuzz_1df9507cc2.webm",
    "invalid-bitstream.webm",
    "invalid_header.ogg",
    "missing_wav_header.wav",
    "null.wav",
    "sample_malformed_free_box.mp4",
    "sample_missing_stsd.mp4",
    "block_ends_beyond_cluster.mkv",
]


async def octavia(running: Running, *arguments: str, interrupt_after: str | None = None) -> tuple[int, str]:
    """Run the command against the running stack's home. Returns exit code and everything it printed."""
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("octavia")),
        *arguments,
        env=os.environ | {"OCTAVIA_HOME": str(running.home), "COLUMNS": "200"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    printed = b""
    async with asyncio.timeout(200):
        while block := await process.stdout.read(4096):
            printed += block
            if interrupt_after is not None and interrupt_after.encode() in printed:
                process.send_signal(signal.SIGINT)
                interrupt_after = None
        code = await process.wait()
    return code, printed.decode()


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def test_a_file_becomes_its_dub_beside_subtitles_and_a_report(real_stack: Running, tmp_path: Path) -> None:
    code, printed = await octavia(
        real_stack, "dub", str(DATA / "video" / "friday.mp4"), "--to", "pt", "--output", str(tmp_path)
    )
    assert code == 0, printed
    names = set(leftovers(tmp_path))
    assert {"friday.pt.mp4", "friday.en.srt", "friday.pt.srt", "friday.pt.vtt", "friday.report.json"} <= names
    assert str(tmp_path / "friday.pt.mp4") in printed
    assert "100%" in printed


@pytest.mark.parametrize("name", UNPLAYABLE)
async def test_an_unplayable_file_is_refused_in_one_sentence(real_stack: Running, tmp_path: Path, name: str) -> None:
    code, printed = await octavia(
        real_stack, "dub", str(DATA / "malformed" / name), "--to", "pt", "--output", str(tmp_path)
    )
    assert code == 1
    assert "Traceback" not in printed
    errors = [line for line in printed.splitlines() if line.startswith("Error:")]
    assert len(errors) == 1
    assert errors[0].endswith(".")
    assert leftovers(tmp_path) == []


async def test_what_is_no_media_file_is_refused_in_one_sentence(real_stack: Running, tmp_path: Path) -> None:
    text = tmp_path / "notes.mp4"
    text.write_text("These are notes, not a film. " * 100)
    empty = tmp_path / "empty.mp4"
    empty.touch()
    for path, reason in ((text, "not"), (empty, "empty"), (tmp_path, "directory"), (tmp_path / "gone.mp4", "no")):
        code, printed = await octavia(real_stack, "dub", str(path), "--to", "pt")
        assert code == 1
        assert "Traceback" not in printed
        assert printed.startswith("Error:")
        assert len(printed.strip().splitlines()) == 1
        assert reason in printed


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--to", "ja"], "install"),
        (["--to", "klingon"], "language"),
        (["--to", "pt", "--voice", "nobody"], "nobody"),
        (["--to", "pt", "--voice", "hibari/heart"], "pf_dora"),
        (["--to", "pt", "--audio-track", "7"], "track"),
    ],
)
async def test_what_cannot_be_made_is_refused_with_what_would_help(
    real_stack: Running, options: list[str], reason: str
) -> None:
    code, printed = await octavia(real_stack, "dub", str(DATA / "video" / "friday.mp4"), *options)
    assert code == 1
    assert "Traceback" not in printed
    assert reason in printed


async def test_a_damaged_file_with_usable_speech_is_dubbed_with_a_warning(real_stack: Running, tmp_path: Path) -> None:
    whole = (DATA / "speech" / "en" / "jfk.flac").read_bytes()
    damaged = tmp_path / "damaged.flac"
    damaged.write_bytes(whole[:200_000] + bytes(3000) + whole[203_000:])
    code, printed = await octavia(real_stack, "dub", str(damaged), "--to", "pt", "--output", str(tmp_path / "out"))
    assert code == 0, printed
    assert "Warning:" in printed


async def test_an_interrupted_command_cancels_its_job(real_stack: Running, tmp_path: Path) -> None:
    code, printed = await octavia(
        real_stack,
        "dub",
        str(DATA / "speech" / "en" / "lj_printing_4min.flac"),
        "--to",
        "pt",
        "--output",
        str(tmp_path),
        interrupt_after="Heard English",
    )
    assert code == 130, printed
    assert "Traceback" not in printed
    row = await real_stack.runtime.pool.fetchrow("select status from job order by created_at desc limit 1")
    assert row is not None
    assert row["status"] == "cancelled"
    assert leftovers(tmp_path) == []
