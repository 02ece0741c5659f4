"""The kinds of job: what each is asked with, and whether this server can do it."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Literal, TypedDict, TypeVar
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from api.languages import reach_of
from api.services import Services
from octavia_stream.captions.cues import USUAL, CueRules
from octavia_stream.dubbing.glossary import NO_GLOSSARY, Glossary
from octavia_stream.errors import InvalidRequest, MediaRejected
from octavia_stream.jobs.job import (
    AudioDubbingOptions,
    CaptionOptions,
    DubbingOptions,
    JobKind,
    JobOptions,
    OnChunkFailure,
    SpeechOptions,
    SubtitleOptions,
)
from octavia_stream.languages import Language, language_name, parse_language
from octavia_stream.media.burner import can_draw
from octavia_stream.media.info import MediaInfo
from octavia_stream.mt.routes import plan_route
from octavia_stream.uploads.subtitle_info import SubtitleInfo, is_subtitle_file
from octavia_stream.uploads.upload import Upload

LanguageTag = Annotated[str, msgspec.Meta(min_length=2, max_length=35, description="BCP 47, such as `pt` or `en`.")]
VoiceName = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
GainDb = Annotated[float, msgspec.Meta(ge=-96, le=0)]
TrackNumber = Annotated[int, msgspec.Meta(ge=0, le=63)]
SoundContainer = Literal["m4a", "mp3", "flac", "wav", "ogg"]
Moment = Annotated[float, msgspec.Meta(ge=0, le=1_000_000)]
Tag = Annotated[
    str, msgspec.Meta(min_length=1, max_length=50, pattern=r"^[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*$")
]
Tags = Annotated[list[Tag], msgspec.Meta(max_length=20)]
MAX_TARGETS = 8
Targets = Annotated[list[LanguageTag], msgspec.Meta(min_length=1, max_length=MAX_TARGETS)]
Voices = Annotated[dict[LanguageTag, VoiceName], msgspec.Meta(max_length=MAX_TARGETS)]


class EarlierResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A result of a job that has completed; it is copied, and becomes an upload of yours."""

    job_id: UUID
    artifact: Annotated[str, msgspec.Meta(min_length=1, max_length=255)] | None = None
    """A name out of the job's `artifacts`; None: the dub, or the first."""


class _Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What every job is asked with."""

    upload_id: UUID | None = None
    source: EarlierResult | None = None
    """In place of `upload_id`: what an earlier job made."""
    glossary: Glossary = NO_GLOSSARY
    """How to translate some words, which to leave, how to say them."""
    tags: Tags = []
    """Your own words for the job, to find it again."""
    team_id: UUID | None = None
    """A team that you are in: it pays, and its people see the job. The upload must be the team's."""


class VideoTranslation(_Order, frozen=True):
    """What to dub, and how."""

    target_language: LanguageTag | None = None
    """None, and no `target_languages`: as your settings say."""
    target_languages: Targets | None = None
    """In place of `target_language`: several, each with a file of its own."""
    source_language: LanguageTag | UnsetType | None = UNSET
    """None: it is detected. Left out: as your settings say."""
    voice: VoiceName | None = None
    """None: the default of the target language."""
    voices: Voices = {}
    """For several languages: a voice by language; the others have their default."""
    original_gain_db: GainDb = -24.0
    """How loud the original stays under the dub, in dB."""
    mute_original: bool = False
    """Nothing of the original is heard under the dub, nor between its sentences."""
    subtitles: CueRules = USUAL
    """What the subtitles may be like."""
    on_chunk_failure: OnChunkFailure = "fail"
    """When the engines fail at a sentence again and again: the job fails, or the original is kept there."""
    keep_original_track: bool = True
    audio_track: TrackNumber | None = None
    """Which audio track to dub, counted from 0; None: the default one."""
    stream: bool = False
    """Whether what is dubbed already can be watched while the rest is made; costs the server some work."""
    transcode: bool = False
    """With `stream`: encode the picture anew, as H.264, where players do not take it as it is; else such a stream has
    sound alone. Nothing else of the result changes."""
    start_s: Moment | None = None
    """Where in the file to start, in seconds; what is made is of the part from there to `end_s`."""
    end_s: Moment | None = None
    burn_in: bool = False
    """Make another file as well, with the subtitles drawn into the picture; it is encoded anew for that, which takes
    time."""


