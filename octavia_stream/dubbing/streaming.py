"""What is dubbed already, as a stream that is watched while the rest is made. Beside the corridor, never in its way."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import structlog

from octavia_stream.audio.chunk import ASR_RATE_HZ, AudioChunk
from octavia_stream.audio.resampling import resample
from octavia_stream.captions.cues import GAP_S, Cue, SpokenText, make_cues
from octavia_stream.config import MediaSettings
from octavia_stream.dubbing.hls import (
    Choice,
    MediaPlaylist,
    PictureFacts,
    master_playlist,
    subtitle_segment,
)
from octavia_stream.dubbing.levelling import UsualLoudness, speech_gain
from octavia_stream.dubbing.loudness import LoudnessContour
from octavia_stream.dubbing.mixing import Clip, Ducking, mix_block
from octavia_stream.dubbing.progress import Emit
from octavia_stream.dubbing.speaking import FittedSegment
from octavia_stream.dubbing.speech_spool import SpeechSpool
from octavia_stream.events.event import StreamReady, Warned
from octavia_stream.languages import Language, language_name
from octavia_stream.media.demuxer import Demuxer
from octavia_stream.media.info import AudioTrack, MediaInfo
from octavia_stream.media.segmenter import Piece, Rendition, Segmenter, streamable_picture
from octavia_stream.media.segments import codec_of

log = structlog.get_logger()

REMEMBERED_S = 5.0
"""What ended this long ago no longer has a say in how loud the original is."""


class StreamStore(Protocol):
    """Where a stream lies."""

    @property
    def base(self) -> str:
        """Of the files, relative to the master playlist: empty, or with a slash at its end."""
        ...

    async def put(self, name: str, content: bytes) -> None:
        """Write or replace a file."""
        ...

    async def announce(self, master: str) -> None:
        """Everything that the master playlist names is there: from now on the stream is found."""
        ...


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """What is streamed."""

    source: Path
    info: MediaInfo
    track: AudioTrack
    picture: bool
    """Whether the picture is wanted, where players take it as it is."""
    target_language: Language
    media: MediaSettings
    original_gain_db: float | None
    """None: the original is not heard at all."""
    transcode: bool = False
    """Whether a picture that players do not take is encoded anew for them; else it is left out."""


class FinalTimeline:
    """What is fitted, and up to where nothing will change any more. Positions in samples at 16 kHz."""

    def __init__(self) -> None:
        self.fitted: list[FittedSegment] = []
        self.until = 0
        """Where the first sentence starts that is not fitted yet."""
        self.ended = False
        self._news = asyncio.Event()

    def add(self, item: FittedSegment) -> None:
        """Take the next segment, and return at once."""
        self.fitted.append(item)
        # A slot ends where the next sentence starts.
        self.until = max(self.until, item.segment.slot.end)
        self._news.set()

    def end(self) -> None:
        """No segment comes after those there are."""
        self.ended = True
        self._news.set()

    async def reach(self, position: int) -> None:
        """Wait until everything before a position is final. For one task."""
        while not self.ended and self.until < position:
            self._news.clear()
            await self._news.wait()


@asynccontextmanager
async def streaming(
    plan: StreamPlan,
    spool: SpeechSpool,
    contour: LoudnessContour,
    language: Callable[[], Language | None],
    store: StreamStore | None,
    emit: Emit,
) -> AsyncIterator[FinalTimeline]:
    """Stream beside the block, which adds to the timeline and ends it; leaving the block waits for the last segment.

    language: what is spoken, asked when the first segment is there. store: None streams nothing.
    Whatever goes wrong here is told as a warning.
    """
    timeline = FinalTimeline()
    if store is None:
        yield timeline
        return
    stream = _Stream(plan, timeline, spool, contour, language, store, emit)
    task = asyncio.create_task(_unharmed(stream, emit), name="stream")
    try:
        yield timeline
        timeline.end()
        await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _unharmed(stream: "_Stream", emit: Emit) -> None:
    try:
        await stream.run()
    except Exception:
        log.warning("stream_broke_off", exc_info=True)
        emit(Warned("stream", "The stream to watch meanwhile broke off; the job itself goes on."))


class _Stream:
    """Mixes, cuts and stores. Use once."""

    def __init__(
        self,
        plan: StreamPlan,
        timeline: FinalTimeline,
        spool: SpeechSpool,
        contour: LoudnessContour,
        language: Callable[[], Language | None],
        store: StreamStore,
        emit: Emit,
    ) -> None:
        self._plan = plan
        self._timeline = timeline
        self._language = language
        self._store = store
        self._emit = emit
        self._channels = min(plan.track.channels, 2)
        self._mixer = _GrowingMix(plan, timeline, spool, contour)
        self._lists: dict[Rendition, MediaPlaylist] = {
            name: MediaPlaylist(name, "m4s", f"{name}-init.mp4") for name in ("picture", "dub", "original")
        }
        self._captions = _GrowingCaptions(timeline)
        self._picture_codec: str | None = None
        self._has_picture = False
        self._lead_s = 0.0
        self._ready = False

    async def run(self) -> None:
        """Until everything is streamed. Raises what decoding, cutting or storing raise."""
        plan = self._plan
        copied = streamable_picture(plan.info)
        cut = Segmenter(
            plan.source,
            plan.track,
            channels=self._channels,
            picture=plan.picture and (copied or plan.transcode),
            settings=plan.media,
            encode=not copied,
        )
        rate_hz = plan.track.rate_hz
        sound = Demuxer(plan.source, plan.track, rate_hz=rate_hz, channels=self._channels, settings=plan.media)
        # Both processes start while the first sentence is still on its way.
        async with cut, sound:
            await self._timeline.reach(1)
            if not self._timeline.fitted:
                return
            async with asyncio.TaskGroup() as group:
                group.create_task(self._mixer.feed(sound, cut))
                async for piece in cut.pieces():
                    await self._keep(piece)
        for playlist in self._playlists():
            await self._store.put(playlist.file, playlist.text(ended=True).encode())
        await self._announce_when_ready(ended=True)

    async def _keep(self, piece: Piece) -> None:
        playlist = self._lists[piece.rendition]
        if piece.head:
            await self._store.put(f"{playlist.name}-init.mp4", piece.content)
            if piece.rendition == "picture":
                self._has_picture, self._picture_codec = True, codec_of(piece.content)
            else:
                self._lead_s = piece.lead_s
            return
        from_s = playlist.length_s
        await self._store.put(playlist.append(piece.duration_s), piece.content)
        await self._store.put(playlist.file, playlist.text().encode())
        if piece.rendition == "dub":
            await self._keep_captions(from_s, playlist.length_s, piece.duration_s)
        await self._announce_when_ready()

    async def _keep_captions(self, from_s: float, to_s: float, duration_s: float) -> None:
        for playlist, cues in self._captions.between(from_s, to_s, self._lead_s):
            await self._store.put(playlist.append(duration_s), subtitle_segment(cues).encode())
            await self._store.put(playlist.file, playlist.text().encode())

    def _playlists(self) -> list[MediaPlaylist]:
        sounds = [self._lists["dub"], self._lists["original"], *self._captions.playlists]
        return [self._lists["picture"], *sounds] if self._has_picture else sounds

    async def _announce_when_ready(self, *, ended: bool = False) -> None:
        """A picture whose first segment is long may come after the sound's."""
        if self._ready or not (ended or all(len(playlist) for playlist in self._playlists())):
            return
        self._ready = True
        await self._store.announce(self._master())
        self._emit(StreamReady(picture=self._has_picture))

    def _master(self) -> str:
        plan = self._plan
        target, source = plan.target_language, self._language() or plan.target_language
        to, of = language_name(target), language_name(source)
        captions = self._captions
        return master_playlist(
            [Choice("dub.m3u8", target, f"{to} (dubbed)"), Choice("original.m3u8", source, f"{of} (original)")],
            [Choice(captions.target.file, target, to), Choice(captions.source.file, source, f"{of} (original)")],
            self._picture_facts() if self._has_picture else None,
            channels=self._channels,
            base=self._store.base,
        )

    def _picture_facts(self) -> PictureFacts | None:
        info = self._plan.info
        if info.video is None:
            return None
        bits_s = round(info.size * 8 / info.duration_s) if info.duration_s else 0
        return PictureFacts("picture.m3u8", info.video.width, info.video.height, bits_s, self._picture_codec)


