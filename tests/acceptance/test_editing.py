"""The page about editing, as it stands, with real models: the words that were written are heard in the new dub."""

import asyncio
import os
import re
import shutil
from pathlib import Path

import jiwer
import msgspec
import pytest

from octavia_stream.audio.chunk import ASR_RATE_HZ
from tests.acceptance.conftest import DATA, Running
from tests.acceptance.test_dub import heard, sound, words

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.ray,
    pytest.mark.services,
    pytest.mark.model,
    pytest.mark.timeout(300),
    pytest.mark.skipif(shutil.which("curl") is None or shutil.which("jq") is None, reason="needs curl and jq"),
]

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "edit-a-dub.md"
WRITTEN = "Bom dia a todos, e sejam muito bem-vindos."
ASKED = "select stage, count(*) as asked from chunk where job_id = $1 and started_at > $2 group by stage"


async def test_a_line_that_was_edited_is_heard_in_the_new_dub(real_stack: Running, tmp_path: Path) -> None:
    shutil.copy(DATA / "speech" / "en" / "jfk.flac", tmp_path / "speech.flac")
    commands = "\n".join(re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL))
    process = await asyncio.create_subprocess_exec(
        *("bash", "-euo", "pipefail", "-c", commands),
        cwd=tmp_path,
        env=os.environ | {"SERVER": real_stack.url},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(200):
        printed, _ = await process.communicate()
    assert process.returncode == 0, printed.decode()
    assert WRITTEN in printed.decode()
    version = await real_stack.runtime.pool.fetchrow("select * from job_version where number = 2")
    assert version is not None
    asked = await real_stack.runtime.pool.fetch(ASKED, version["job_id"], version["created_at"])
    assert {row["stage"]: row["asked"] for row in asked} == {"synthesize": 1}
    first = msgspec.json.decode((tmp_path / "segments.json").read_bytes())["segments"][0]
    until = round(first["slot_end_s"] * ASR_RATE_HZ)
    before, after = (sound(tmp_path / name, rate_hz=ASR_RATE_HZ) for name in ("first.flac", "speech.pt.flac"))
    assert len(before) == len(after)
    understood = heard(real_stack, after[:until], "pt")
    assert jiwer.wer(words(WRITTEN), words(understood)) <= 0.35
    assert "bem-vindos" not in heard(real_stack, before[:until], "pt")
