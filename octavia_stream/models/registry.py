"""Registry: catalogue ids → directories with verified files, and voices that can really speak.

An engine gets a directory from here and never learns where it came from. Resolving is for start-up;
`installed`, `mt_pairs` and `voices` only look whether files exist and are cheap enough for a request.
"""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from octavia_stream.config import ModelSettings
from octavia_stream.errors import ModelCorrupt, ModelMissing, NotFound, StorageFull, UnsupportedLanguage
from octavia_stream.languages import Language, language_name
from octavia_stream.models.cache import Digests, ModelCache, file_sha256, join_files
from octavia_stream.models.catalogue import Catalogue, ModelEntry, Pair, read_catalogue
from octavia_stream.models.hub import hub_snapshot
from octavia_stream.models.packages import package_directory, package_file
from octavia_stream.models.remote import fetch_files
from octavia_stream.tts.voice import Voice

_DERIVED = "model.onnx"
_DIGEST = "sha256"


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """A model that is here."""

    path: Path
    """A directory; engines know the names of the files in it."""
    entry: ModelEntry
    source: str
    """The spec that gave it, or `dir:` for a directory of the settings."""
    verified: bool
    """Whether its files were compared with the catalogue's digests."""


@dataclass(frozen=True, slots=True)
class Availability:
    """What stands between a catalogue entry and its use."""

    entry: ModelEntry
    source: str | None
    """The spec it would come from; None when it is not usable."""
    reason: str
    """Why it is not usable, in words; empty when it is."""


