"""`octavia dub`: one file in, its dubs beside you."""

from dataclasses import dataclass
from pathlib import Path

from octavia_stream.cli.client import Credentials
from octavia_stream.cli.order import Order, carry_out, read_glossary
from octavia_stream.config import Settings
from octavia_stream.errors import InvalidRequest
from octavia_stream.jobs.sources import choose_track
from octavia_stream.languages import Language, language_name, parse_language
from octavia_stream.media.probe import probe
from octavia_stream.models.registry import Registry
from octavia_stream.mt.routes import plan_route


@dataclass(frozen=True, slots=True)
class DubOrder:
    """What the command line asked for."""

    file: Path
    to: tuple[str, ...]
    source: str | None
    voices: tuple[str, ...]
    """`pt=NAME` for a language, or a name alone when there is one."""
    output: Path
    original_gain_db: float
    keep_original_track: bool
    audio_track: int | None
    glossary: Path | None = None
    mute_original: bool = False
    start_s: float | None = None
    end_s: float | None = None
    burn_in: bool = False
    stream: bool = False
    transcode: bool = False
    """A stream whose picture every player takes."""


async def dub(order: DubOrder, server: str | None, account: Credentials | None, settings: Settings) -> int:
    """Dub a file through the server named, the one that runs here, or one started for this. Returns the exit code."""
    targets = [parse_language(tag) for tag in order.to]
    wanted = _voices(order)
    several = len(targets) > 1
    job = Order(
        kind="video-translate",
        file=order.file,
        # Sound is all that a dub needs; whether there is a picture too, the server sees.
        file_type="audio",
        wish={
            "target_language": None if several else order.to[0],
            "target_languages": list(order.to) if several else None,
            "source_language": order.source,
            "voice": None if several else wanted.get(targets[0]),
            "voices": dict(wanted) if several else None,
            "original_gain_db": order.original_gain_db,
            "mute_original": order.mute_original,
            "keep_original_track": order.keep_original_track,
            "audio_track": order.audio_track,
            "glossary": read_glossary(order.glossary),
            "start_s": order.start_s,
            "end_s": order.end_s,
            "burn_in": order.burn_in or None,
            "stream": order.stream or order.transcode or None,
            "transcode": order.transcode or None,
        },
        output=order.output,
        done=f"Dubbed into {', '.join(language_name(target) for target in targets)}",
        language=None if several else targets[0],
    )
    return await carry_out(job, server, account, settings, lambda: _check(order, settings))


async def _check(order: DubOrder, settings: Settings) -> None:
    """Say no before anything is started, when it is already clear that the server would."""
    registry = Registry(settings.models, settings.home)
    wanted = _voices(order)
    for target in (parse_language(tag) for tag in order.to):
        registry.choose_voice(target, wanted.get(target))
        if order.source is not None:
            plan_route(parse_language(order.source), target, registry.mt_pairs())
    choose_track(await probe(order.file, settings.media), order.audio_track)


def _voices(order: DubOrder) -> dict[Language, str]:
    """By language. Raises InvalidRequest for a name alone when there are several languages."""
    named: dict[Language, str] = {}
    for voice in order.voices:
        tag, equals, name = voice.partition("=")
        if not equals and len(order.to) > 1:
            raise InvalidRequest(f"Say which language {voice} speaks, as in --voice pt={voice}.")
        named[parse_language(tag if equals else order.to[0])] = name if equals else voice
    return named
