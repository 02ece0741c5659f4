"""ChunkPlanner: where to cut a long recording for ASR. Pure and incremental.

Whisper's encoder costs the same for 5 s as for 30 s, so chunks are filled to just under that; a word cut in
two is lost twice, so cuts fall into pauses, and the longest pause near the end is the best place.
"""

from dataclasses import dataclass

from octavia_stream.audio.chunk import ASR_RATE_HZ
from octavia_stream.vad.detector import VAD_FRAME_SAMPLES, Probabilities
from octavia_stream.vad.endpointer import Endpointer, EndpointerOptions
from octavia_stream.vad.utterance import Utterance


@dataclass(frozen=True, slots=True)
class ChunkSpan:
    """A stretch to transcribe at once. Positions in samples at 16 kHz, `end` exclusive."""

    index: int
    """Counts from 0, in order of time."""
    start: int
    """Where its first utterance starts; silence between chunks belongs to none."""
    end: int
    utterances: tuple[Utterance, ...]
    """In order, disjoint, never empty."""


class ChunkPlanner:
    """Follows one stream from sample 0. Give it every frame's probability, in order, in blocks of any size."""

    def __init__(
        self,
        max_s: float = 28.0,
        min_s: float = 22.0,
        max_pause_s: float = 8.0,
        options: EndpointerOptions | None = None,
        *,
        first_share: float = 1.0,
    ) -> None:
        """max_s: no chunk is longer. min_s: pauses before this are not considered for a cut, unless there is no other.

        max_pause_s: a longer pause ends the chunk whatever its length, so that little silence is transcribed.
        first_share: the first chunk has this share of both lengths: who listens meanwhile hears something earlier.
        """
        if not 0 < min_s <= max_s or not 0 < first_share <= 1:
            raise ValueError("min_s must be above 0 and at most max_s, first_share above 0 and at most 1")
        self._first_share = first_share
        self._max = int(max_s * ASR_RATE_HZ)
        self._min = int(min_s * ASR_RATE_HZ)
        self._max_pause = int(max_pause_s * ASR_RATE_HZ)
        self._endpointer = Endpointer(options)
        self._pending: list[Utterance] = []
        self._recent: list[float] = []
        self._recent_start = 0
        self._index = 0

    @property
    def needed_from(self) -> int:
        """No later chunk starts before this position: sound before it can be forgotten."""
        return self._recent_start * VAD_FRAME_SAMPLES

    @property
    def _longest(self) -> int:
        return self._max if self._index else int(self._max * self._first_share)

    @property
    def _shortest(self) -> int:
        return self._min if self._index else int(self._min * self._first_share)

    def push(self, probabilities: Probabilities) -> list[ChunkSpan]:
        """The chunks that are now decided."""
        chunks: list[ChunkSpan] = []
        for probability in probabilities.tolist():
            self._recent.append(probability)
            if ended := self._endpointer.push_frame(probability):
                self._pending.append(ended)
            chunks += self._decide()
        self._forget()
        return chunks

    def finish(self) -> list[ChunkSpan]:
        """The stream ends here: the chunks that are left."""
        if ended := self._endpointer.finish():
            self._pending.append(ended)
        chunks = self._decide()
        if self._pending:
            chunks.append(self._take(len(self._pending)))
        return chunks

    def _decide(self) -> list[ChunkSpan]:
        chunks: list[ChunkSpan] = []
        while chunk := self._next():
            chunks.append(chunk)
        return chunks

    def _next(self) -> ChunkSpan | None:
        going_on = self._endpointer.open
        speech = [*self._pending, going_on] if going_on else self._pending
        if not speech:
            return None
        if speech[-1].end - speech[0].start > self._longest:
            return self._cut(speech)
        if not going_on and self._endpointer.position - speech[-1].end >= self._max_pause:
            return self._take(len(speech))
        return None

    def _cut(self, speech: list[Utterance]) -> ChunkSpan:
        """Cut in the longest pause that is late enough, else in the last one, else where speech is least likely."""
        start = speech[0].start
        fitting = [i for i in range(1, len(speech)) if speech[i - 1].end - start <= self._longest]
        if not fitting:
            return self._force(speech[0])
        late = [i for i in fitting if speech[i - 1].end - start >= self._shortest]
        if not late:
            return self._take(fitting[-1])
        return self._take(max(late, key=lambda i: (speech[i].start - speech[i - 1].end, i)))

    def _force(self, utterance: Utterance) -> ChunkSpan:
        """Split an utterance that alone is too long."""
        first = -(-(utterance.start + self._shortest) // VAD_FRAME_SAMPLES)
        last = (utterance.start + self._longest) // VAD_FRAME_SAMPLES
        # The centre of a frame is the cut, so that the frame that holds the limit is still out of reach.
        frames = range(min(first, last - 1), last)
        quietest = min(frames, key=lambda frame: (self._recent[frame - self._recent_start], -frame))
        position = quietest * VAD_FRAME_SAMPLES + VAD_FRAME_SAMPLES // 2
        if self._pending:
            self._pending[:1] = [Utterance(utterance.start, position), Utterance(position, utterance.end)]
        else:
            self._pending.append(self._endpointer.cut(position))
        return self._take(1)

    def _take(self, count: int) -> ChunkSpan:
        taken, self._pending = tuple(self._pending[:count]), self._pending[count:]
        chunk = ChunkSpan(self._index, taken[0].start, taken[-1].end, taken)
        self._index += 1
        return chunk

    def _forget(self) -> None:
        """Drop probabilities that no cut can need any more."""
        going_on = self._endpointer.open
        needed = self._endpointer.position - 2 * self._max
        if self._pending:
            needed = self._pending[0].start
        elif going_on:
            needed = going_on.start
        frames = max(0, needed // VAD_FRAME_SAMPLES - self._recent_start)
        self._recent_start += frames
        del self._recent[:frames]
