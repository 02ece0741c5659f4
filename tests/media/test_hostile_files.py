"""Files that name other files read none of them, whatever they are called."""

import ctypes
import subprocess
import sys
from pathlib import Path

import av
import pytest

from octavia_stream.config import MediaSettings
from octavia_stream.errors import MediaRejected
from octavia_stream.media.child import landlock
from octavia_stream.media.probe import probe
from tests.media.studio import MakeMedia, Picture, Sound

PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:2.0,\nfile://{secret}\n#EXT-X-ENDLIST\n",
    "hls of a relative file": "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2.0,\n{name}\n#EXT-X-ENDLIST\n",
    "hls master": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1000\nfile://{secret}\n",
    "ffconcat": "ffconcat version 1.0\nfile {name}\n",
    "concat without a header": "file '{name}'\n",
    "dash": (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT2S"><Period><AdaptationSet mimeType="video/mp2t"><Representation id="1" bandwidth="1"><BaseURL>file://{secret}'
        "</BaseURL></Representation></AdaptationSet></Period></MPD>"
    ),
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
    "asx": '<asx version="3.0"><entry><ref href="file://{secret}"/></entry></asx>',
    "smooth streaming": '<SmoothStreamingMedia MajorVersion="2" MinorVersion="0" Duration="1"/>',
    "quicktime text reference": "RTSPtext\nfile://{secret}\n",
    "ffmetadata": ";FFMETADATA1\ntitle=x\n",
    "lavfi": "movie={name}\n",
}


@pytest.mark.parametrize("kind", PLAYLISTS)
async def test_a_playlist_is_refused_under_any_name(
    kind: str, make_media: MakeMedia, tmp_path: Path, settings: MediaSettings
) -> None:
    secret = make_media("secret.ts", Sound("mp2", rate_hz=48_000, seconds=0.5), format="mpegts")
    for name in ("upload.mp4", "upload.m3u8", "upload"):
        hostile = tmp_path / name
        hostile.write_text(PLAYLISTS[kind].format(secret=secret, name=secret.name))
        with pytest.raises(MediaRejected, match="not a media file"):
            await probe(hostile, settings)


def test_without_the_allowlist_such_a_file_does_read_another(make_media: MakeMedia, tmp_path: Path) -> None:
    """The danger is real: else the test above would prove nothing."""
    secret = make_media("secret.ts", Sound("mp2", rate_hz=48_000, seconds=0.5), format="mpegts")
    hostile = tmp_path / "upload.mp4"
    hostile.write_text(PLAYLISTS["ffconcat"].format(secret=secret, name=secret.name))
    with av.open(str(hostile)) as container:
        assert container.streams.audio


@pytest.mark.skipif(not landlock.abi_version(ctypes.CDLL(None, use_errno=True)), reason="this kernel has no Landlock")
def test_landlock_keeps_even_an_unguarded_open_from_the_other_file(make_media: MakeMedia, tmp_path: Path) -> None:
    """The second line: had the allowlist a hole, the kernel would still refuse."""
    secret = make_media("secret.ts", Sound("mp2", rate_hz=48_000, seconds=0.5), format="mpegts")
    hostile = tmp_path / "upload.mp4"
    hostile.write_text(PLAYLISTS["ffconcat"].format(secret=secret, name=secret.name))
    program = (
        "import os, sys, av\n"
        "from octavia_stream.media import wire\n"
        "from octavia_stream.media.child import confinement, probing\n"
        "probing.warm_up()\n"
        "limits = wire.Limits(1 << 31, 60, 0, 3600, 64, 8192, 8192)\n"
        "source = sys.argv[1].encode()\n"
        "request = wire.Request(wire.ConfineRequest(), limits, False, False, os.getppid(), source)\n"
        "confinement.confine(request)\n"
        "try: container = av.open(sys.argv[1])\n"
        "except Exception as error: os.write(1, type(error).__name__.encode())\n"
        "else: os.write(1, b'opened')\n"
        "os._exit(0)\n"
    )
    command = [sys.executable, "-c", program, str(hostile)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout in {"PermissionError", "FileNotFoundError"}, done.stderr


async def test_a_name_that_looks_like_a_protocol_is_only_a_name(make_media: MakeMedia, settings: MediaSettings) -> None:
    path = make_media("concat:a|b %03d.mkv", Picture(seconds=0.2), Sound(seconds=0.2), format="matroska")
    assert (await probe(path, settings)).video