class Registry:
    """The models and voices of this installation."""

    def __init__(self, settings: ModelSettings, home: Path, catalogue: Catalogue | None = None) -> None:
        self._settings = settings
        self.catalogue = catalogue or read_catalogue()
        self.cache_dir = settings.cache_dir or home / "models"
        """Where engines may keep what they convert."""
        self._cache = ModelCache(self.cache_dir)
        self._digests = Digests(self.cache_dir / "verified")

    # Models

    def resolve(self, model_id: str) -> ResolvedModel:
        """The model's directory, joined or looked up now and verified.

        Asks a hub or a store only when `offline` is off. Raises NotFound (no such id), ModelMissing
        (with how to install it), ModelCorrupt, StorageFull.
        """
        return self._obtain(self.catalogue.model(model_id), download=not self._settings.offline)

    def pull(self, model_id: str) -> ResolvedModel:
        """The same, but download it if need be, and rebuild a cached copy that is damaged."""
        entry = self.catalogue.model(model_id)
        try:
            return self._obtain(entry, download=True)
        except ModelCorrupt:
            for spec in entry.sources:
                self._cache.remove(_cache_name(entry, spec))
            return self._obtain(entry, download=True)

    def verify(self, model_id: str) -> ResolvedModel:
        """Read every file again and compare; `verified` is False when the catalogue has no digests.

        Raises ModelMissing, ModelCorrupt.
        """
        return self._obtain(self.catalogue.model(model_id), download=False, digest=file_sha256)

    def installed(self, model_id: str) -> bool:
        """Whether `resolve` should succeed offline; looks only whether files exist."""
        return self.availability(self.catalogue.model(model_id)).source is not None

    def availability(self, entry: ModelEntry) -> Availability:
        """Where a model would come from offline, or why it cannot be used."""
        if refusal := self._refusal(entry):
            return Availability(entry, None, refusal)
        reasons = []
        for spec in self._specs(entry):
            reason = self._absence(entry, spec)
            if reason is None:
                return Availability(entry, spec, "")
            reasons.append(reason)
        return Availability(entry, None, _missing_message(entry, reasons))

    def available(self) -> list[Availability]:
        """Every model of the catalogue, in its order."""
        return [self.availability(entry) for entry in self.catalogue.models.values()]

    def identity(self, model_id: str) -> str:
        """Changes when the model becomes another one under the same name. Reads no file. Raises NotFound."""
        entry = self.catalogue.model(model_id)
        if (directory := self._settings.directories.get(model_id)) is None:
            return " ".join(_cache_name(entry, spec) for spec in entry.sources)
        # The operator's own files, of which nobody has digests.
        files = sorted(path for path in directory.rglob("*") if path.is_file())
        seen = [(str(path.relative_to(directory)), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
        return hashlib.sha256(repr((model_id, seen)).encode()).hexdigest()

    def derived(self, recipe: str, source: Path, make: Callable[[Path], None]) -> Path | None:
        """A file made of a model's file, made now unless somebody has; None when there is no room to keep it.

        recipe: changes with all that decides what is made, the code that makes it too. make: writes the file.
        A kept file that was damaged is made again. Raises what `make` does beside OSError.
        """

        def fill(directory: Path) -> None:
            make(directory / _DERIVED)
            (directory / _DIGEST).write_text(file_sha256(directory / _DERIVED))

        name = f"derived/{recipe}-{self._digests.remembered(source)[:16]}"
        with suppress(OSError, StorageFull):
            for _ in range(2):
                found = self._cache.build(name, fill)
                if isinstance(found, Path) and self._is_whole(found):
                    return found / _DERIVED
                self._cache.remove(name)
        return None

    def _is_whole(self, derived: Path) -> bool:
        try:
            return self._digests.remembered(derived / _DERIVED) == (derived / _DIGEST).read_text()
        except FileNotFoundError:
            return False

    # Translation

    def mt_pairs(self) -> dict[Pair, str]:
        """Direct pairs that can be translated now → the model that does it.

        The settings' preferred models come first, then the catalogue's order.
        """
        preferred = [self.catalogue.model(model_id) for model_id in self._settings.mt]
        pairs: dict[Pair, str] = {}
        for entry in (*preferred, *self.catalogue.models.values()):
            if entry.task == "mt" and self.installed(entry.id):
                for pair in entry.directions():
                    pairs.setdefault(pair, entry.id)
        return pairs

    # Voices

    def voices(self, language: Language | None = None) -> list[Voice]:
        """Voices whose model is installed, of one language or of all, the default of each language first."""
        usable = {model_id: self.installed(model_id) for model_id in {voice.model for voice in self.catalogue.voices}}
        return [voice for voice in self.catalogue.voices if usable[voice.model] and language in (None, voice.language)]

    def voice(self, voice_id: str) -> Voice:
        """A voice by id, installed or not. Raises NotFound, naming the installed ones."""
        for voice in self.catalogue.voices:
            if voice.id == voice_id:
                return voice
        names = ", ".join(voice.id for voice in self.voices()) or "none"
        raise NotFound(f"There is no voice {voice_id!r}; installed are {names}.")

    def default_voice(self, language: Language) -> Voice:
        """The first installed voice of a language. Raises UnsupportedLanguage, saying what to install."""
        if voices := self.voices(language):
            return voices[0]
        name = language_name(language)
        known = [voice for voice in self.catalogue.voices if voice.language == language]
        if known:
            model = self.catalogue.model(known[0].model)
            reason = self.availability(model).reason
            raise UnsupportedLanguage(f"No installed voice speaks {name}. {reason}")
        spoken = ", ".join(sorted({voice.language for voice in self.voices()})) or "none"
        raise UnsupportedLanguage(f"No voice speaks {name}; the installed voices speak {spoken}.")

    def choose_voice(self, language: Language, voice_id: str | None = None) -> Voice:
        """The installed voice asked for, or the language's default.

        Raises UnsupportedLanguage when there is none, or the one asked for does not speak this language here.
        """
        if voice_id is None:
            return self.default_voice(language)
        voices = {voice.id: voice for voice in self.voices(language)}
        if voice_id in voices:
            return voices[voice_id]
        names = ", ".join(voices) or "none"
        raise UnsupportedLanguage(
            f"There is no voice {voice_id!r} that speaks {language_name(language)}; installed are {names}."
        )

    # Sources

    def _specs(self, entry: ModelEntry) -> tuple[str, ...]:
        return ("dir:",) if entry.id in self._settings.directories else entry.sources

    def _refusal(self, entry: ModelEntry) -> str:
        """Why a model must not or cannot run here, whether its files are there or not; empty when it may."""
        if not (entry.commercial or self._settings.allow_noncommercial):
            return (
                f"The licence of {entry.id} ({entry.licence_weights}) forbids commercial use; "
                "set OCTAVIA_MODELS__ALLOW_NONCOMMERCIAL=true if yours is not."
            )
        if absent := [name for name in entry.requires if package_directory(name) is None]:
            return f"The model {entry.id} needs the package {absent[0]}; run: {_pip(entry)}."
        return ""

    def _absence(self, entry: ModelEntry, spec: str) -> str | None:
        """Why a spec gives nothing offline, in words; None when its files are there. Reads no file."""
        kind, _, rest = spec.partition(":")
        match kind:
            case "dir":
                return None if self._settings.directories[entry.id].is_dir() else "the directory set for it is absent"
            case "pkg":
                return _package_absence(*rest.split(":", 1))
            case "build":
                absent = [part for parts in entry.build.values() for part in parts if package_file(part) is None]
                if not absent or self._cache.get(_cache_name(entry, spec)):
                    return None
                return f"the package {absent[0].partition('/')[0]} is not installed"
            case "hf":
                found = hub_snapshot(rest, self.cache_dir / "hub", offline=True)
                return None if isinstance(found, Path) else found
            case _:
                return None if self._cache.get(_cache_name(entry, spec)) else "it was not downloaded"

    def _obtain(
        self, entry: ModelEntry, *, download: bool, digest: Callable[[Path], str] | None = None
    ) -> ResolvedModel:
        if refusal := self._refusal(entry):
            raise ModelMissing(refusal)
        reasons = []
        for spec in self._specs(entry):
            found = self._open(entry, spec, download=download)
            if isinstance(found, Path):
                checked = self._check(entry, spec, found, digest or self._digests.remembered)
                return ResolvedModel(found, entry, spec, checked)
            reasons.append(found)
        raise ModelMissing(_missing_message(entry, reasons))

    def _open(self, entry: ModelEntry, spec: str, *, download: bool) -> Path | str:
        """The directory of one spec, or why there is none, in words."""
        kind, _, rest = spec.partition(":")
        if kind == "hf":
            return hub_snapshot(rest, self.cache_dir / "hub", offline=not download)
        absence = self._absence(entry, spec)
        if kind == "dir":
            return absence or self._settings.directories[entry.id]
        if kind == "pkg":
            name, _, inside = rest.partition(":")
            directory = package_directory(name)
            return absence or (directory / inside if directory else "its package is not installed")
        if kind == "build":
            return absence or self._cache.build(_cache_name(entry, spec), lambda target: _join(entry, target))
        if absence and not download:
            return absence
        return self._cache.build(_cache_name(entry, spec), lambda target: fetch_files(spec, entry.remote, target))

    def _check(self, entry: ModelEntry, spec: str, directory: Path, digest: Callable[[Path], str]) -> bool:
        """Compare with the catalogue's digests. A directory of the settings is the operator's own and not compared."""
        if spec == "dir:" or not entry.sha256:
            return False
        for name, expected in entry.sha256.items():
            path = directory / name
            if not path.is_file():
                raise ModelCorrupt(f"The model {entry.id} lacks its file {name}; {_repair(entry, spec)}.")
            if digest(path) != expected:
                raise ModelCorrupt(f"The file {name} of the model {entry.id} is damaged; {_repair(entry, spec)}.")
        return True


def _package_absence(name: str, inside: str) -> str | None:
    directory = package_directory(name)
    if directory is None:
        return f"the package {name} is not installed"
    return None if (directory / inside).is_dir() else f"the package {name} has no {inside}"


def _cache_name(entry: ModelEntry, spec: str) -> str:
    """A directory's name that changes with all that goes into it."""
    recipe = repr((spec, sorted(entry.build.items()), entry.remote, sorted(entry.sha256.items())))
    return f"{entry.id}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"


def _join(entry: ModelEntry, target: Path) -> str | None:
    for name, parts in entry.build.items():
        paths = [path for part in parts if (path := package_file(part))]
        if len(paths) < len(parts):
            return "one of its packages is not installed"
        join_files(paths, target / name)
    return None


def _missing_message(entry: ModelEntry, reasons: list[str]) -> str:
    why = "; ".join(reasons) or "no ready copy of it is published"
    fixes = []
    packaged = [spec for spec in entry.sources if spec.startswith(("pkg:", "build:"))]
    if packaged:
        fixes.append(_pip(entry))
    if len(packaged) < len(entry.sources):
        fixes.append(f"octavia models pull {entry.id}")
    if entry.install:
        fixes.append(f"{entry.install} (then set its directory in OCTAVIA_MODELS__DIRECTORIES)")
    return f"The model {entry.id} is not installed ({why}); run: {' or: '.join(fixes)}."


def _repair(entry: ModelEntry, spec: str) -> str:
    if spec.startswith("pkg:"):
        return f"run: {_pip(entry, '--force-reinstall')}"
    return f"run: octavia models pull {entry.id}"


def _pip(entry: ModelEntry, *options: str) -> str:
    return " ".join(["pip install", *options, *(f"'{package}'" for package in entry.packages)])
