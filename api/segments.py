"""What a finished dub or spoken subtitles say, to be read and to be edited; and the versions that edits have made."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Response, get, patch
from litestar.params import JSONBody, QueryParameter

from api.downloads import job_url
from api.errors import problems
from api.identity import for_keys
from api.services import JobId, OwnerId, Services, TheServices
from octavia_stream.dubbing.edits import MOST_EDITS, Draft, Edit, revise, shown
from octavia_stream.dubbing.manuscript import Hearing, Manuscript, ManuscriptLine, ManuscriptSegment, slots
from octavia_stream.dubbing.segment import Slot
from octavia_stream.errors import InvalidRequest
from octavia_stream.jobs.job import Artifact, Job
from octavia_stream.jobs.versions import JobVersion
from octavia_stream.languages import Language, language_name, parse_language
from octavia_stream.mt.routes import plan_route

MAX_PAGE = 1000
MAX_VERSIONS = 1000
VersionNumber = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
VersionOfQuery = Annotated[
    int | None, QueryParameter(ge=1, le=2**31 - 1, description="Of the job's results; without it the newest.")
]


class LineView(msgspec.Struct, frozen=True):
    """A segment in one language of the dub."""

    language: Language
    text: str
    voice: str
    start_s: float
    """Where it sounds."""
    end_s: float
    speed: float
    """Asked of the voice: above 1 is faster."""
    tempo: float
    """Done to its sound afterwards."""
    delay_s: float
    """How much later than the original it starts, because the one before overran."""
    trimmed_s: float
    """What was cut because the file ends."""
    inside: bool
    """Whether it starts with its slot, ends in it, and is whole."""
    hypothesis: int
    """Which of the translations it is, counted from 1."""
    hypotheses: int
    """Out of how many."""
    kept_original: bool
    """Nobody could speak it: the original sounds there."""
    by_hand: bool
    """Somebody wrote the text."""


class SegmentView(msgspec.Struct, frozen=True):
    """A segment: what was heard, and what is said in its place. Seconds from the start of the sound."""

    index: int
    """Its place in time, counted from 0."""
    id: int
    """Its name in edits; it stays the same in all versions."""
    start_s: float
    end_s: float
    slot_end_s: float
    """Where the next one starts: nothing of this one should sound after it."""
    language: Language
    """Of `text`."""
    text: str
    """As it was heard."""
    lines: list[LineView]
    """What is said, in each language that is made of it."""


class SegmentPage(msgspec.Struct, frozen=True):
    """Segments in order of time."""

    version: int
    """Say it when you edit them."""
    versions: int
    """How many are finished; the newest has this number."""
    total: int
    segments: list[SegmentView]
    next_after: int | None
    """Pass as `after` for the page after; None on the last one."""


class SegmentEdits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be changed, all at once."""

    version: VersionNumber
    """That was read: it must still be the newest."""
    edits: Annotated[list[Edit], msgspec.Meta(min_length=1, max_length=MOST_EDITS)]


class EditAnswer(msgspec.Struct, frozen=True):
    """A version that is about to be made."""

    job_id: UUID
    version: int
    credits: int
    """Held for it. It never costs more."""
    seconds: float
    """Of speech that was edited, over all languages."""


class VersionArtifact(msgspec.Struct, frozen=True):
    """A result of a version."""

    name: str
    content_type: str
    size: int
    sha256: str
    url: str


class VersionView(msgspec.Struct, frozen=True):
    """One version of a dub."""

    number: int
    base: int | None
    """The version that was edited; None: this is the first."""
    created_at: datetime
    finished_at: datetime | None
    """None while it is made, and when that failed or was cancelled: then `retry` goes on with it."""
    edits: list[Edit]
    artifacts: list[VersionArtifact]
    report: dict[str, Any]


class VersionList(msgspec.Struct, frozen=True):
    """All versions, newest first."""

    versions: list[VersionView]


@get(
    "/{job_id:uuid}/segments",
    operation_id="listSegments",
    summary="What is said in a dub",
    opt=for_keys("jobs:read"),
    responses=problems(401, 404, 409, 422),
)
async def list_segments(
    job_id: JobId,
    owner_id: OwnerId,
    services: TheServices,
    language: Annotated[
        str | None, QueryParameter(min_length=2, max_length=35, description="Of one of its dubs; without it the first.")
    ] = None,
    version: VersionOfQuery = None,
    after: Annotated[int, QueryParameter(ge=-1, le=2**31 - 1, description="`next_after` of the page before.")] = -1,
    limit: Annotated[int, QueryParameter(ge=1, le=MAX_PAGE)] = 100,
) -> SegmentPage:
    """In order of time. 409 until the job has completed, and for jobs that speak nothing."""
    job = await services.runtime.jobs.get(job_id, owner_id)
    number, manuscript = await services.runtime.versions.manuscript(job, version)
    hearing = _hearing(manuscript, parse_language(language) if language is not None else None)
    rooms = slots(hearing.segments, manuscript.length)
    first = after + 1
    page = [
        _segment(first + place, one, room, hearing)
        for place, (one, room) in enumerate(
            zip(hearing.segments[first : first + limit], rooms[first : first + limit], strict=True)
        )
    ]
    more = first + limit < len(hearing.segments)
    return SegmentPage(number, job.version, len(hearing.segments), page, page[-1].index if more and page else None)


