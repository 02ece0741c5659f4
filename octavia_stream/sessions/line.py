"""Line: through what one speaker is heard just now, a WebRTC connection or a WebSocket."""

import asyncio
from collections.abc import Callable

from octavia_stream.audio.chunk import Samples
from octavia_stream.sessions.ports import Speaker
from octavia_stream.webrtc.peer import Peer

FIRST_SOUND_S = 15.0
"""A connection on which nothing has come after this is given up, and its sockets with it."""
LOST_AFTER_S = 3.0
"""A WebRTC connection on which nothing comes for so long is lost: packets come even when nobody speaks."""
SOCKET_LOST_AFTER_S = 30.0
"""A WebSocket may stay silent longer; whether the other end is there, TCP tells."""

Record = Callable[[str, int, Samples], None]
"""`Recorder.push`."""


class Line:
    """One speaker's way in. A later one for the same speaker takes its place."""

    def __init__(self, speaker_id: str, speaker: Speaker, record: Record | None, peer: Peer | None = None) -> None:
        """peer: None is a WebSocket."""
        self.speaker_id = speaker_id
        self.peer = peer
        self.closed = False
        self._speaker = speaker
        self._record = record
        self._clock = asyncio.get_running_loop().time
        self._opened_at = self._clock()
        self._heard_at: float | None = None

    def push(self, samples: Samples) -> None:
        """Take sound: mono float32 at 16 kHz. Never blocks."""
        if self.closed or not samples.size:
            return
        self._heard_at = self._clock()
        if self._record is not None:
            self._record(self.speaker_id, self._speaker.position, samples)
        self._speaker.push(samples)

    @property
    def speaking(self) -> bool:
        """Whether anything came on it yet."""
        return self._heard_at is not None

    def lost(self) -> str | None:
        """Why it should be given up; None while it is well."""
        if self.peer is not None and self.peer.state in ("failed", "closed"):
            return "disconnected"
        now = self._clock()
        if self._heard_at is None:
            return "no_sound" if now - self._opened_at > FIRST_SOUND_S else None
        # Of a connection it counts that packets come, whatever the jitter buffer waits for.
        heard_at = max(self._heard_at, (self.peer and self.peer.heard_at) or 0.0)
        patience = SOCKET_LOST_AFTER_S if self.peer is None else LOST_AFTER_S
        return "lost" if now - heard_at > patience else None

    def close(self, reason: str | None) -> None:
        """Nothing more comes on it. reason: None when another line has taken its place. May be called twice."""
        if self.closed:
            return
        self.closed = True
        if reason is not None and self.speaking:
            self._speaker.leave(reason)