class AudioTranslation(_Order, frozen=True):
    """What to dub, and how, when only the sound is wanted."""

    target_language: LanguageTag | None = None
    """None, and no `target_languages`: as your settings say."""
    target_languages: Targets | None = None
    """In place of `target_language`: several, each with a file of its own."""
    source_language: LanguageTag | UnsetType | None = UNSET
    """None: it is detected. Left out: as your settings say."""
    voice: VoiceName | None = None
    """None: the default of the target language."""
    voices: Voices = {}
    """For several languages: a voice by language; the others have their default."""
    original_gain_db: GainDb = -24.0
    """How loud the original stays under the dub, in dB."""
    mute_original: bool = False
    """Nothing of the original is heard under the dub, nor between its sentences."""
    subtitles: CueRules = USUAL
    """What the subtitles may be like."""
    on_chunk_failure: OnChunkFailure = "fail"
    """When the engines fail at a sentence again and again: the job fails, or the original is kept there."""
    audio_track: TrackNumber | None = None
    """Which audio track to dub, counted from 0; None: the default one."""
    container: SoundContainer | None = None
    """None: that of the source where it is sound alone, else `m4a`."""
    stream: bool = False
    """Whether what is dubbed already can be heard while the rest is made; costs the server some work."""
    start_s: Moment | None = None
    """Where in the file to start, in seconds; what is made is of the part from there to `end_s`."""
    end_s: Moment | None = None


class SubtitleGeneration(_Order, frozen=True):
    """What to write down, and in which languages beside its own."""

    source_language: LanguageTag | UnsetType | None = UNSET
    """None: it is detected. Left out: as your settings say."""
    target_languages: Annotated[list[LanguageTag], msgspec.Meta(max_length=MAX_TARGETS)] = []
    subtitles: CueRules = USUAL
    """What the subtitles may be like."""
    audio_track: TrackNumber | None = None
    """Which audio track to listen to, counted from 0; None: the default one."""
    start_s: Moment | None = None
    """Where in the file to start, in seconds; what is made is of the part from there to `end_s`."""
    end_s: Moment | None = None


class SubtitleTranslation(_Order, frozen=True):
    """Which subtitle file to translate, and into which languages."""

    target_languages: Targets | None = None
    """None: the one that your settings say."""
    source_language: LanguageTag | None = None
    """None: as the file says, else your settings."""


class SubtitleSpeech(_Order, frozen=True):
    """Which subtitle file to speak, and how."""

    target_language: LanguageTag | None = None
    """None: as your settings say."""
    source_language: LanguageTag | None = None
    """None: as the file says, else the target language; when they differ, the file is translated first."""
    voice: VoiceName | None = None
    """None: the default of the target language."""
    container: SoundContainer | None = None
    """What kind of sound file; not with a video. None: `m4a`."""
    video_upload_id: UUID | None = None
    """A video that gets the speech as its new sound track."""
    original_gain_db: GainDb = -24.0
    """How loud the video's own sound stays under the speech, in dB."""
    mute_original: bool = False
    """Nothing of the video's own sound is heard, between the sentences neither."""
    keep_original_track: bool = True


Asked = TypeVar("Asked", bound=_Order)


@dataclass(frozen=True, slots=True)
class KindOfJob(Generic[Asked]):
    """One kind."""

    name: JobKind
    body: type[Asked]
    operation_id: str
    summary: str
    check: Callable[[Asked, UUID, Services], Awaitable[tuple[Upload, JobOptions]]]
    """The upload and the stored form of what is asked: languages reduced, the voice fixed.

    Raises NotFound, MediaRejected, UnsupportedLanguage, InvalidRequest.
    """


async def _check_video(data: VideoTranslation, owner_id: UUID, services: Services) -> tuple[Upload, DubbingOptions]:
    source = _parsed(data.source_language)
    targets = _dub_targets(data, source, services)
    options = DubbingOptions(
        glossary=data.glossary.checked(),
        mute_original=data.mute_original,
        subtitles=data.subtitles,
        start_s=data.start_s,
        end_s=data.end_s,
        **targets,
        source_language=source,
        original_gain_db=data.original_gain_db,
        on_chunk_failure=data.on_chunk_failure,
        keep_original_track=data.keep_original_track,
        audio_track=data.audio_track,
        stream=data.stream,
        transcode=data.transcode,
        burn_in=data.burn_in,
    )
    upload = await _media(_upload_of(data), owner_id, services, data.audio_track)
    _check_part(data, upload)
    if data.transcode and not data.stream:
        raise InvalidRequest("Only streams are transcoded: ask for `stream` as well.")
    if data.burn_in:
        _check_drawing(targets["target_languages"] or (targets["target_language"],), upload)
    return upload, options


