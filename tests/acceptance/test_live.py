"""A talk is spoken as if live, by real models over real WebRTC, and what comes back is what was translated."""

import re
from pathlib import Path

import jiwer
import msgspec
import pytest

from octavia_stream.audio.chunk import ASR_RATE_HZ
from octavia_stream.cli.client import local_credentials
from octavia_stream.cli.live import LiveOrder, live
from tests.acceptance.conftest import DATA, Running
from tests.acceptance.test_dub import heard, sound, words

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.ray,
    pytest.mark.services,
    pytest.mark.model,
    pytest.mark.timeout(400),
]

TALK = DATA / "speech" / "en" / "jfk.flac"


async def test_what_is_heard_is_what_was_translated_and_the_recording_can_be_dubbed(
    real_stack: Running, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # On a busy machine it falls behind; here it is the words that count.
    order = LiveOrder(TALK, ("pt",), "en", tmp_path, record=True, max_lag_s=30)
    account = local_credentials(real_stack.home)
    assert await live(order, real_stack.url, account, real_stack.stack.settings) == 0

    said, translated = (_captions(tmp_path / f"jfk.{name}.live.vtt") for name in ("en.source", "pt"))
    assert jiwer.wer(words(TALK.with_suffix(".txt").read_text()), words(said)) < 0.3
    understood = heard(real_stack, sound(tmp_path / "jfk.pt.live.wav", rate_hz=ASR_RATE_HZ), "pt")
    assert jiwer.wer(words(translated), words(understood)) < 0.4
    assert re.search(r"Heard in Portuguese: \d+ phrases", " ".join(capsys.readouterr().out.split()))

    [session] = [one for one in await real_stack.runtime.live.list_sessions(None, 20) if one.options.record]
    upload = await real_stack.client.recording(str(session.id))
    assert upload["duration_s"] >= 11
    job = await real_stack.client.create_job({"upload_id": upload["id"], "target_language": "pt"}, "audio-translate")
    last = [record.event async for record in real_stack.client.events(job)][-1]
    assert msgspec.to_builtins(last)["type"] == "completed"


def _captions(path: Path) -> str:
    """The text of a WebVTT file without its times."""
    blocks = path.read_text().split("\n\n")[1:]
    return " ".join(" ".join(block.strip().split("\n")[1:]) for block in blocks)
