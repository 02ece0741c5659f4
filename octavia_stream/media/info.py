"""What a file holds, as far as dubbing cares."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class VideoTrack:
    """The picture. Cover art and other attached pictures do not count."""

    index: int
    """Stream index in the file."""
    codec: str
    width: int
    height: int
    frame_rate: float
    """Average frames per second; 0 when the file does not say."""


@dataclass(frozen=True, slots=True)
class AudioTrack:
    """One sound track."""

    index: int
    """Stream index in the file."""
    codec: str
    rate_hz: int
    channels: int
    layout: str
    """FFmpeg's name, such as `mono`, `stereo`, `5.1(side)`."""
    language: str | None
    """As the file says it, usually three letters; None when it does not."""
    title: str | None
    default: bool
    start_s: float
    """When the first decoded sample is presented: sample 0 of this track, on the file's timeline."""
    duration_s: float
    """What the file claims; 0 when it does not. Only decoding tells the truth."""


@dataclass(frozen=True, slots=True)
class SubtitleTrack:
    """One soft subtitle track."""

    index: int
    codec: str
    language: str | None
    title: str | None


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """A file that may be used."""

    containers: tuple[str, ...]
    """FFmpeg's names of the format, such as `("mov", "mp4", "m4a", "3gp", "3g2", "mj2")`."""
    brand: str | None
    """What FFmpeg's names leave open: the major brand of MP4 (`isom`, `qt` for MOV), the DocType of Matroska
    (`webm`, `matroska`); None elsewhere."""
    duration_s: float
    """What the file claims; 0 when it does not."""
    start_s: float
    size: int
    """Bytes."""
    video: VideoTrack | None
    audio: tuple[AudioTrack, ...]
    subtitles: tuple[SubtitleTrack, ...]
    warnings: tuple[str, ...] = ()
    """Sentences for the user about what will be left out or was damaged."""

    @property
    def default_audio(self) -> AudioTrack | None:
        """The track a player would choose: the first one marked default, else the first."""
        return next((track for track in self.audio if track.default), self.audio[0] if self.audio else None)
