"""Every broken file of the test data has an outcome: a sentence, or what can be saved of it."""

from pathlib import Path

import pytest

from octavia_stream.config import MediaSettings
from octavia_stream.errors import MediaRejected
from octavia_stream.media.demuxer import DecodeReport, decode_audio
from octavia_stream.media.probe import probe, require_audio

MALFORMED = Path(__file__).parent.parent / "data" / "malformed"
REFUSED = {
    "bad.wav": "not a media file",
    "chapters_truncated_chapter_string.mkv": "not a media file",
    "faulty_03_wrong_bit_depth.flac": "neither sound nor picture",
    "faulty_06_missing_streaminfo_metadata_block.flac": "not a media file",
    "fuzz_1df9507cc2.webm": "not a media file",
    "invalid_header.ogg": "not a media file",
    "missing_wav_header.wav": "not a media file",
    "null.wav": "neither sound nor picture",
    "sample_malformed_free_box.mp4": "not a media file",
}
SILENT = ("block_ends_beyond_cluster.mkv", "invalid-bitstream.webm", "sample_missing_stsd.mp4")
DAMAGED = ("100kB-garbage-prefix.mp3",)


def test_every_file_has_an_outcome() -> None:
    assert {path.name for path in MALFORMED.iterdir()} == {*REFUSED, *SILENT, *DAMAGED}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_cannot_be_read_is_refused_in_a_sentence(name: str, settings: MediaSettings) -> None:
    with pytest.raises(MediaRejected, match=REFUSED[name]) as refusal:
        await probe(MALFORMED / name, settings)
    assert str(MALFORMED) not in str(refusal.value)


@pytest.mark.parametrize("name", SILENT)
async def test_a_picture_whose_sound_is_lost_has_nothing_to_translate(name: str, settings: MediaSettings) -> None:
    info = await probe(MALFORMED / name, settings)
    assert info.video
    with pytest.raises(MediaRejected, match="no sound"):
        require_audio(info)


async def test_sound_behind_garbage_is_decoded_with_a_count_of_errors(settings: MediaSettings) -> None:
    path = MALFORMED / "100kB-garbage-prefix.mp3"
    info = await probe(path, settings)
    report = DecodeReport()
    track = require_audio(info)[0]
    chunks = decode_audio(path, track, rate_hz=16_000, channels=1, settings=settings, report=report)
    length = sum([chunk.length async for chunk in chunks])
    # The sound is about a second; the header counts the garbage too.
    assert 0.9 < length / 16_000 < 1.2
    assert report.errors >= 1
