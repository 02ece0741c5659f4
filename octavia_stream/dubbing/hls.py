"""Playlists of HTTP Live Streaming, RFC 8216: event playlists, which only grow until they end."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from octavia_stream.captions.cues import Cue, write_vtt
from octavia_stream.languages import Language
from octavia_stream.media.segments import LONGEST_S

MASTER = "index.m3u8"
SOUND_CODEC = "mp4a.40.2"
_SOUND_BITS_S = 160_000
_HEAD = "#EXTM3U\n#EXT-X-VERSION:7\n"
# Players join a list without an end near its newest segment; this one is watched from its beginning. Not in the
# master playlist, where the tag may stand too, for FFmpeg then takes that for a list of segments.
_FROM_THE_START = "#EXT-X-START:TIME-OFFSET=0,PRECISE=YES\n"


class MediaPlaylist:
    """The segments of one rendition so far."""

    def __init__(self, name: str, suffix: str, head: str | None = None) -> None:
        """suffix: of its segments. head: the file that players read before the first segment."""
        self.name = name
        self._suffix = suffix
        self._head = head
        self._durations: list[float] = []
        # It is written again with every segment, of which hours have thousands.
        self._lines: list[str] = []

    @property
    def file(self) -> str:
        return f"{self.name}.m3u8"

    @property
    def length_s(self) -> float:
        """What its segments add up to."""
        return math.fsum(self._durations)

    def __len__(self) -> int:
        return len(self._durations)

    def append(self, duration_s: float) -> str:
        """One more segment; returns the name of its file."""
        self._durations.append(duration_s)
        segment = f"{self.name}-{len(self._durations):05}.{self._suffix}"
        self._lines += [f"#EXTINF:{duration_s:.6f},", segment]
        return segment

    def text(self, *, ended: bool = False) -> str:
        """As it stands."""
        lines = [
            f"#EXT-X-TARGETDURATION:{math.ceil(LONGEST_S)}",
            "#EXT-X-MEDIA-SEQUENCE:1",
            "#EXT-X-PLAYLIST-TYPE:EVENT",
        ]
        if self._head is not None:
            lines.append(f'#EXT-X-MAP:URI="{self._head}"')
        lines += self._lines
        if ended:
            lines.append("#EXT-X-ENDLIST")
        return _HEAD + _FROM_THE_START + "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class Choice:
    """A rendition that a viewer may choose."""

    file: str
    language: Language
    name: str


@dataclass(frozen=True, slots=True)
class PictureFacts:
    """What the master playlist says of the picture."""

    file: str
    width: int
    height: int
    bits_s: int
    """Of picture and sound together; a guess will do."""
    codec: str | None


def master_playlist(
    sounds: Sequence[Choice], subtitles: Sequence[Choice], picture: PictureFacts | None, *, channels: int, base: str
) -> str:
    """The list of lists. The first sound is the default. base: where the lists lie, relative to this one."""
    lines = []
    for index, sound in enumerate(sounds):
        default = "YES" if index == 0 else "NO"
        # Without a picture the first sound is the variant itself.
        uri = f',URI="{base}{sound.file}"' if picture is not None or index > 0 else ""
        lines.append(
            f'#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="sound",LANGUAGE="{sound.language}",NAME="{sound.name}",'
            f'DEFAULT={default},AUTOSELECT={default},CHANNELS="{channels}"{uri}'
        )
    lines += [
        f'#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="text",LANGUAGE="{choice.language}",NAME="{choice.name}",'
        f'DEFAULT=NO,AUTOSELECT=YES,URI="{base}{choice.file}"'
        for choice in subtitles
    ]
    groups = 'AUDIO="sound",SUBTITLES="text"'
    if picture is None:
        lines.append(f'#EXT-X-STREAM-INF:BANDWIDTH={_SOUND_BITS_S},CODECS="{SOUND_CODEC}",{groups}')
        lines.append(base + sounds[0].file)
    else:
        codecs = f'CODECS="{picture.codec},{SOUND_CODEC}",' if picture.codec else ""
        size = f"RESOLUTION={picture.width}x{picture.height}"
        lines.append(f"#EXT-X-STREAM-INF:BANDWIDTH={max(picture.bits_s, _SOUND_BITS_S)},{codecs}{size},{groups}")
        lines.append(base + picture.file)
    return _HEAD + "\n".join(lines) + "\n"


def subtitle_segment(cues: Sequence[Cue]) -> str:
    """Cues as one segment. Their times are those of the stream, which begins at zero."""
    return write_vtt(cues).replace("WEBVTT\n", "WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000\n", 1)