async def _check_audio(
    data: AudioTranslation, owner_id: UUID, services: Services
) -> tuple[Upload, AudioDubbingOptions]:
    source = _parsed(data.source_language)
    targets = _dub_targets(data, source, services)
    options = AudioDubbingOptions(
        glossary=data.glossary.checked(),
        mute_original=data.mute_original,
        subtitles=data.subtitles,
        start_s=data.start_s,
        end_s=data.end_s,
        **targets,
        source_language=source,
        original_gain_db=data.original_gain_db,
        on_chunk_failure=data.on_chunk_failure,
        audio_track=data.audio_track,
        container=data.container,
        stream=data.stream,
    )
    upload = await _media(_upload_of(data), owner_id, services, data.audio_track)
    _check_part(data, upload)
    return upload, options


async def _check_generation(
    data: SubtitleGeneration, owner_id: UUID, services: Services
) -> tuple[Upload, CaptionOptions]:
    targets, source = _targets(data.target_languages), _parsed(data.source_language)
    _check_speech(services, targets or ((source,) if source else ()), source)
    options = CaptionOptions(
        glossary=data.glossary.checked(),
        subtitles=data.subtitles,
        start_s=data.start_s,
        end_s=data.end_s,
        source_language=source,
        target_languages=targets,
        audio_track=data.audio_track,
    )
    upload = await _media(_upload_of(data), owner_id, services, data.audio_track)
    _check_part(data, upload)
    return upload, options


async def _check_translation(
    data: SubtitleTranslation, owner_id: UUID, services: Services
) -> tuple[Upload, SubtitleOptions]:
    targets = _targets(data.target_languages or [])
    if not targets:
        raise InvalidRequest("Name target_languages, or a target language in your settings.")
    upload, stated = await _subtitles(_upload_of(data), owner_id, services)
    source = _parsed(data.source_language) or stated
    if source is None:
        raise InvalidRequest("The file does not say which language it is in; name it as source_language.")
    _check_text(services, source, targets)
    if targets == (source,):
        raise InvalidRequest(f"The subtitles are in {language_name(source)} already.")
    return upload, SubtitleOptions(glossary=data.glossary.checked(), source_language=source, target_languages=targets)


async def _check_spoken(data: SubtitleSpeech, owner_id: UUID, services: Services) -> tuple[Upload, SpeechOptions]:
    target = _parsed(data.target_language)
    if target is None:
        raise InvalidRequest("Name a target_language, or set one in your settings.")
    voice = services.registry.choose_voice(target, data.voice)
    upload, stated = await _subtitles(_upload_of(data), owner_id, services)
    source = _parsed(data.source_language) or stated or target
    _check_text(services, source, (target,))
    if data.video_upload_id is not None:
        if data.container is not None:
            raise InvalidRequest("A video keeps its own container; leave container out.")
        video = await _media(data.video_upload_id, owner_id, services)
        if not video.content_type.startswith("video/"):
            raise MediaRejected("There is no picture in the file that video_upload_id names.")
    options = SpeechOptions(
        glossary=data.glossary.checked(),
        mute_original=data.mute_original,
        target_language=target,
        source_language=source,
        voice=voice.id,
        container=data.container,
        video_upload_id=data.video_upload_id,
        original_gain_db=data.original_gain_db,
        keep_original_track=data.keep_original_track,
    )
    return upload, options


class _DubTargets(TypedDict):
    """What dubbing options say of their languages."""

    target_language: Language
    voice: str
    target_languages: tuple[Language, ...]
    voices: dict[str, str]


def _dub_targets(data: VideoTranslation | AudioTranslation, source: Language | None, services: Services) -> _DubTargets:
    """The languages of a dub and who speaks them. Raises InvalidRequest, UnsupportedLanguage."""
    if (data.target_language is None) == (data.target_languages is None):
        raise InvalidRequest("Name either target_language or target_languages.")
    targets = _targets([data.target_language] if data.target_language is not None else data.target_languages or [])
    if data.voice is not None and len(targets) > 1:
        raise InvalidRequest("One voice speaks one language; name those of several as voices.")
    if data.stream and len(targets) > 1:
        raise InvalidRequest("Only a job into one language can be watched while it is made; leave stream out.")
    wanted = {parse_language(tag): voice for tag, voice in data.voices.items()}
    if strange := sorted(wanted.keys() - set(targets)):
        raise InvalidRequest(f"A voice is named for {language_name(strange[0])}, which is not asked for.")
    voices: dict[str, str] = {
        target: services.registry.choose_voice(target, wanted.get(target, data.voice)).id for target in targets
    }
    _check_speech(services, targets, source)
    several = len(targets) > 1
    return _DubTargets(
        target_language=targets[0],
        voice=voices[targets[0]],
        target_languages=targets if several else (),
        voices=voices if several else {},
    )