@patch(
    "/{job_id:uuid}/segments",
    operation_id="editSegments",
    summary="Edit a dub",
    opt=for_keys("jobs:write", team="jobs:run"),
    status_code=202,
    responses=problems(401, 402, 404, 409, 422),
)
async def edit_segments(
    data: JSONBody[SegmentEdits], job_id: JobId, owner_id: OwnerId, services: TheServices
) -> Response[EditAnswer]:
    """Makes another version; only what depends on the edits is made again, and only that is charged.

    What there is stays as it is, also when this fails or is cancelled; `retry` then goes on with it.
    409 while the job runs, and when somebody else has edited it since `version` was read.
    """
    runtime = services.runtime
    job = await runtime.jobs.get(job_id, owner_id)
    _, manuscript = await runtime.versions.manuscript(job, data.version)
    draft = await asyncio.to_thread(revise, manuscript, data.edits)
    _check_models(draft, services)
    edited = await runtime.jobs.edit(job_id, owner_id, data.version, data.edits, draft.spans)
    seconds = sum(end - start for of_one in draft.spans.values() for start, end in of_one)
    price = runtime.charges.quote_edit(job.kind, draft.spans)
    answer = EditAnswer(edited.id, data.version + 1, price, round(seconds, 3))
    return Response(answer, headers={"Location": job_url(edited.id)})


@get(
    "/{job_id:uuid}/versions",
    operation_id="listVersions",
    summary="The versions of a dub",
    opt=for_keys("jobs:read"),
    responses=problems(401, 404),
)
async def list_versions(job_id: JobId, owner_id: OwnerId, services: TheServices) -> VersionList:
    """What was edited in each, and its results, which `download` gives with `version`."""
    job = await services.runtime.jobs.get(job_id, owner_id)
    versions = await services.runtime.versions.list_versions(job_id, MAX_VERSIONS)
    return VersionList([_version(job, one) for one in versions])


def _hearing(manuscript: Manuscript, language: Language | None) -> Hearing:
    """Raises InvalidRequest for a language that it is not dubbed into."""
    if language is None:
        return manuscript.hearings[0]
    found = manuscript.hearing_of(language)
    if found is None:
        there = ", ".join(manuscript.targets)
        raise InvalidRequest(f"There is no dub in {language_name(language)}; there is {there}.")
    return found


def _check_models(draft: Draft, services: Services) -> None:
    """Raises UnsupportedLanguage for a voice that is not here, and when nothing translates what was edited."""
    pairs, checked = services.registry.mt_pairs(), _Checked(set(), set())
    for hearing in draft.hearings:
        for segment in hearing.segments:
            for language, line in segment.lines.items():
                if line.kept is None and (language, line.voice) not in checked.voices:
                    services.registry.choose_voice(language, line.voice)
                    checked.voices.add((language, line.voice))
                spoken = segment.language or hearing.of.language
                if line.text is None and (spoken, language) not in checked.routes:
                    plan_route(spoken, language, pairs, asr_translates=False)
                    checked.routes.add((spoken, language))


@dataclass(frozen=True, slots=True)
class _Checked:
    voices: set[tuple[Language, str]]
    routes: set[tuple[Language, Language]]


def _segment(index: int, one: ManuscriptSegment, room: Slot, hearing: Hearing) -> SegmentView:
    lines = [_line(target, one.spoken[target], room) for target in hearing.targets]
    language = one.language or hearing.language
    return SegmentView(index, one.id, shown(one.start), shown(one.end), shown(room.end), language, one.text, lines)


def _line(language: Language, line: ManuscriptLine, room: Slot) -> LineView:
    placement = line.placement
    return LineView(
        language=language,
        text=line.text,
        voice=line.voice,
        start_s=shown(placement.start),
        end_s=shown(placement.end),
        speed=round(line.speed, 3),
        tempo=round(placement.tempo, 3),
        delay_s=shown(placement.delay),
        trimmed_s=shown(placement.trimmed),
        inside=not placement.delay and not placement.trimmed and placement.end <= room.end,
        hypothesis=line.forecast.hypothesis,
        hypotheses=line.forecast.hypotheses,
        kept_original=line.kept_original,
        by_hand=line.by_hand,
    )


def _version(job: Job, one: JobVersion) -> VersionView:
    return VersionView(
        one.number,
        one.base,
        one.created_at,
        one.finished_at,
        one.edits,
        [_artifact(job.id, one.number, artifact) for artifact in one.artifacts],
        one.report,
    )


def _artifact(job_id: UUID, number: int, artifact: Artifact) -> VersionArtifact:
    url = f"{job_url(job_id)}/download?version={number}&artifact={artifact.name}"
    return VersionArtifact(artifact.name, artifact.content_type, artifact.size, artifact.sha256, url)
