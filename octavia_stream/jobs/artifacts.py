"""What a job leaves behind: files in the object store, announced as they come."""

from dataclasses import dataclass
from pathlib import Path

import msgspec

from octavia_stream.captions.cues import Cue, write_srt, write_vtt
from octavia_stream.crash_points import CrashPoint, crash_point
from octavia_stream.dubbing.manuscript import Manuscript
from octavia_stream.dubbing.progress import Emit
from octavia_stream.events.event import ArtifactReady
from octavia_stream.jobs.job import Artifact, Claim
from octavia_stream.jobs.quality import QualityReport
from octavia_stream.jobs.versions import MANUSCRIPT
from octavia_stream.languages import Language
from octavia_stream.storage.objects import ObjectStore, StoredObject

CONTENT_TYPES = {
    "mp4": "video/mp4",
    "mov": "video/quicktime",
    "mkv": "video/x-matroska",
    "webm": "video/webm",
    "m4a": "audio/mp4",
    "mp3": "audio/mpeg",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "ogg": "audio/ogg",
    "srt": "application/x-subrip",
    "vtt": "text/vtt",
    "ass": "text/x-ssa",
    "ssa": "text/x-ssa",
    "ttml": "application/ttml+xml",
    "json": "application/json",
}


@dataclass(frozen=True, slots=True)
class FinishedJob:
    """What a finished job leaves behind."""

    artifacts: list[Artifact]
    report: dict[str, object]
    quality: QualityReport | None = None
    """Of dubs."""
    manuscript: Artifact | None = None
    """Of dubs and spoken subtitles: what an edit starts from."""


class Artifacts:
    """The results of one job, in the order in which they were stored."""

    def __init__(self, objects: ObjectStore, claim: Claim, emit: Emit) -> None:
        self._objects = objects
        self._claim = claim
        self._emit = emit
        self._stored: list[Artifact] = []

    async def add_file(self, path: Path) -> None:
        """Store a file under its own name. Raises StorageUnavailable, StorageFull, Conflict: nothing is overwritten."""
        self._keep(path.name, await self._objects.put_file(self._key(path.name), path, create_only=True))

    async def add(self, name: str, content: bytes) -> None:
        """Store bytes. Raises StorageUnavailable, StorageFull."""
        self._keep(name, await self._objects.put(self._key(name), content, create_only=True))

    async def add_subtitles(self, stem: str, cues: list[Cue]) -> None:
        """Store cues in both formats that everything reads."""
        await self.add(f"{stem}.srt", write_srt(cues).encode())
        await self.add(f"{stem}.vtt", write_vtt(cues).encode())

    async def finish(
        self,
        report: dict[str, object],
        quality: QualityReport | None = None,
        manuscript: Manuscript | None = None,
    ) -> FinishedJob:
        """Store the report as well, and the manuscript, which nobody downloads. No artifacts come after it."""
        await self.add("report.json", msgspec.json.format(msgspec.json.encode(report), indent=2))
        kept = None if manuscript is None else await self._add_manuscript(manuscript)
        return FinishedJob(self._stored, report, quality, kept)

    async def _add_manuscript(self, manuscript: Manuscript) -> Artifact:
        key = self._key(MANUSCRIPT)
        stored = await self._objects.put(key, msgspec.msgpack.encode(manuscript), create_only=True)
        crash_point(CrashPoint.MANUSCRIPT_STORED)
        return Artifact(MANUSCRIPT, key, "application/msgpack", stored.size, stored.sha256)

    def _key(self, name: str) -> str:
        # The epoch keeps a worker that lost its lease from overwriting what its successor made.
        return f"jobs/{self._claim.job.id}/results/{self._claim.epoch}/{name}"

    def _keep(self, name: str, stored: StoredObject) -> None:
        crash_point(CrashPoint.RESULT_STORED)
        content_type = CONTENT_TYPES[name.rpartition(".")[2]]
        self._emit(ArtifactReady(name, content_type, stored.size))
        self._stored.append(Artifact(name, self._key(name), content_type, stored.size, stored.sha256))


def target_stem(source: Language, target: Language) -> str:
    """What subtitles in the target language are called, when those in the source's lie beside them."""
    return target if source != target else f"{target}.dub"
