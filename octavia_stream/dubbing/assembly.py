"""The last stage: original and speech into one track, beside the untouched picture."""

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from octavia_stream.audio.chunk import ASR_RATE_HZ
from octavia_stream.audio.resampling import resample
from octavia_stream.captions.cues import Cue
from octavia_stream.config import MediaSettings
from octavia_stream.dubbing.audition import Audition
from octavia_stream.dubbing.levelling import speech_gain, usual_loudness
from octavia_stream.dubbing.loudness import LoudnessContour
from octavia_stream.dubbing.mixing import Clip, Ducking, mix
from octavia_stream.dubbing.progress import Finished
from octavia_stream.dubbing.speaking import FittedSegment
from octavia_stream.dubbing.speech_spool import SpeechSpool
from octavia_stream.errors import MediaRejected
from octavia_stream.languages import Language, language_name
from octavia_stream.media.demuxer import DecodeReport, Demuxer
from octavia_stream.media.info import AudioTrack
from octavia_stream.media.muxer import SPLICED, VIDEO_CONTAINERS, Muxer, MuxPlan, MuxResult, Splice, SubtitleTrack

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AssemblyPlan:
    """What is put together, and into what."""

    source: Path
    """Picture and original sound come from here."""
    track: AudioTrack
    decoded: DecodeReport
    """How the track's sound was read before."""
    output: Path
    container: str
    source_language: Language
    target_language: Language
    media: MediaSettings
    original_gain_db: float | None
    """None: the original is not heard at all."""
    keep_original_track: bool


@dataclass(frozen=True, slots=True)
class Revision:
    """A file that was put together before by such a plan, and the only part that sounds differently now."""

    earlier: Path
    start: int
    """In samples at 16 kHz, as `end`."""
    end: int


def mixed_channels(track: AudioTrack) -> int:
    """How many channels the mix of a track has."""
    return min(track.channels, 2)


class Assembly:
    """Lays fitted speech over the original and writes the file. Use once."""

    def __init__(
        self,
        plan: AssemblyPlan,
        fitted: Sequence[FittedSegment],
        spool: SpeechSpool,
        contour: LoudnessContour,
        progress: Finished,
        audition: Audition | None = None,
        revision: Revision | None = None,
    ) -> None:
        """
        contour: of the original, in samples at 16 kHz. audition: listens to the mix, or to what is mixed of it anew.
        revision: what need not be made again, where the container allows.
        """
        self._plan = plan
        self._fitted = fitted
        self._spool = spool
        self._contour = contour
        self._progress = progress
        self._audition = audition
        self._revision = revision if plan.container in SPLICED else None
        self._rate_hz = plan.track.rate_hz
        self._channels = mixed_channels(plan.track)

    async def run(self, heard: Mapping[Language, Sequence[Cue]], cues: Sequence[Cue]) -> MuxResult:
        """Write the file, with soft subtitles beside a picture. Raises what `Demuxer` and `Muxer` raise.

        heard: what the original says. cues: what the dub says.
        """
        mux_plan = self._mux_plan(heard, cues)
        if self._revision is None:
            return await self._write(mux_plan, None)
        splice = self._splice(self._revision)
        try:
            return await self._write(
                replace(mux_plan, splice=splice), splice.sent(self._plan.decoded.source_length, self._rate_hz)
            )
        except MediaRejected as error:
            # What is wrong with the source itself is told by the second attempt.
            logger.info("the whole sound is made again: %s", error)
            return await self._write(mux_plan, None)

    def _splice(self, revision: Revision) -> Splice:
        return Splice(revision.earlier, self._at_rate(revision.start), self._at_rate(revision.end))

    async def _write(self, mux_plan: MuxPlan, part: tuple[int, int] | None) -> MuxResult:
        """part: all that is mixed, in samples of the mix; None: everything."""
        plan, rate_hz = self._plan, self._rate_hz
        original = Demuxer(
            plan.source, plan.track, rate_hz=rate_hz, channels=self._channels, settings=plan.media, part=part
        )
        written = part[0] if part else 0
        async with original, Muxer(plan.source, plan.output, mux_plan, plan.media) as muxer:
            async for block in mix(original, self._clips(part), self._ducking()):
                await muxer.write(block)
                if self._audition is not None:
                    await asyncio.to_thread(self._audition.push, block, written)
                    self._audition.listen()
                written += len(block)
                self._progress.finished("assemble", 0, round(written * ASR_RATE_HZ / rate_hz))
            return await muxer.close()

    def _mux_plan(self, heard: Mapping[Language, Sequence[Cue]], cues: Sequence[Cue]) -> MuxPlan:
        plan = self._plan
        target, source = language_name(plan.target_language), language_name(plan.source_language)
        subtitles = [SubtitleTrack(plan.target_language, target, cues)]
        subtitles += [
            SubtitleTrack(language, language_name(language), said) for language, said in heard.items() if said
        ]
        return MuxPlan(
            container=plan.container,
            rate_hz=self._rate_hz,
            channels=self._channels,
            language=plan.target_language,
            title=f"{target} (dubbed)",
            source_track=plan.track,
            keep_original=plan.keep_original_track,
            original_title=f"{source} (original)",
            length=plan.decoded.source_length,
            subtitles=tuple(subtitles) if plan.container in VIDEO_CONTAINERS else (),
        )

    def _at_rate(self, position: int) -> int:
        return round(position * self._rate_hz / ASR_RATE_HZ)

    def _ducking(self) -> Ducking:
        gain_db = self._plan.original_gain_db
        if gain_db is None:
            kept = [item.segment.sentence for item in self._fitted if item.segment.kept_original]
            return Ducking.silent([(self._at_rate(one.start), self._at_rate(one.end)) for one in kept], self._rate_hz)
        spans = [
            (self._at_rate(span[0]), self._at_rate(span[1]))
            for item in self._fitted
            for span in item.segment.spoken_over
        ]
        return Ducking(spans, gain_db, self._rate_hz)

    def _clips(self, part: tuple[int, int] | None) -> Iterator[Clip]:
        """Those that sound in a part."""
        usual = usual_loudness(self._contour, [item.segment.sentence for item in self._fitted])
        for item in self._fitted:
            placement = item.segment.placement
            if part and not (self._at_rate(placement.start) < part[1] and self._at_rate(placement.end) >= part[0]):
                continue
            speech = resample(self._spool.read(item.speech), self._rate_hz)
            if speech.length:
                gain = speech_gain(self._contour, item.segment.sentence, speech, usual)
                yield Clip(self._at_rate(item.segment.placement.start), speech.samples * gain)
