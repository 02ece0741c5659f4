"""Entry point of `octavia`: commands, and how their errors reach a person."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from pydantic import ValidationError
from rich.console import Console

from octavia_stream.cli import dub as dub_command
from octavia_stream.cli import subtitle as subtitle_command
from octavia_stream.cli.account import account_from
from octavia_stream.cli.admin import admin_app
from octavia_stream.cli.audit import show_audit
from octavia_stream.cli.cache import cache_app
from octavia_stream.cli.doctor import doctor
from octavia_stream.cli.metrics import list_metrics
from octavia_stream.cli.models import models_app
from octavia_stream.cli.serve import serve_command
from octavia_stream.cli.settings import show_settings
from octavia_stream.config import Settings
from octavia_stream.database.migrate import migrate
from octavia_stream.errors import InvalidRequest, JobCancelled, OctaviaError

app = App(name="octavia", help="Self-hosted speech translation and dubbing.", version_flags=["--version"])
app.command(models_app, name="models")
app.command(admin_app, name="admin")
app.command(doctor, name="doctor")
app.command(show_settings, name="settings")
app.command(show_audit, name="audit")
app.command(cache_app, name="cache")
app.command(list_metrics, name="metrics")
# Named, and so imported when it is called: WebRTC takes half a second to load.
app.command("octavia_stream.cli.live:live_command", name="live", help="Speak a file into a live session.")
db_app = App(name="db", help="The database.")
app.command(db_app)


@app.command
def serve() -> int:
    """Bring everything up, and take it down on Ctrl-C.

    Starts Postgres and Valkey (unless DATABASE_URL and REDIS_URL name servers), a Ray node, the model
    servers and the API. Settings come from the environment; the documentation lists them.
    """
    return serve_command(Settings())


@app.command
def dub(
    file: Path,
    *,
    to: Annotated[list[str], Parameter(negative="")],
    source: Annotated[str | None, Parameter(name=["--from"])] = None,
    voice: Annotated[list[str] | None, Parameter(negative="")] = None,
    output: Path = Path(),
    original_gain_db: float = -24.0,
    mute_original: bool = False,
    keep_original_track: bool = True,
    audio_track: int | None = None,
    start: float | None = None,
    end: float | None = None,
    burn_in: Annotated[bool, Parameter(negative="")] = False,
    stream: Annotated[bool, Parameter(negative="")] = False,
    transcode: Annotated[bool, Parameter(negative="")] = False,
    glossary: Path | None = None,
    server: str | None = None,
    email: str | None = None,
) -> int:
    """Dub a video or audio file into another language, or several.

    Uses the server that `octavia serve` runs on this machine, or starts one for this file alone.
    Ctrl-C cancels the job.

    Parameters
    ----------
    file
        The video or audio file.
    to
        The language to speak, such as `pt` or `en`; several, each with a file of its own, when given several times.
    source
        The language that is spoken; detected when left out.
    voice
        A voice of `octavia models voices`; the first one of the language when left out. For one of several languages
        with its tag: `pt=kokoro/pf_dora`.
    output
        The folder that the result goes to.
    original_gain_db
        How loud the original stays under the dubbed voice.
    mute_original
        Let nothing of the original be heard, between the sentences neither.
    keep_original_track
        Keep the original sound as a second track.
    audio_track
        Which audio track to dub, counted from 0.
    start
        Where in a media file to start, in seconds.
    end
        Where to end.
    burn_in
        Make another file as well, with subtitles drawn into the picture; that takes time, for it is encoded anew.
    stream
        Say where what is dubbed already can be watched, as soon as it can.
    transcode
        The same, with the picture encoded anew where players do not take it as it is.
    glossary
        A JSON file with `terms`, `keep` and `pronunciation`, as in the HTTP API.
    server
        Address of another machine's server, such as `https://dub.example.org`.
    email
        Your account there; its password is read from OCTAVIA_PASSWORD.
    """
    order = dub_command.DubOrder(
        file=file,
        to=tuple(to),
        source=source,
        voices=tuple(voice or ()),
        output=output,
        original_gain_db=original_gain_db,
        keep_original_track=keep_original_track,
        mute_original=mute_original,
        audio_track=audio_track,
        glossary=glossary,
        start_s=start,
        end_s=end,
        burn_in=burn_in,
        stream=stream,
        transcode=transcode,
    )
    return asyncio.run(dub_command.dub(order, server, account_from(email), Settings()))


@app.command
def subtitle(
    file: Path,
    *,
    to: Annotated[list[str] | None, Parameter(negative="")] = None,
    source: Annotated[str | None, Parameter(name=["--from"])] = None,
    output: Path = Path(),
    audio_track: int | None = None,
    start: float | None = None,
    end: float | None = None,
    glossary: Path | None = None,
    server: str | None = None,
    email: str | None = None,
) -> int:
    """Write the subtitles of a video or audio file, or translate a subtitle file.

    SRT, WebVTT, ASS and TTML come back in their own format: other words, and nothing else changed.

    Parameters
    ----------
    file
        The media file, or the subtitle file.
    to
        The language to translate into, such as `pt`; several when given several times.
    source
        The language of the file. That of speech is detected when left out; a subtitle file may say it itself.
    output
        The folder that the results go to.
    audio_track
        Which audio track to listen to, counted from 0.
    start
        Where in a media file to start, in seconds.
    end
        Where to end.
    glossary
        A JSON file with `terms`, `keep` and `pronunciation`, as in the HTTP API.
    server
        Address of another machine's server, such as `https://dub.example.org`.
    email
        Your account there; its password is read from OCTAVIA_PASSWORD.
    """
    order = subtitle_command.SubtitleOrder(file, tuple(to or ()), source, output, audio_track, glossary, start, end)
    return asyncio.run(subtitle_command.subtitle(order, server, account_from(email), Settings()))


@app.command
def speak(
    file: Path,
    *,
    to: str,
    source: Annotated[str | None, Parameter(name=["--from"])] = None,
    voice: str | None = None,
    video: Path | None = None,
    audio_format: Annotated[str | None, Parameter(name=["--format"])] = None,
    output: Path = Path(),
    glossary: Path | None = None,
    server: str | None = None,
    email: str | None = None,
) -> int:
    """Speak a subtitle file at its own times, by itself or over a video.

    Parameters
    ----------
    file
        The subtitle file.
    to
        The language to speak, such as `pt`.
    source
        The language of the file, which is translated first when it is another; the file may say it itself.
    voice
        A voice of `octavia models voices`; the first one of the language when left out.
    video
        A video that gets the speech as its new sound track.
    audio_format
        Without a video: m4a, mp3, flac, wav or ogg.
    output
        The folder that the result goes to.
    glossary
        A JSON file with `terms`, `keep` and `pronunciation`, as in the HTTP API.
    server
        Address of another machine's server, such as `https://dub.example.org`.
    email
        Your account there; its password is read from OCTAVIA_PASSWORD.
    """
    order = subtitle_command.SpeechOrder(file, to, source, voice, output, video, audio_format, glossary)
    return asyncio.run(subtitle_command.speak(order, server, account_from(email), Settings()))


@db_app.command(name="migrate")
def db_migrate() -> int:
    """Bring the database that DATABASE_URL names up to date."""
    url = Settings().database_url
    if url is None:
        raise InvalidRequest("Set DATABASE_URL; the embedded database is brought up to date by `octavia serve`.")
    asyncio.run(migrate(url.get_secret_value()))
    return 0


def main() -> None:
    """Run the command; every refusal is one sentence on standard error and an exit code that is not 0."""
    errors = Console(stderr=True)
    try:
        code = app()
    except JobCancelled as cancelled:
        errors.print(str(cancelled), highlight=False)
        sys.exit(130)
    except OctaviaError as error:
        errors.print(f"[red]Error:[/] {error}", highlight=False, soft_wrap=True)
        sys.exit(1)
    except ValidationError as error:
        first = error.errors()[0]
        where = "__".join(str(part).upper() for part in first["loc"])
        errors.print(f"[red]Error:[/] The setting OCTAVIA_{where} is not valid: {first['msg']}.", highlight=False)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(code if isinstance(code, int) else 0)
