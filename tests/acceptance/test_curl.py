"""The documentation's own commands: every kind of job from upload to download, as the page has them."""

import asyncio
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import jiwer
import msgspec
import pytest

from octavia_stream.audio.chunk import ASR_RATE_HZ
from octavia_stream.captions.subtitle_file import read_subtitles
from tests.acceptance.conftest import DATA, Running
from tests.acceptance.test_dub import heard, picture, sound, words

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.ray,
    pytest.mark.services,
    pytest.mark.model,
    pytest.mark.timeout(400),
    pytest.mark.skipif(shutil.which("curl") is None or shutil.which("jq") is None, reason="needs curl and jq"),
]

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "jobs-by-curl.md"
TALK = DATA / "video" / "friday.mp4"
INTERVIEW = DATA / "speech" / "es" / "fleurs-es-003.ogg"
SRT = "1\n00:00:00,500 --> 00:00:03,000\nThis blade has a dark past.\n"
ASKED_OF_RECOGNITION = "select job_id, sum(attempts) as asked from chunk where stage = 'transcribe' group by job_id"


@dataclass(frozen=True)
class Followed:
    """What somebody has who followed the page."""

    folder: Path
    printed: str
    jobs: dict[str, UUID]

    @property
    def files(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()}


@pytest.fixture(scope="module")
async def followed(real_stack: Running, tmp_path_factory: pytest.TempPathFactory) -> Followed:
    folder = tmp_path_factory.mktemp("page")
    shutil.copy(TALK, folder / "talk.mp4")
    shutil.copy(INTERVIEW, folder / "interview.ogg")
    (folder / "film.en.srt").write_text(SRT)
    commands = "\n".join(re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL))
    told = '\nTOLD=$(api "$SERVER/api/v1/jobs") && printf \'%s\' "$TOLD" > jobs.json\n'
    process = await asyncio.create_subprocess_exec(
        *("bash", "-euo", "pipefail", "-c", commands + told),
        cwd=folder,
        env=os.environ | {"SERVER": real_stack.url},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(300):
        printed, _ = await process.communicate()
    assert process.returncode == 0, printed.decode()
    listed = msgspec.json.decode((folder / "jobs.json").read_bytes())["jobs"]
    return Followed(folder, printed.decode(), {job["kind"]: UUID(job["id"]) for job in listed})


async def test_every_kind_of_job_leaves_what_the_page_says(followed: Followed) -> None:
    assert {
        *("talk.pt.mp4", "talk.pt.srt", "talk.en.vtt", "talk.pt.vtt"),
        *("interview.en.ogg", "interview.pt.ogg"),
        *("film.pt.srt", "film.pt.wav"),
    } <= followed.files
    assert followed.printed.count("true\n") == 5
    # The last one was deleted.
    assert followed.jobs.keys() == {"video-translate", "audio-translate", "subtitle-generate", "subtitle-translate"}
    assert picture(followed.folder / "talk.pt.mp4") == picture(TALK)
    translated = read_subtitles((followed.folder / "film.pt.srt").read_bytes())
    assert "lâmina" in translated.document
    assert [(cue.start_ms, cue.end_ms) for cue in translated.cues] == [(500, 3000)]
    assert len(sound(followed.folder / "film.pt.wav")) == 3 * 24_000


async def test_a_spanish_source_is_heard_once_and_spoken_in_english_and_portuguese(
    real_stack: Running, followed: Followed
) -> None:
    job_id = followed.jobs["audio-translate"]
    asked = {row["job_id"]: row["asked"] for row in await real_stack.runtime.pool.fetch(ASKED_OF_RECOGNITION)}
    assert asked[job_id] == 1
    for language in ("en", "pt"):
        file = followed.folder / f"interview.{language}.ogg"
        assert len(sound(file)) == len(sound(INTERVIEW))
        row = await real_stack.runtime.pool.fetchrow(
            "select one ->> 'key' as key from job, jsonb_array_elements(artifacts) one"
            " where id = $1 and one ->> 'name' = $2",
            job_id,
            f"{language}.srt",
        )
        assert row is not None
        subtitles = read_subtitles(await real_stack.runtime.objects.get(row["key"]))
        said = " ".join(passage.text for cue in subtitles.cues for passage in cue.passages)
        understood = heard(real_stack, sound(file, rate_hz=ASR_RATE_HZ), language)
        assert jiwer.wer(words(said), words(understood)) <= 0.35