class _GrowingMix:
    """The mix of `Assembly`, as far as the timeline is final; what speech usually is like, it knows only so far."""

    def __init__(self, plan: StreamPlan, timeline: FinalTimeline, spool: SpeechSpool, contour: LoudnessContour) -> None:
        self._plan = plan
        self._timeline = timeline
        self._spool = spool
        self._contour = contour
        self._rate_hz = plan.track.rate_hz
        self._usual = UsualLoudness(contour)
        self._taken = 0
        self._spans: list[tuple[int, int]] = []
        self._clips: list[Clip] = []

    async def feed(self, original: Demuxer, cut: Segmenter) -> None:
        """Write everything, as it becomes final."""
        async for block in original:
            await self._timeline.reach(-(-block.end * ASR_RATE_HZ // self._rate_hz))
            await self._take(block)
            ducking = self._ducking()
            mixed = await asyncio.to_thread(mix_block, block, self._clips, ducking)
            await cut.write(mixed, block.samples)
        await cut.close()

    async def _take(self, block: AudioChunk) -> None:
        """Add what is new, forget what no longer sounds."""
        self._clips = [clip for clip in self._clips if clip.end > block.offset]
        forgotten = block.offset - round(REMEMBERED_S * self._rate_hz)
        self._spans = [span for span in self._spans if span[1] > forgotten]
        fitted = self._timeline.fitted
        while self._taken < len(fitted):
            item = fitted[self._taken]
            segment = item.segment
            if self._at_rate(min(segment.placement.start, segment.sentence.start)) >= block.end:
                return
            self._taken += 1
            for start, end in segment.spoken_over:
                self._spans.append((self._at_rate(start), self._at_rate(end)))
            self._usual.add(segment.sentence)
            await self._add_clip(item)

    async def _add_clip(self, item: FittedSegment) -> None:
        spoken = self._spool.read(item.speech)
        if not spoken.length:
            return
        speech = await asyncio.to_thread(resample, spoken, self._rate_hz)
        gain = speech_gain(self._contour, item.segment.sentence, speech, self._usual.lufs)
        self._clips.append(Clip(self._at_rate(item.segment.placement.start), speech.samples * gain))

    def _ducking(self) -> Ducking:
        fitted, gain_db = self._timeline.fitted, self._plan.original_gain_db
        if gain_db is None:
            kept = [item.segment.sentence for item in fitted if item.segment.kept_original]
            return Ducking.silent([(self._at_rate(one.start), self._at_rate(one.end)) for one in kept], self._rate_hz)
        spans = list(self._spans)
        # Of the sentence after these only its start is needed: the original is quiet by then.
        if self._taken < len(fitted) and fitted[self._taken].segment.kept_original:
            return Ducking(spans, gain_db, self._rate_hz)
        if self._taken < len(fitted):
            spans.append(self._instant(fitted[self._taken].segment.sentence.start))
        elif not self._timeline.ended:
            spans.append(self._instant(self._timeline.until))
        return Ducking(spans, gain_db, self._rate_hz)

    def _instant(self, position: int) -> tuple[int, int]:
        start = self._at_rate(position)
        return start, start + 1

    def _at_rate(self, position: int) -> int:
        return round(position * self._rate_hz / ASR_RATE_HZ)


class _GrowingCaptions:
    """Cues of both languages. Each is made from its own sentence, so that none changes once it was shown."""

    def __init__(self, timeline: FinalTimeline) -> None:
        self._timeline = timeline
        self.target = MediaPlaylist("subtitles-target", "vtt")
        self.source = MediaPlaylist("subtitles-source", "vtt")
        self._taken = 0
        self._cues: dict[str, list[Cue]] = {playlist.name: [] for playlist in self.playlists}

    @property
    def playlists(self) -> tuple[MediaPlaylist, MediaPlaylist]:
        return self.target, self.source

    def between(self, from_s: float, to_s: float, lead_s: float) -> list[tuple[MediaPlaylist, list[Cue]]]:
        """What is shown then, in the stream's time; asked in order. lead_s: how much later than the sound's it is."""
        for item in self._timeline.fitted[self._taken :]:
            self._add(item, lead_s)
        self._taken = len(self._timeline.fitted)
        shown = []
        for playlist in self.playlists:
            cues = [cue for cue in self._cues[playlist.name] if cue.end_s > from_s]
            self._cues[playlist.name] = cues
            shown.append((playlist, [cue for cue in cues if cue.start_s < to_s]))
        return shown

    def _add(self, item: FittedSegment, lead_s: float) -> None:
        segment, placement, sentence = item.segment, item.segment.placement, item.segment.sentence
        for playlist, start, end, text in (
            (self.target, placement.start, placement.end, segment.text),
            (self.source, sentence.start, sentence.end, sentence.text),
        ):
            limit_s = max(segment.slot.end, end) / ASR_RATE_HZ - GAP_S
            cues = make_cues([SpokenText(start / ASR_RATE_HZ, end / ASR_RATE_HZ, text)], limit_s)
            self._cues[playlist.name] += [Cue(cue.start_s + lead_s, cue.end_s + lead_s, cue.text) for cue in cues]
