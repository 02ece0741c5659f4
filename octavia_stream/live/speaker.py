"""SpeakerInput: where the sound of one speaker comes in."""

import asyncio
from collections import deque
from collections.abc import Callable

import numpy as np

from octavia_stream.audio.chunk import ASR_RATE_HZ, AudioChunk, Samples
from octavia_stream.live.events import AnyLiveEvent, SpeakerJoined, SpeakerLeft

MOST_WAITING = 10 * ASR_RATE_HZ
"""Sound that may wait to be taken, in samples at 16 kHz."""
_ARRIVALS_KEPT = 4096


class SpeakerInput:
    """Takes sound as it comes and never makes the caller wait. Positions in samples at 16 kHz; they count on over a
    resume, and over what is lost.
    """

    def __init__(
        self, speaker_id: str, clock: Callable[[], float], tell: Callable[[AnyLiveEvent], None], position: int = 0
    ) -> None:
        """tell: told of coming and going."""
        self.speaker_id = speaker_id
        self.position = position
        """Just after the last sample that came."""
        self.dropped = 0
        """Samples that came faster than they could be taken."""
        self.left: str | None = None
        """Why the speaker is gone; None while they are here."""
        self._clock = clock
        self._tell = tell
        self._blocks: deque[AudioChunk] = deque()
        self._waiting = 0
        self._news = asyncio.Event()
        self._arrivals: deque[tuple[int, float]] = deque(maxlen=_ARRIVALS_KEPT)

    def push(self, samples: Samples) -> None:
        """Take sound: mono float32 in [-1, 1], shape (n,), 16 kHz. Never waits: the oldest that waits is dropped."""
        if not samples.size:
            return
        if self.left is not None:
            self.left = None
            self._tell(SpeakerJoined(self.speaker_id))
        block = AudioChunk(np.array(samples, np.float32), ASR_RATE_HZ, self.position)
        self.position = block.end
        self._arrivals.append((block.end, self._clock()))
        self._blocks.append(block)
        self._waiting += block.length
        while self._waiting > MOST_WAITING and len(self._blocks) > 1:
            lost = self._blocks.popleft()
            self._waiting -= lost.length
            self.dropped += lost.length
        self._news.set()

    def gap(self, samples: int) -> None:
        """So many samples were lost on their way here: they are silence."""
        while samples > 0:
            self.push(np.zeros(min(samples, ASR_RATE_HZ), np.float32))
            samples -= ASR_RATE_HZ

    def leave(self, reason: str) -> None:
        """Nothing more comes for now: what was said is finished. A later push is the speaker coming back."""
        if self.left is None:
            self.left = reason
            self._tell(SpeakerLeft(self.speaker_id, reason))
            self._news.set()

    def nudge(self) -> None:
        """Wake whoever waits."""
        self._news.set()

    async def wait(self) -> None:
        """Until something came or the speaker left. For one task."""
        await self._news.wait()
        self._news.clear()

    def take(self) -> list[AudioChunk]:
        """What came since the last time, in order; where something was dropped, positions leap."""
        blocks = list(self._blocks)
        self._blocks.clear()
        self._waiting = 0
        return blocks

    def heard_at(self, position: int) -> float:
        """When the sample before a position came, by the room's clock; now, when it has not come."""
        found = self._clock()
        for end, moment in reversed(self._arrivals):
            if end < position:
                break
            found = moment
        return found
