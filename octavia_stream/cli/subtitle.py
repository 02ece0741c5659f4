"""`octavia subtitle` and `octavia speak`: subtitles written, translated, and spoken."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from octavia_stream.captions.subtitle_cue import MAX_BYTES
from octavia_stream.captions.subtitle_file import SubtitleFile, read_subtitles
from octavia_stream.cli.client import Credentials
from octavia_stream.cli.order import Order, carry_out, read_glossary
from octavia_stream.config import Settings
from octavia_stream.errors import InvalidRequest, SubtitlesRejected
from octavia_stream.jobs.sources import choose_track
from octavia_stream.languages import language_name, parse_language
from octavia_stream.media.probe import probe
from octavia_stream.models.registry import Registry
from octavia_stream.mt.routes import plan_route

SUFFIXES = frozenset((".srt", ".vtt", ".ass", ".ssa", ".ttml", ".dfxp"))


@dataclass(frozen=True, slots=True)
class SubtitleOrder:
    """What the command line asked for: subtitles of a file in some languages."""

    file: Path
    to: tuple[str, ...]
    source: str | None
    output: Path
    audio_track: int | None = None
    glossary: Path | None = None
    start_s: float | None = None
    end_s: float | None = None


@dataclass(frozen=True, slots=True)
class SpeechOrder:
    """What the command line asked for: subtitles, spoken."""

    file: Path
    to: str
    source: str | None
    voice: str | None
    output: Path
    video: Path | None = None
    container: str | None = None
    glossary: Path | None = None


async def subtitle(order: SubtitleOrder, server: str | None, account: Credentials | None, settings: Settings) -> int:
    """Translate a subtitle file, or write the subtitles of a media file. Returns the exit code."""
    names = ", ".join(language_name(parse_language(tag)) for tag in order.to)
    wish: dict[str, object] = {
        "target_languages": list(order.to),
        "source_language": order.source,
        "glossary": read_glossary(order.glossary),
    }
    if order.file.suffix.lower() in SUFFIXES:
        if not order.to:
            raise InvalidRequest("Say with --to into which language the subtitles are to be translated.")
        job = Order("subtitle-translate", order.file, "subtitle", wish, order.output, f"Translated into {names}")
        return await carry_out(job, server, account, settings, lambda: _check_translation(order, settings))
    wish |= {"audio_track": order.audio_track, "start_s": order.start_s, "end_s": order.end_s}
    done = f"Written down, and translated into {names}" if order.to else "Written down"
    job = Order("subtitle-generate", order.file, "audio", wish, order.output, done)
    return await carry_out(job, server, account, settings, lambda: _check_generation(order, settings))


async def speak(order: SpeechOrder, server: str | None, account: Credentials | None, settings: Settings) -> int:
    """Speak a subtitle file, by itself or over a video. Returns the exit code."""
    target = parse_language(order.to)
    job = Order(
        kind="subtitle-to-audio",
        file=order.file,
        file_type="subtitle",
        wish={
            "target_language": order.to,
            "source_language": order.source,
            "voice": order.voice,
            "container": order.container,
            "glossary": read_glossary(order.glossary),
        },
        output=order.output,
        done=f"Spoken in {language_name(target)}",
        language=target,
        others={"video_upload_id": (order.video, "video")} if order.video is not None else {},
    )
    return await carry_out(job, server, account, settings, lambda: _check_speech(order, settings))


async def _check_translation(order: SubtitleOrder, settings: Settings) -> None:
    file = await _read(order.file)
    tag = order.source or file.language
    if tag is None:
        raise InvalidRequest("The file does not say which language it is in; name it with --from.")
    pairs = Registry(settings.models, settings.home).mt_pairs()
    for target in order.to:
        plan_route(parse_language(tag), parse_language(target), pairs, asr_translates=False)


async def _check_generation(order: SubtitleOrder, settings: Settings) -> None:
    pairs = Registry(settings.models, settings.home).mt_pairs()
    if order.source is not None:
        for target in order.to:
            plan_route(parse_language(order.source), parse_language(target), pairs)
    choose_track(await probe(order.file, settings.media), order.audio_track)


async def _check_speech(order: SpeechOrder, settings: Settings) -> None:
    registry = Registry(settings.models, settings.home)
    target = parse_language(order.to)
    registry.choose_voice(target, order.voice)
    file = await _read(order.file)
    source = parse_language(order.source or file.language or order.to)
    plan_route(source, target, registry.mt_pairs(), asr_translates=False)
    if order.video is not None and (await probe(order.video, settings.media)).video is None:
        raise InvalidRequest(f"There is no picture in {order.video}.")


async def _read(path: Path) -> SubtitleFile:
    return await asyncio.to_thread(_read_file, path)


def _read_file(path: Path) -> SubtitleFile:
    if path.stat().st_size > MAX_BYTES:
        raise SubtitlesRejected("This is no subtitle file: it is too large.")
    return read_subtitles(path.read_bytes())