def _upload_of(data: _Order) -> UUID:
    """Raises InvalidRequest when none is named."""
    if data.upload_id is None:
        raise InvalidRequest("Name either upload_id or source.")
    return data.upload_id


def _parsed(tag: str | UnsetType | None) -> Language | None:
    return parse_language(tag) if isinstance(tag, str) else None


def _targets(tags: Sequence[str]) -> tuple[Language, ...]:
    """Each once, in the order asked."""
    return tuple(dict.fromkeys(parse_language(tag) for tag in tags))


def _check_speech(services: Services, targets: Iterable[Language], source: Language | None) -> None:
    """Raises UnsupportedLanguage when a target cannot be reached from speech."""
    reach = reach_of(services.registry, services.runtime.settings.models)
    for target in targets:
        reach.check(target, source)


def _check_text(services: Services, source: Language, targets: Iterable[Language]) -> None:
    """Raises UnsupportedLanguage when a target cannot be reached from text."""
    pairs = services.registry.mt_pairs()
    for target in targets:
        plan_route(source, target, pairs, asr_translates=False)


async def _media(upload_id: UUID, owner_id: UUID, services: Services, audio_track: int | None = None) -> Upload:
    """A media file. Raises NotFound; MediaRejected when it is none, or is known to have no such track."""
    upload = await services.runtime.uploads.get(upload_id, owner_id)
    if is_subtitle_file(upload):
        raise MediaRejected("This upload is a subtitle file; a video or an audio file is needed.")
    if audio_track is not None and upload.media_info is not None:
        count = len(msgspec.convert(upload.media_info, MediaInfo).audio)
        if audio_track >= count:
            raise MediaRejected(f"There is no sound track {audio_track}; the file has {count}, counted from 0.")
    return upload


def _check_part(data: VideoTranslation | AudioTranslation | SubtitleGeneration, upload: Upload) -> None:
    """Raises InvalidRequest for a part that ends before it starts, MediaRejected for one after the file's end."""
    start_s = data.start_s or 0.0
    if data.end_s is not None and data.end_s <= start_s:
        raise InvalidRequest("A part of a file ends after it starts: end_s has to be greater than start_s.")
    length_s = msgspec.convert(upload.media_info, MediaInfo).duration_s if upload.media_info is not None else 0.0
    if length_s and start_s >= length_s:
        raise MediaRejected(f"The file is {length_s:.1f} s long; start_s lies after its end.")


def _check_drawing(targets: Sequence[Language], upload: Upload) -> None:
    """Raises MediaRejected where there is no picture, InvalidRequest for letters that there are none of."""
    if not upload.content_type.startswith("video/"):
        raise MediaRejected("There is no picture in this file to draw subtitles into; leave burn_in out.")
    for target in targets:
        if not can_draw(target):
            raise InvalidRequest(f"Subtitles in {language_name(target)} cannot be drawn; leave burn_in out.")


async def _subtitles(upload_id: UUID, owner_id: UUID, services: Services) -> tuple[Upload, Language | None]:
    """A subtitle file and the language that it states. Raises NotFound, MediaRejected."""
    upload = await services.runtime.uploads.get(upload_id, owner_id)
    if not is_subtitle_file(upload):
        raise MediaRejected("This upload is no subtitle file; upload one with file_type=subtitle.")
    stated = msgspec.convert(upload.media_info, SubtitleInfo).language
    return upload, parse_language(stated) if stated is not None else None


KINDS: tuple[KindOfJob[Any], ...] = (
    KindOfJob("video-translate", VideoTranslation, "createVideoTranslation", "Create a dubbing job", _check_video),
    KindOfJob(
        "audio-translate", AudioTranslation, "createAudioTranslation", "Create a dubbing job for sound", _check_audio
    ),
    KindOfJob(
        "subtitle-generate",
        SubtitleGeneration,
        "createSubtitleGeneration",
        "Create a job that writes subtitles",
        _check_generation,
    ),
    KindOfJob(
        "subtitle-translate",
        SubtitleTranslation,
        "createSubtitleTranslation",
        "Create a job that translates subtitles",
        _check_translation,
    ),
    KindOfJob(
        "subtitle-to-audio",
        SubtitleSpeech,
        "createSubtitleSpeech",
        "Create a job that speaks subtitles",
        _check_spoken,
    ),
)
