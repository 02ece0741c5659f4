"""`octavia dub`: one file in, its dub beside you."""

from dataclasses import dataclass
from pathlib import Path

from octavia_stream.cli.client import Credentials
from octavia_stream.cli.order import Order, carry_out
from octavia_stream.config import Settings
from octavia_stream.jobs.sources import choose_track
from octavia_stream.languages import language_name, parse_language
from octavia_stream.media.probe import probe
from octavia_stream.models.registry import Registry
from octavia_stream.mt.routes import plan_route


@dataclass(frozen=True, slots=True)
class DubOrder:
    """What the command line asked for."""

    file: Path
    to: str
    source: str | None
    voice: str | None
    output: Path
    original_gain_db: float
    keep_original_track: bool
    audio_track: int | None


async def dub(order: DubOrder, server: str | None, account: Credentials | None, settings: Settings) -> int:
    """Dub a file through the server named, the one that runs here, or one started for this. Returns the exit code."""
    target = parse_language(order.to)
    job = Order(
        kind="video-translate",
        file=order.file,
        # Sound is all that a dub needs; whether there is a picture too, the server sees.
        file_type="audio",
        wish={
            "target_language": order.to,
            "source_language": order.source,
            "voice": order.voice,
            "original_gain_db": order.original_gain_db,
            "keep_original_track": order.keep_original_track,
            "audio_track": order.audio_track,
        },
        output=order.output,
        done=f"Dubbed into {language_name(target)}",
        language=target,
    )
    return await carry_out(job, server, account, settings, lambda: _check(order, settings))


async def _check(order: DubOrder, settings: Settings) -> None:
    """Say no before anything is started, when it is already clear that the server would."""
    target = parse_language(order.to)
    registry = Registry(settings.models, settings.home)
    registry.choose_voice(target, order.voice)
    if order.source is not None:
        plan_route(parse_language(order.source), target, registry.mt_pairs())
    choose_track(await probe(order.file, settings.media), order.audio_track)
