"""Pacer: one frame of every language each 20 ms, by the room's clock, for whoever listens."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from octavia_stream.audio.chunk import Samples
from octavia_stream.audio.levels import amplitude
from octavia_stream.languages import Language
from octavia_stream.live.frame import FRAME_S, FRAME_SAMPLES, Frame
from octavia_stream.live.listener import Listener
from octavia_stream.live.options import OriginalSound as Under
from octavia_stream.live.original import OriginalSound
from octavia_stream.live.phrase import SpokenLine
from octavia_stream.live.track import Started, Track, to_pcm

DUCKED_GAIN = amplitude(-18)
STALLED_S = 1.0
"""Whoever was away for longer goes on from now: nobody wants to hear it all at once."""


@dataclass(eq=False, slots=True)
class Outlet:
    """One language: its track and its listeners."""

    language: Language
    track: Track[SpokenLine]
    listeners: set[Listener] = field(default_factory=set)
    under_gain: float = 0.0


class Pacer:
    """Owns the clock of what goes out."""

    def __init__(
        self,
        outlets: list[Outlet],
        under: Under,
        original: OriginalSound,
        clock: Callable[[], float],
        started: Callable[[Outlet, Started[SpokenLine]], None],
    ) -> None:
        """started: told of every phrase when it starts to sound."""
        self._outlets = outlets
        self._under = under
        self._original = original
        self._clock = clock
        self._started = started
        self.stalls = 0

    async def run(self) -> None:
        """Until it is cancelled; a late frame is followed by the next at once."""
        began, sent = self._clock(), 0
        while True:
            ahead = began + (sent + 1) * FRAME_S - self._clock()
            if ahead > 0:
                await asyncio.sleep(ahead)
            elif ahead < -STALLED_S:
                self.stalls += 1
                began -= ahead
            self._send()
            sent += 1
            if ahead <= 0:
                await asyncio.sleep(0)

    def _send(self) -> None:
        original = None if self._under == "silent" else self._original.next_frame()
        for outlet in self._outlets:
            position, sounding = outlet.track.position, outlet.track.sounding
            samples, started = outlet.track.next_frame()
            if original is not None:
                samples = self._over(outlet, samples, original, sounding)
            if outlet.listeners:
                frame = Frame(to_pcm(samples), position)
                for listener in list(outlet.listeners):
                    listener.offer(frame)
            for phrase in started:
                self._started(outlet, phrase)

    def _over(self, outlet: Outlet, samples: Samples, original: Samples, sounding: bool) -> Samples:
        wanted = DUCKED_GAIN if sounding or self._under == "ducked" else 1.0
        # A fifth of the way each frame: down in 0.1 s, and never a step.
        gain = outlet.under_gain + (wanted - outlet.under_gain) / 5
        ramp = np.linspace(outlet.under_gain, gain, FRAME_SAMPLES, dtype=np.float32)
        outlet.under_gain = gain
        mixed: Samples = samples + original * ramp
        return mixed
