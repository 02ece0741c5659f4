"""Opening a user's file: only known formats, only this file."""

from typing import TYPE_CHECKING

import av
import av.error
import av.logging

from octavia_stream.errors import MediaRejected

if TYPE_CHECKING:
    from av.container import InputContainer

FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mp3,wav,w64,flac,ogg,aac,mpegts,avi"
"""FFmpeg's demuxers that may run. Playlists (hls, dash, concat, sdp) are not among them: their content names
other files, whatever the upload is called, and FFmpeg would read those."""
PROTOCOLS = "file"
MEDIA_ERRORS = (av.error.FFmpegError, ValueError)
"""What PyAV raises when a file is not what it claims."""
UNREADABLE = "This is not a media file that can be read."


def open_media(path: str, extra: dict[str, str] | None = None) -> "InputContainer":
    """Open for reading. extra: options of the demuxer. Raises MediaRejected when no known format fits."""
    av.logging.set_level(None)
    options = {"protocol_whitelist": PROTOCOLS, "format_whitelist": FORMATS, **(extra or {})}
    try:
        container = av.open(f"file:{path}", options=options, metadata_errors="replace")
    except (MemoryError, OSError):
        raise
    except MEDIA_ERRORS as error:
        raise MediaRejected(UNREADABLE) from error
    return container
