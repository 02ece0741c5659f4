"""The live corridor alone: a recording goes in at the pace of speech, and what comes out is measured.

    python -m benchmarks.live_corridor tests/data/speech/en/lj_printing_4min.flac --source en --target pt

By default in virtual time, where an engine's call takes the processor time it used: as if each engine had a core of its
own, whatever else this machine does. `--real-time` waits, `--scripted` uses engines that cost nothing.
"""

import argparse
import asyncio
import tempfile
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks.live_measures import measure
from benchmarks.sound import read_track
from octavia_stream import installed, testing
from octavia_stream.asr.whisper import WhisperEngine
from octavia_stream.audio.chunk import ASR_RATE_HZ, Samples
from octavia_stream.audio.resampling import resample
from octavia_stream.config import Settings
from octavia_stream.dubbing.engines import Engines, local
from octavia_stream.languages import Language
from octavia_stream.live.events import Caption, LiveRecord, PhraseSpoken
from octavia_stream.live.frame import OUTPUT_RATE_HZ, PcmSamples
from octavia_stream.live.options import LiveOptions, LiveTarget
from octavia_stream.live.room import LiveRoom
from octavia_stream.live.voices import CatalogueVoices
from octavia_stream.models.registry import Registry
from octavia_stream.tts.voice_engines import VoiceEngines
from octavia_stream.vad.silero import SileroDetector
from octavia_stream.virtual_time import VirtualTimeLoop

_BLOCK = ASR_RATE_HZ // 50


@contextmanager
def engines(settings: Settings, *, scripted: bool) -> Iterator[Engines]:
    """One of each, on a thread each, with the voices loaded that the settings name."""
    if scripted:
        yield local(testing.ScriptedTranscriber(), testing.ScriptedTranslator(), testing.ScriptedSynthesizer())
        return
    registry = Registry(settings.models, settings.home)
    voices = VoiceEngines(registry)
    try:
        for language in settings.models.prepared:
            voices.prepare(registry.choose_voice(Language(language)))
        yield local(WhisperEngine(registry.resolve(settings.models.asr).path), installed.translator(settings), voices)
    finally:
        voices.close()


async def converse(
    samples: Samples, options: LiveOptions, ports: Engines, registry: Registry
) -> tuple[list[LiveRecord], PcmSamples]:
    """Say it at the pace it was said; the events, and what was to be heard in the first language (48 kHz)."""
    loop = asyncio.get_running_loop()
    directory = registry.resolve("silero-v6").path
    room = LiveRoom(options, ports, lambda: SileroDetector(directory), CatalogueVoices(registry), clock=loop.time)
    listener = room.listen(options.targets[0].language)
    frames: list[PcmSamples] = []

    async def hear() -> None:
        async for frame in listener:
            frames.append(frame.samples)

    async with asyncio.TaskGroup() as group:
        group.create_task(room.run())
        group.create_task(hear())
        speaker = room.speaker("speaker")
        began = loop.time()
        for place, start in enumerate(range(0, len(samples), _BLOCK)):
            await asyncio.sleep(max(began + (place + 1) * 0.02 - loop.time(), 0))
            speaker.push(samples[start : start + _BLOCK])
        await room.close("said")
    return [record async for record in room.events()], np.concatenate(frames)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--source", type=Language)
    parser.add_argument("--target", type=Language, default=Language("pt"))
    parser.add_argument("--latency", default="balanced", choices=("low", "balanced", "quality"))
    parser.add_argument("--seconds", type=float, default=300.0, help="of the recording, which is repeated if shorter")
    parser.add_argument("--real-time", action="store_true")
    parser.add_argument("--scripted", action="store_true")
    parser.add_argument("--verbose", action="store_true", help="every phrase")
    parser.add_argument("--out", type=Path, help="a WAV file for what was to be heard")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        settings = Settings(home=Path(home))
        options = LiveOptions(targets=(LiveTarget(wanted.target),), source=wanted.source, latency=wanted.latency)
        samples = asyncio.run(_speech(wanted.file, wanted.seconds))
        factory = asyncio.new_event_loop if wanted.real_time else (lambda: VirtualTimeLoop(charged=True))
        with engines(settings, scripted=wanted.scripted) as ports, asyncio.Runner(loop_factory=factory) as runner:
            registry = Registry(settings.models, settings.home)
            records, heard = runner.run(converse(samples, options, ports, registry))
    if wanted.verbose:
        _tell(records)
    print("\n".join(measure(records, wanted.target).lines()))
    if wanted.out:
        with wave.open(str(wanted.out), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(OUTPUT_RATE_HZ)
            file.writeframes(heard.tobytes())


async def _speech(path: Path, seconds: float) -> Samples:
    track = await read_track(path)
    speech = resample(track.sound, ASR_RATE_HZ).samples
    length = round(seconds * ASR_RATE_HZ)
    return np.tile(speech, -(-length // len(speech)))[:length]


def _tell(records: list[LiveRecord]) -> None:
    for record in records:
        match record.event:
            case Caption(final=True, source=True) as caption:
                print(f"{record.at_s:8.2f}  [{caption.start_s:7.2f} {caption.end_s:7.2f}]  {caption.text}")
            case PhraseSpoken() as phrase:
                print(
                    f"{record.at_s:8.2f}  {phrase.ear_voice_span_s:5.2f} s late, {phrase.duration_s:5.2f} s, "
                    f"{phrase.speed:4.2f} x: {phrase.text}"
                )
            case Caption():
                pass
            case other:
                print(f"{record.at_s:8.2f}  {other}")


if __name__ == "__main__":
    main()
